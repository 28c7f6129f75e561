"""What of a feed page of iQmetrix is read on the event loop: a small page whole, of a large one what follows."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from bench.hostile.case import Case
from hub.config.settings import FeedLimits, Iqmetrix, Settings
from hub.messaging.cloudevents import encode
from hub.messaging.message import Message
from hub.partners.iqmetrix.feed import Entry, Malformed, Page, parse_page
from hub.partners.iqmetrix.page_text import is_large
from hub.partners.iqmetrix.translate import ACCOUNT_HEADER, to_event, to_item
from producers.iqmetrix.iqmetrix_orders import parse_letter, translates_at_once

_LIMITS = FeedLimits()
_SMALL = 128 * 1024
_TAGS = 8_000
_NAMESPACES = b'xmlns="http://www.w3.org/2005/Atom"'
_HEAD = b"<feed %b>" % _NAMESPACES
_TAIL = b"</feed>"
_ACCOUNT = Iqmetrix.model_validate(
    {
        "base_url": "https://dropship.iqmetrix.net/v1",
        "token_url": "https://accounts.iqmetrix.net/v1/oauth2/token",
        "supplier_id": 71204,
        **dict.fromkeys(("username", "password", "client_id", "client_secret"), "none"),
    }
)


def feed_pages() -> Iterator[Case]:
    """Yield pages that are parsed on the loop, and entries of larger ones."""
    for name, body in _small():
        assert not is_large(body), name
        yield Case("feed page parsed", name, len(body), partial(parse_page, body, _LIMITS))
        if name in _AS_WIDE:
            for encoding in ("utf-16", "utf-32"):
                wide = body.decode().encode(encoding)
                wide = wide if not is_large(wide) else _cut(body, encoding)
                yield Case(
                    f"feed page parsed, {encoding}", name, len(wide), partial(parse_page, wide, _LIMITS)
                )
    for name, body in _legal():
        page = parse_page(body, _LIMITS)
        if translates_at_once(page):
            yield Case("feed page translated", name, len(body), _translated(page))
    for name, lines in (("a line of its own each", 5000), ("with all texts", 5000)):
        entry = _entry(_lines(lines, texts=name == "with all texts"))
        page = parse_page(_HEAD + entry + _TAIL, _LIMITS)
        event = to_event(page.entries[0], _ACCOUNT)
        yield Case("feed event encoded", f"{name}, {lines} lines", len(entry), partial(encode, event))
        yield Case(
            "feed entry replayed", f"{name}, {lines} lines", len(entry), _replayed(page.entries[0].raw)
        )
    head, tail = b"<entry %b>" % _NAMESPACES, b"</entry>"
    for name, raw in (
        ("more elements", head + b"<a/>" * 100_000 + tail),
        ("more attributes", head + _numbered(b'<a a%x=""/>', 40_000) + tail),
        ("small, empty elements", head + b"<a/>" * 7_990 + tail),
        ("small, attributes", b"<entry %b %b/>" % (_NAMESPACES, _numbered(b'a%x=""', 13_000, b" "))),
    ):
        yield Case("feed entry replayed", name, len(raw), _replayed(raw))


def _filled(unit: bytes, head: bytes = _HEAD, tail: bytes = _TAIL, most: int = _SMALL) -> bytes:
    """Return a page of as many units as a small page has room for."""
    room, tags = most - len(head) - len(tail), _TAGS - head.count(b"<") - tail.count(b"<")
    return head + unit * min(room // len(unit), tags // max(unit.count(b"<"), 1)) + tail


def _numbered(form: bytes, number: int, between: bytes = b"") -> bytes:
    return between.join(form % ((each,) * form.count(b"%")) for each in range(number))


def _small() -> Iterator[tuple[str, bytes]]:
    inside = b"<entry><content>", b"</content></entry>"
    within = _HEAD + inside[0], inside[1] + _TAIL
    yield "empty entries", _filled(b"<entry/>")
    yield "empty elements", _filled(b"<a/>")
    yield "empty elements in an entry", _filled(b"<a/>", *within)
    yield "links", _filled(b'<link rel="self" href="x"/>')
    yield "a relation each", _HEAD + _numbered(b'<link rel="r%x"/>', 5_000) + _TAIL
    yield "relations of one link", b'%b<link rel="%b"/>%b' % (_HEAD, b"r " * 60_000, _TAIL)
    yield "a name each", _HEAD + b"<entry>" + _numbered(b"<n%x/>", 7_900) + b"</entry>" + _TAIL
    yield "attributes", b"%b<a %b/>%b" % (_HEAD, _numbered(b'a%x=""', 13_000, b" "), _TAIL)
    yield "attributes of the feed", b"<feed %b %b></feed>" % (_NAMESPACES, _numbered(b'a%x=""', 13_000, b" "))
    yield "attributes of the entry", b"%b<entry %b/>%b" % (_HEAD, _numbered(b'a%x=""', 13_000, b" "), _TAIL)
    yield "namespaces", b"<feed %b %b></feed>" % (_NAMESPACES, _numbered(b'xmlns:a%x="u"', 8_000, b" "))
    yield (
        "namespaces of an entry",
        b"%b<entry %b><content>%b</content></entry>%b"
        % (_HEAD, _numbered(b'xmlns:a%x="u"', 2_000, b" "), b"<a/>" * 7_900, _TAIL),
    )
    declared = b"<feed %b %b>" % (_NAMESPACES, _numbered(b'xmlns:a%x="urn:of:some:length"', 31, b" "))
    yield "entries below namespaces", _filled(b"<entry/>", declared)
    own = b"<entry %b/>" % _numbered(b'xmlns:a%x="u"', 31, b" ")
    yield "entries with namespaces", _filled(own)
    yield "nested namespaces", _HEAD + _numbered(b"<a xmlns:b%x='u'>", 60) + b"</a>" * 60 + _TAIL
    yield (
        "prefixed attributes",
        b"%b<a %b %b/>%b"
        % (
            _HEAD,
            _numbered(b'xmlns:n%x="u%x"', 1_500, b" "),
            _numbered(b'n%x:a=""', 1_500, b" "),
            _TAIL,
        ),
    )
    yield "deep", _HEAD + (b"<a>" * 60 + b"</a>" * 60) * 66 + _TAIL
    yield "too deep", b"<a>" * 7_900
    long = b"n" * 500
    yield "long names", _filled(b"<%b/>" % long)
    yield "long names in an entry", _filled(b"<%b/>" % long, *within)
    yield "a long name", _HEAD + b"<" + b"n" * 120_000 + b"/>" + _TAIL
    yield (
        "a long namespace",
        b'<feed %b xmlns:a="%b">%b</feed>' % (_NAMESPACES, b"u" * 60_000, b"<a:b/>" * 7_900),
    )
    far = b'<entry xmlns="%b">' % (b"u" * 60_000) + b"<b/>" * 7_900 + b"</entry>"
    yield "a long namespace of an entry", _HEAD + far + _TAIL
    yield "entities", _HEAD + b"<entry><id>%b</id></entry>" % (b"&#97;" * 26_000) + _TAIL
    yield "unknown entities", _HEAD + b"<entry><id>%b</id></entry>" % (b"&x;" * 43_000) + _TAIL
    yield "half entities", _HEAD + b"&" * 130_000 + _TAIL
    yield "comments", _filled(b"<!---->")
    yield "instructions", _filled(b"<?a?>")
    yield "sections", _filled(b"<![CDATA[]]>")
    yield "texts", _filled(b"a<b/>")
    yield (
        "an entity bomb",
        b'<!DOCTYPE feed [<!ENTITY a "%b">]><feed>%b</feed>' % (b"a" * 60_000, b"&a;" * 20_000),
    )
    yield from _damaged()


def _damaged() -> Iterator[tuple[str, bytes]]:
    """Yield pages that are not well-formed, and cut into their entries."""
    bad = b"&"
    yield "damaged, entries", _filled(b"<entry/>", tail=bad + _TAIL)
    yield "damaged, bad entries", _filled(b"<entry>&</entry>")
    yield "damaged, open entries", _filled(b"<entry>")
    yield "damaged, ends of entries", _filled(b"</entry>")
    yield "damaged, links", _filled(b"<link/>", tail=bad + _TAIL)
    yield "damaged, elements", _filled(b"<a/>", tail=bad + _TAIL)
    yield "damaged, open elements", _filled(b"<a>", tail=bad + _TAIL)
    yield "damaged, half tags", _filled(b"<")
    yield "damaged, half tags in an entry", _filled(b"<a ", _HEAD + b"<entry>", b"</entry>" + _TAIL)
    yield "damaged, half comments", _filled(b"<!--", tail=_TAIL)
    yield "damaged, half quotes", _filled(b'<a b="', _HEAD + b"<entry>", b"</entry>" + _TAIL)
    yield "damaged, many quotes", _HEAD + b"<entry><a " + b"''" * 60_000 + b"</entry>" + _TAIL
    yield "damaged, a long name", _HEAD + b"<entry><" + b"n" * 120_000 + b"</entry>" + _TAIL
    yield "damaged, colons", _HEAD + b"<entry><" + b"n:" * 60_000 + b"</entry>" + _TAIL
    yield "damaged, blanks", _HEAD + b"<entry></a" + b" " * 120_000 + b"</entry>" + _TAIL
    root = b"<feed %b %b>" % (_NAMESPACES, _numbered(b'xmlns:a%x="u"', 500, b" "))
    yield "damaged, a large feed tag", _filled(b"<entry/>", root, bad + _TAIL)
    yield (
        "damaged, a legal large feed tag",
        _filled(b"<entry>&</entry>", b"<feed %b a='%b'>" % (_NAMESPACES, b"u" * 8_000)),
    )
    hiding = b"<!--<entry>-->"
    yield "damaged, hidden entries", _filled(hiding, _HEAD + b"<entry>", bad + b"</entry>" + _TAIL)
    yield "no feed", b"<a>" + b"<b/>" * 7_900 + b"</a>"
    yield "half a declaration", b"<?xml " + b" " * 120_000
    yield "no XML", b"a" * _SMALL
    yield "zeros", b"\0" * _SMALL


_AS_WIDE = frozenset({"empty entries", "empty elements", "attributes", "damaged, bad entries", "no XML"})


def _cut(body: bytes, encoding: str) -> bytes:
    return body.decode().encode(encoding)[:_SMALL]


def _entry(lines: bytes, number: int = 0) -> bytes:
    return (
        b"<entry><id>e%d</id><updated>2024-05-14T16:02:09Z</updated><content>"
        b'<order-created xmlns="urn:iQmetrix:dropship"><order-id>o%d</order-id><supplier-id>71204</supplier-id>'
        b"<items>%b</items></order-created></content></entry>" % (number, number, lines)
    )


def _lines(number: int, *, texts: bool = False) -> bytes:
    form = b"<order-item><sku>s%d</sku><quantity>1</quantity></order-item>"
    if texts:
        form = (
            b"<order-item><sku>s%%d</sku><quantity>1</quantity><selling-price>1.5</selling-price>"
            b"<catalog-id>%%d</catalog-id><description>%b</description></order-item>" % (b"d" * 200)
        )
    return _numbered(form, number)


def _legal() -> Iterator[tuple[str, bytes]]:
    """Yield pages whose entries are translated at once."""
    most = 192 * 1024
    yield (
        "empty orders",
        _HEAD
        + b"".join(_entry(b"", each) for each in range(min(1000, most // len(_entry(b"", 500)) - 5)))
        + _TAIL,
    )
    one = _lines(1)
    size = len(_entry(one, 500))
    yield (
        "orders of one line",
        _HEAD + b"".join(_entry(one, each) for each in range(most // size - 5)) + _TAIL,
    )
    yield "an order of all lines", _HEAD + _entry(_lines(3_000)) + _TAIL
    yield "empty lines", _HEAD + _entry(b"<order-item/>" * 14_000) + _TAIL
    yield (
        "lines of one catalog item",
        _HEAD
        + _entry(
            b"<order-item><catalog-id>a</catalog-id><sku>a</sku><quantity>1</quantity></order-item>" * 2_200
        )
        + _TAIL,
    )
    yield (
        "long numbers",
        _HEAD
        + _entry(b"<order-item><sku>a</sku><quantity>%b</quantity></order-item>" % (b"9" * 150_000))
        + _TAIL,
    )
    yield "foreign elements", _HEAD + _entry(b'<a xmlns="u"/>' * 13_000) + _TAIL
    status = b"<item-information><status>Shipped</status></item-information>"
    yield (
        "states of all lines",
        _HEAD + _entry(status * 3_000).replace(b"order-created", b"order-status-updated") + _TAIL,
    )
    yield (
        "many addresses",
        _HEAD + _entry(b"</items>" + b"<seller><a>1</a></seller>" * 7_000 + b"<items>") + _TAIL,
    )


def _translated(page: Page) -> Callable[[], object]:
    entries: tuple[Entry | Malformed, ...] = (*page.malformed, *page.entries)
    return lambda: [to_item(entry, _ACCOUNT) for entry in entries]


def _replayed(raw: bytes) -> Callable[[], object]:
    letter = Message(raw, headers={ACCOUNT_HEADER: _ACCOUNT.account})
    return lambda: asyncio.run(parse_letter(letter, Settings(iqmetrix=(_ACCOUNT,))))
