"""Reading one page of the notification feed: Atom (RFC 4287) in archived feeds (RFC 5005).

A page is parsed at once with lxml, from a body whose size the client has bounded. What is wrong with the page as a
whole is ``PartnerContractBroken`` (the page is asked for again); what is wrong with one entry makes that entry
``Malformed``, so that it can be set aside while the others flow. What an entry says is read by ``translate``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from lxml import etree

from hub.config import FeedLimits
from hub.errors import InvalidMessage, PartnerContractBroken
from hub.models.value import value
from hub.models.values import LONGEST_ID
from hub.quoting import shown_name

_ATOM = "{http://www.w3.org/2005/Atom}"
_FEED, _ENTRY, _LINK = f"{_ATOM}feed", f"{_ATOM}entry", f"{_ATOM}link"
# Namespaces that the feed element declares, and their characters together: each entry that is kept repeats them, so
# that a thousand empty entries below five thousand namespaces would take minutes. And characters of one name with its
# namespace, which lxml writes anew for each element that is looked at. The samples have one namespace, and names of
# some fifty characters.
_MOST_NAMESPACES = 32
_LONGEST_NAMESPACES = 2048
_LONGEST_NAME = 512
# Names that are remembered: a feed that makes up new ones fills no memory.
_MOST_NAMES = 1024
_ID, _UPDATED, _PUBLISHED, _CONTENT = f"{_ATOM}id", f"{_ATOM}updated", f"{_ATOM}published", f"{_ATOM}content"


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


def parse_page(body: bytes, limits: FeedLimits) -> Page:
    """Read a page.

    Raises:
        PartnerContractBroken: not well-formed, with a document type, too deep, too many entries or namespaces, or no
            Atom feed.
    """
    feed = _parse(body, limits.depth)
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
            links.setdefault(child.get("rel", "alternate"), child.get("href", ""))
        elif len(tag) > _LONGEST_NAME:
            raise PartnerContractBroken(_LONG_NAME)
    if len(elements) > limits.entries_per_page:
        raise PartnerContractBroken(
            f"expected at most {limits.entries_per_page} entries on a page, got {len(elements)}"
        )
    # Reverse document order first: the sort is stable, so it settles entries of the same second.
    read = [_read_entry(element) for element in reversed(elements)]
    entries = sorted((entry for entry in read if isinstance(entry, Entry)), key=lambda entry: entry.updated)
    return Page(
        self_href=links.get("self") or None,
        prev_href=links.get("prev-archive") or None,
        next_href=links.get("next-archive") or None,
        entries=tuple(entries),
        malformed=tuple(entry for entry in read if isinstance(entry, Malformed)),
    )


def _check_namespaces(feed: etree._Element) -> None:
    characters = sum(len(prefix or "") + len(name) for prefix, name in feed.nsmap.items())
    if len(feed.nsmap) > _MOST_NAMESPACES or characters > _LONGEST_NAMESPACES:
        raise PartnerContractBroken(
            f"expected at most {_MOST_NAMESPACES} namespaces of {_LONGEST_NAMESPACES} characters on the feed, got more"
        )


def parse_entry(body: bytes, limits: FeedLimits) -> Entry:
    """Read an entry that was kept as a document of its own.

    Raises:
        InvalidMessage: it is no readable entry; says why.
    """
    try:
        element = _parse(body, limits.depth)
    except PartnerContractBroken as broken:
        raise InvalidMessage(str(broken)) from None
    entry = _read_entry(element) if element.tag == _ENTRY else None
    if isinstance(entry, Entry):
        return entry
    raise InvalidMessage(entry.reason if entry else "expected an Atom entry as the root element")


def _parse(body: bytes, depth: int) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        # Only the place: the parser's own text may quote the document.
        line, column = getattr(error, "position", (0, 0))
        raise PartnerContractBroken(
            f"expected well-formed XML, got a fault at line {line}, column {column} of {len(body)} bytes"
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
    parts: dict[str, etree._Element] = {}
    for child in element:
        tag = child.tag
        if len(tag) > _LONGEST_NAME:
            return _malformed(element, None, _LONG_NAME)
        parts.setdefault(tag, child)
    entry_id = _text(parts.get(_ID))
    updated = _moment(_text(parts.get(_UPDATED)))
    content = parts.get(_CONTENT)
    if entry_id is None:
        return _malformed(element, None, "id: expected the entry's id, got none")
    if updated is None:
        return _malformed(element, entry_id, "updated: expected an RFC 3339 date, got none that can be read")
    if content is None or len(content) != 1:
        count = 0 if content is None else len(content)
        return _malformed(element, entry_id, f"content: expected exactly one element, got {count}")
    return Entry(
        id=entry_id,
        updated=updated,
        published=_moment(_text(parts.get(_PUBLISHED))),
        kind=_name(content[0]),
        content=content[0],
        element=element,
    )


def _malformed(element: etree._Element, entry_id: str | None, reason: str) -> Malformed:
    raw = etree.tostring(element, with_tail=False)
    return Malformed(_hash_of(raw) if entry_id is None else _key_of(entry_id), raw, reason)


def _key_of(entry_id: str) -> str:
    """Give the id, or the hash of one that is too long for an event: PostgreSQL remembers no key above 2704 bytes."""
    return entry_id if len(entry_id) <= LONGEST_ID else _hash_of(entry_id.encode())


def _hash_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _moment(text: str | None) -> datetime | None:
    """Read an RFC 3339 date with or without fractions; a missing zone is read as UTC, as in all samples."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _text(element: etree._Element | None) -> str | None:
    text = element.text if element is not None else None
    return (text.strip() or None) if text else None


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


class Content(NamedTuple):
    """What an element says: the texts of its children, and those children that have children of their own.

    Children are found by local name, never by position, whatever their namespace prefix; ``i:nil`` and blank ones are
    left out. The first of several texts with one name counts.
    """

    texts: dict[str, str]
    parts: dict[str, list[Content]]

    def part(self, name: str) -> Content:
        """Give the first part of this name, or an empty one."""
        found = self.parts.get(name)
        return found[0] if found else NOTHING


NOTHING = Content({}, {})


class _Names(dict[str, str]):
    """Tags and their local names, for the next element too: a feed uses some forty tags, again and again."""

    def __missing__(self, tag: str) -> str:
        if len(tag) > _LONGEST_NAME:
            raise InvalidMessage(_LONG_NAME, field="content")
        if len(self) == _MOST_NAMES:
            self.clear()
        name = self[tag] = tag.rpartition("}")[2]
        return name


_NAMES = _Names()


def content_of(element: etree._Element) -> Content:
    """Read an element whole; how deep it is was bounded when its page was parsed.

    Raises:
        InvalidMessage: a name in it is too long.
    """
    texts: dict[str, str] = {}
    parts: dict[str, list[Content]] = {}
    for child in element:
        name = _NAMES[child.tag]
        if len(child):
            parts.setdefault(name, []).append(content_of(child))
        elif (text := child.text) and (text := text.strip()) and name not in texts:
            texts[name] = text
    return Content(texts, parts)
