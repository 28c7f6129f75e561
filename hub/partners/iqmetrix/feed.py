"""Reading one page of the notification feed: Atom (RFC 4287) in archived feeds (RFC 5005).

A page is parsed at once with lxml, from a body whose size the client has bounded; one that is not well-formed is cut
into its entries (``page_text``). What is wrong with one entry makes that entry ``Malformed``, so that it is set aside
while the others flow; only a page whose entries cannot be told apart is ``PageUnreadable``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from lxml import etree

from hub.config.settings import FeedLimits
from hub.errors import InvalidMessage, PartnerContractBroken
from hub.models.frozen import value
from hub.models.input.quoting import shown_name
from hub.models.types import EARLIEST, LATEST, LONGEST_ID, moment_of
from hub.partners.iqmetrix.page_text import Separated, Text, head_of, is_bytewise, prepared, separated

_ATOM = "{http://www.w3.org/2005/Atom}"
_FEED, _ENTRY, _LINK = f"{_ATOM}feed", f"{_ATOM}entry", f"{_ATOM}link"
# Namespaces that the feed element declares, and their characters together: each entry that is kept repeats them, so
# that a thousand empty entries below five thousand namespaces would take minutes. And characters of one name with its
# namespace, which lxml writes anew for each element that is looked at. The samples have one namespace, and names of
# some fifty characters.
_MOST_NAMESPACES = 32
# Begins of tags, and of attribute values, on a page: what a parsed page costs in memory and time. A page of 50 orders with
# 10 lines each has some 10,000 and 200.
_MOST_TAGS = 300_000
_MOST_ATTRIBUTES = 100_000
_LONGEST_NAMESPACES = 2048
_LONGEST_NAME = 512
# Names that are remembered: a feed that makes up new ones fills no memory.
_MOST_NAMES = 1024
# How much later than its last change an entry may say that it was published: clocks differ, zones are left out.
_MOST_AHEAD = timedelta(days=1)
_ID, _UPDATED, _PUBLISHED, _CONTENT = f"{_ATOM}id", f"{_ATOM}updated", f"{_ATOM}published", f"{_ATOM}content"

_LINK_DEPTH = 8
_ONCE = frozenset({_ID, _UPDATED, _CONTENT})


@value(frozen=True, slots=True)
class Entry:
    """One readable entry: ``kind`` is the local name of the element in its content, ``content`` that element."""

    id: str
    updated: datetime
    published: datetime | None
    kind: str
    content: etree._Element
    element: etree._Element

    @property
    def time(self) -> datetime:
        """When it happened: ``published`` is optional in Atom, ``updated`` is not."""
        return self.published or self.updated

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return _key_of(self.id)

    @property
    def raw(self) -> bytes:
        """The entry as a document of its own, with the namespaces it uses."""
        return etree.tostring(self.element, with_tail=False)


@dataclass(frozen=True, slots=True)
class Malformed:
    """An entry that cannot be read; ``key`` is made of its id or, without one, of its XML."""

    key: str
    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its links, and its entries oldest first (the feed puts the newest on top)."""

    self_href: str | None
    prev_href: str | None
    next_href: str | None
    entries: tuple[Entry, ...]
    malformed: tuple[Malformed, ...] = ()
    size_bytes: int = 0
    """Of the document, after decompression."""


class PageUnreadable(PartnerContractBroken):
    """A page whose entries cannot be told apart.

    ``digest`` is of its bytes; ``links`` are those of its head that can be read all the same, by relation.
    """

    def __init__(
        self, message: str = "", *, digest: str = "", links: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.digest = digest
        self.links = links or {}


def parse_page(body: bytes, limits: FeedLimits, charset: str | None = None) -> Page:
    """Read a page.

    Args:
        body: as it came.
        limits: what it may cost.
        charset: of its Content-Type, which goes before the declaration (RFC 7303).

    Raises:
        PageUnreadable: with a document type, too deep, too many entries, elements or namespaces, no Atom feed, or so
            damaged that its entries cannot be told apart.
    """
    try:
        _check_cost(body)
        text = prepared(body, charset)
        try:
            feed = _parse(text, limits.depth)
        except _NotWellFormed as fault:
            page = _recovered(text, limits, fault)
        else:
            page = _read_feed(feed, limits)
    except PageUnreadable:
        raise
    except PartnerContractBroken as broken:
        raise PageUnreadable(str(broken), digest=_hash_of(body), links=_salvaged(body, charset)) from None
    return replace(page, size_bytes=len(body))


def _check_cost(body: bytes) -> None:
    """Refuse a page by what it could cost at most, before it is parsed."""
    if body.count(b"<") > _MOST_TAGS or body.count(b"=") > _MOST_ATTRIBUTES:
        raise PartnerContractBroken(
            f"expected a page of at most {_MOST_TAGS} tags and {_MOST_ATTRIBUTES} attributes, got more"
        )


def _read_feed(feed: etree._Element, limits: FeedLimits) -> Page:
    if feed.tag != _FEED:
        raise PartnerContractBroken(f"expected an Atom feed, got the root element {shown_name(_name(feed))}")
    _check_namespaces(feed)
    links: dict[str, str] = {}
    elements: list[etree._Element] = []
    for child in feed:
        tag = child.tag
        if tag == _ENTRY:
            elements.append(child)
        elif tag == _LINK:
            _add_link(links, child)
        elif len(tag) > _LONGEST_NAME:
            raise PartnerContractBroken(_LONG_NAME)
    _check_number(len(elements), limits)
    # Reverse document order first: the sort is stable, so it settles entries of the same second.
    return _page(links, [_read_entry(element) for element in reversed(elements)])


def _add_link(links: dict[str, str], link: etree._Element) -> None:
    """Keep the first link of a relation, whose name is compared without regard to case (RFC 8288, 2.1)."""
    for relation in link.get("rel", "alternate").lower().split():
        links.setdefault(relation, link.get("href", "").strip())


def _check_number(entries: int, limits: FeedLimits) -> None:
    if entries > limits.entries_per_page:
        raise PartnerContractBroken(
            f"expected at most {limits.entries_per_page} entries on a page, got {entries}"
        )


def _page(links: Mapping[str, str], read: Iterable[Entry | Malformed]) -> Page:
    entries: list[Entry] = []
    malformed: list[Malformed] = []
    for entry in read:
        if isinstance(entry, Entry):
            entries.append(entry)
        else:
            malformed.append(entry)
    entries.sort(key=_updated)
    return Page(
        self_href=links.get("self") or None,
        prev_href=links.get("prev-archive") or None,
        next_href=links.get("next-archive") or None,
        entries=tuple(entries),
        malformed=tuple(malformed),
    )


def _updated(entry: Entry) -> datetime:
    return entry.updated


def _recovered(text: Text, limits: FeedLimits, fault: _NotWellFormed) -> Page:
    """Read a page that is not well-formed entry by entry, each strictly and by itself."""
    if not is_bytewise(text.effective):
        raise fault
    try:
        parts = separated(text.body)
        _check_number(len(parts.entries), limits)
        feed = _parse(Text(parts.alone(b""), text.effective), limits.depth)
        _read_feed(feed, limits)
    except PartnerContractBroken as broken:
        raise PartnerContractBroken(f"{fault}; {broken}") from None
    links = _links_of(parts, text)
    read = [_recover(parts, piece, wrong, text, limits) for piece, wrong in reversed(parts.entries)]
    return _page(links, [entry for entry in read if entry is not None])


def _salvaged(body: bytes, charset: str | None) -> dict[str, str]:
    """Return the links before the first entry of a page that cannot be read, as far as they can."""
    text = prepared(body, charset)
    with suppress(PartnerContractBroken):
        return _links_of(head_of(text.body), text) if is_bytewise(text.effective) else {}
    return {}


def _links_of(parts: Separated, text: Text) -> dict[str, str]:
    links: dict[str, str] = {}
    for piece in parts.head:
        with suppress(PartnerContractBroken):
            for element in _parse(Text(parts.alone(piece), text.effective), _LINK_DEPTH):
                if element.tag == _LINK:
                    _add_link(links, element)
    return links


def _recover(
    parts: Separated, piece: bytes, wrong: str | None, text: Text, limits: FeedLimits
) -> Entry | Malformed | None:
    """Read one raw entry of a damaged page; None: an element of that name which is no entry of Atom."""
    alone = parts.alone(piece)
    if text.effective != "utf-8":
        alone = f'<?xml version="1.0" encoding="{text.effective}"?>'.encode() + alone
    if wrong is None:
        try:
            (element,) = _parse(Text(alone, text.effective), limits.depth)
        except PartnerContractBroken as broken:
            wrong = str(broken)
        except ValueError:
            wrong = "expected one element, got several"
        else:
            return _read_entry(element) if element.tag == _ENTRY else None
    return Malformed(_hash_of(alone), alone, wrong)


def _check_namespaces(feed: etree._Element) -> None:
    characters = sum(len(prefix or "") + len(name) for prefix, name in feed.nsmap.items())
    if len(feed.nsmap) > _MOST_NAMESPACES or characters > _LONGEST_NAMESPACES:
        raise PartnerContractBroken(
            f"expected at most {_MOST_NAMESPACES} namespaces of {_LONGEST_NAMESPACES} characters on the feed, got more"
        )


def parse_entry(body: bytes, limits: FeedLimits) -> Entry:
    """Read an entry that was kept as a document of its own, or as the only one of a feed (an entry of a damaged page).

    Raises:
        InvalidMessage: it is no readable entry; says why.
    """
    try:
        _check_cost(body)
        element = _parse(prepared(body, None), limits.depth)
    except PartnerContractBroken as broken:
        raise InvalidMessage(str(broken)) from None
    if element.tag == _FEED and len(element) == 1:
        element = element[0]
    entry = _read_entry(element) if element.tag == _ENTRY else None
    if isinstance(entry, Entry):
        return entry
    raise InvalidMessage(entry.reason if entry else "expected an Atom entry as the root element")


class _NotWellFormed(PartnerContractBroken):
    """A document breaks the rules of XML."""


# What libxml2 finds, in words; its own text may quote the document.
_FAULTS = {
    etree.ErrorTypes.ERR_INVALID_CHAR: "a character that XML does not allow",
    etree.ErrorTypes.ERR_INVALID_CHARREF: "a reference to a character that XML does not allow",
    etree.ErrorTypes.ERR_INVALID_ENCODING: "a byte that is not of its encoding",
    etree.ErrorTypes.ERR_UNDECLARED_ENTITY: "an entity that is not defined",
    etree.ErrorTypes.WAR_UNDECLARED_ENTITY: "an entity that is not defined",
    etree.ErrorTypes.ERR_NAME_REQUIRED: "a bare & or <",
    etree.ErrorTypes.ERR_ENTITYREF_SEMICOL_MISSING: "a bare &",
    etree.ErrorTypes.ERR_TAG_NAME_MISMATCH: "an element that is not closed",
    etree.ErrorTypes.ERR_TAG_NOT_FINISHED: "a document that is cut off",
    etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE: "a prefix that is not declared",
}


def _parse(text: Text, depth: int) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding=text.encoding,
    )
    try:
        root = etree.fromstring(text.body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        # Only the place and the kind: the parser's own text may quote the document.
        line, column = getattr(error, "position", (0, 0))
        kind = _FAULTS.get(getattr(error, "code", None) or 0, "a fault")
        raise _NotWellFormed(
            f"expected well-formed XML, got {kind} at line {line}, column {column} of {len(text.body)} bytes"
        ) from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # the stubs know no doctype
        raise PartnerContractBroken(
            "expected XML without a document type, got a DOCTYPE: entities are never resolved, and Atom needs none"
        )
    if _deeper_than(depth)(root):
        raise PartnerContractBroken(f"expected elements nested at most {depth} deep, got deeper ones")
    return root


@lru_cache(maxsize=8)
def _deeper_than(depth: int) -> etree.XPath:
    """One expression in C instead of a walk in Python over each page."""
    return etree.XPath(f"boolean({'/*' * (depth + 1)})")


_LONG_NAME = f"expected names of at most {_LONGEST_NAME} characters with their namespace, got a longer one"


def _read_entry(element: etree._Element) -> Entry | Malformed:
    """Read an entry; whatever goes wrong is about this entry alone."""
    try:
        return _entry_of(element)
    except Exception as error:  # an entry must not stop its page, whatever it holds
        return _malformed(element, None, f"expected an entry that can be read, got {type(error).__name__}")


def _entry_of(element: etree._Element) -> Entry | Malformed:
    parts: dict[str, etree._Element] = {}
    for child in element:
        tag = child.tag
        if len(tag) > _LONGEST_NAME:
            return _malformed(element, None, _LONG_NAME)
        if parts.setdefault(tag, child) is not child and tag in _ONCE:
            return _malformed(element, None, f"{_name(child)}: expected it once, got it twice")
    entry_id = _text(parts.get(_ID))
    updated, published = _times(parts)
    content = _own(parts.get(_CONTENT))
    if entry_id is None:
        return _malformed(element, None, "id: expected the entry's id, got none")
    if updated is None:
        return _malformed(
            element, entry_id, "updated: expected an RFC 3339 date of our times, got none that can be read"
        )
    if len(content) != 1:
        return _malformed(
            element, entry_id, f"content: expected exactly one element of {_DROPSHIP}, got {len(content)}"
        )
    return Entry(
        id=entry_id,
        updated=updated,
        published=published,
        kind=_name(content[0]),
        content=content[0],
        element=element,
    )


def _own(content: etree._Element | None) -> list[etree._Element]:
    """Return the elements in a content without those of foreign namespaces (RFC 4287, 6.3)."""
    if content is None:
        return []
    return [child for child in content if child.tag.startswith(_DROPSHIP_TAG) or _space(child.tag) in _NAMES]


def _space(tag: str) -> str:
    """Return the namespace of a tag, in braces; none: an empty text."""
    return tag[: tag.index("}") + 1] if tag[0] == "{" else ""


def _times(parts: Mapping[str, etree._Element]) -> tuple[datetime | None, datetime | None]:
    """Return ``updated`` and ``published``; a date that nobody can mean (year 1 stands for "none") counts as the other one."""
    updated, published = (_moment(_text(parts.get(name))) for name in (_UPDATED, _PUBLISHED))
    if updated is None:
        return None, None
    if not EARLIEST <= updated <= LATEST:
        updated = published
    if updated is None or not EARLIEST <= updated <= LATEST:
        return None, None
    if published is not None and not EARLIEST <= published <= updated + _MOST_AHEAD:
        published = None
    return updated, published


def _malformed(element: etree._Element, entry_id: str | None, reason: str) -> Malformed:
    raw = etree.tostring(element, with_tail=False)
    return Malformed(_hash_of(raw) if entry_id is None else _key_of(entry_id), raw, reason)


def _key_of(entry_id: str) -> str:
    """Return the id, or the hash of one that is too long for an event: PostgreSQL remembers no key above 2704 bytes."""
    return entry_id if len(entry_id) <= LONGEST_ID else _hash_of(entry_id.encode())


def _hash_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _moment(text: str | None) -> datetime | None:
    """Read an RFC 3339 date with or without fractions; a missing zone is read as UTC, as in all samples."""
    if text is None:
        return None
    try:
        return moment_of(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(element: etree._Element | None) -> str | None:
    text = element.text if element is not None else None
    return (text.strip() or None) if text else None


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


class Content(NamedTuple):
    """What an element says: the texts of its children, and those children that have children of their own.

    Children are found by local name, never by position or prefix. Those of another namespace than the root's are left out,
    and so are ``i:nil`` and blank ones, but for the members of a list: an empty one is a part that says nothing.
    """

    texts: dict[str, str]
    parts: dict[str, list[Content]]

    def part(self, name: str) -> Content:
        """Return the one part of this name, or an empty one.

        Raises:
            InvalidMessage: there are several that differ.
        """
        found = self.parts.get(name)
        if not found:
            return NOTHING
        if len(found) > 1 and any(other != found[0] for other in found):
            raise InvalidMessage(f"expected one, got {len(found)} that differ", field=name)
        return found[0]

    def members(self, name: str, of: str) -> list[Content]:
        """Return the parts ``of`` a list, those of all lists of this ``name`` together; one without elements says nothing."""
        found: list[Content] = []
        for part in self.parts.get(name, ()):
            found += part.parts.get(of, ())
            if of in part.texts:
                found.append(NOTHING)
        return found


NOTHING = Content({}, {})

_DROPSHIP = "urn:iQmetrix:dropship"
_DROPSHIP_TAG = f"{{{_DROPSHIP}}}"
# What is read, and may be there once; other elements are ignored (RFC 4287, 6.3).
_READ = frozenset(
    [
        "order-id",
        "supplier-id",
        "quantity",
        "sku",
        "catalog-id",
        "selling-price",
        "description",
        "status",
        "tracking-info",
        "shipping-provider",
        "message",
        "ship-to-store",
        "shipping-method",
        "printable-id",
        "po-reference",
        "company-id",
        "location-id",
        "attention-to",
        "country",
        "country-code",
        "locality",
        "notes",
        "phone",
        "post-office-box-number",
        "postal-code",
        "region",
        "region-code",
        "street-address-1",
        "street-address-2",
        "type",
        "customer-id",
        "primary-name",
        "middle-name",
        "family-name",
        "title",
        "alternate-name",
    ]
)
# Members of lists.
_MEMBERS = frozenset({"order-item", "item-information"})


class _Names(dict[str, str | None]):
    """Tags of one namespace and their local names, for the next element too: a feed uses some forty tags, again and again.

    Tags of other namespaces have none.
    """

    def __init__(self, space: str) -> None:
        super().__init__()
        self._space = space

    def __missing__(self, tag: str) -> str | None:
        if len(tag) > _LONGEST_NAME:
            raise InvalidMessage(_LONG_NAME, field="content")
        if len(self) == _MOST_NAMES:
            self.clear()
        name = self[tag] = tag.rpartition("}")[2] if _space(tag) == self._space else None
        return name


# What the content of an entry may be of: without a declaration it has no namespace, or that of the entry around it.
_NAMES = {space: _Names(space) for space in (_DROPSHIP_TAG, "", _ATOM)}


def content_of(element: etree._Element) -> Content:
    """Read an element whole; how deep it is was bounded when its page was parsed.

    Raises:
        InvalidMessage: a name in it is too long, or a text is there twice and differs.
    """
    return _content(element, _NAMES[_space(element.tag)])


def _content(element: etree._Element, names: _Names) -> Content:
    texts: dict[str, str] = {}
    parts: dict[str, list[Content]] = {}
    for child in element:
        name = names[child.tag]
        if name is None:
            continue
        if len(child):
            parts.setdefault(name, []).append(_content(child, names))
        elif (text := child.text) and (text := text.strip()):
            if name not in texts:
                texts[name] = text
            elif name in _READ and texts[name] != text:
                raise InvalidMessage("expected one value, got two that differ", field=name)
        elif name in _MEMBERS:
            parts.setdefault(name, []).append(NOTHING)
    return Content(texts, parts)
