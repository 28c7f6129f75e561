"""The text of a feed page: its encoding, and its entries where the page as a whole is not well-formed.

``prepared`` finds the encoding (RFC 7303: byte order mark, then Content-Type, then the XML declaration). ``separated``
cuts a damaged page into its raw entries, so that each can be parsed strictly and by itself. It follows the tokens of XML
(comments, CDATA, tags) and gives up where two readings are possible: no entry is ever made of the text of another.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from hub.errors import PartnerContractBroken

# Bytes and tags of a page from which on it is parsed beside the event loop: below them it takes some milliseconds.
_SMALL_BYTES = 128 * 1024
_SMALL_TAGS = 8_000
_BLANK = b" \t\r\n"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How a document in UTF-16 without a mark begins (XML 1.0, appendix F).
_UNMARKED = ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"))
# Encodings in which every byte below 128 is that ASCII character; others are left to the parser.
_BYTEWISE = re.compile(r"utf-8|ascii|iso8859-\d+|cp125\d")
_WIDE = re.compile(r"utf-(16|32)(-[lb]e)?")
_DECLARED = re.compile(rb"""<\?xml\s[^<>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")

# Bytes of the start tag of the feed, which is repeated before each entry.
_LONGEST_ROOT = 8192
# Links of a feed that are looked at; the documents have four.
_MOST_LINKS = 32
_NAME = rb"[A-Za-z_\x80-\xff][-A-Za-z0-9._:\x80-\xff]{0,200}+"
_END = re.compile(rb"</(" + _NAME + rb")[ \t\r\n]*>")
# A value in quotes holds no "<" in XML: a quote that is never closed ends there, and swallows no other entry.
_START = re.compile(rb"<(" + _NAME + rb""")((?:[ \t\r\n/=]|[^<>"' \t\r\n/=]+|"[^"<]*"|'[^'<]*')*+)>""")
_ENTRY_TAG = re.compile(rb"</?(?:[^\s<>/]{1,100}:)?entry[\s/>]")
# What hides markup: begin, end.
_HIDING = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))


@dataclass(frozen=True, slots=True)
class Text:
    """A document as the parser takes it; ``encoding`` overrides what it declares, None: it declares the right one."""

    body: bytes
    encoding: str | None

    @property
    def effective(self) -> str:
        """The name of its encoding."""
        if self.encoding is not None:
            return self.encoding
        declared = _DECLARED.match(self.body[:512])
        return _known(declared[1].decode("ascii")) or "unknown" if declared else "utf-8"


def is_large(body: bytes) -> bool:
    """Return whether reading this page could keep the event loop for too long."""
    return len(body) > _SMALL_BYTES or body.count(b"<") > _SMALL_TAGS


def prepared(body: bytes, charset: str | None) -> Text:
    """Find the encoding of a document, and drop what stands before its declaration.

    Args:
        body: as it came.
        charset: of the Content-Type, if it names one; an unknown one is ignored.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return _narrow(body[len(mark) :], encoding)
    for begin, encoding in _UNMARKED:
        if body.startswith(begin):
            return _narrow(body, encoding)
    known = _known(charset) if charset else None
    if known and _WIDE.fullmatch(known):
        return _narrow(body, known if known[-2:] in ("le", "be") else f"{known}-be")
    if body[:1] in (b" ", b"\t", b"\r", b"\n"):
        body = body.lstrip(_BLANK)
    if known is None and (declared := _DECLARED.match(body[:512])):
        # What can be read byte by byte is in no wide encoding: .NET's StringWriter declares UTF-16 whatever is sent.
        wide = _known(declared[1].decode("ascii"))
        known = "utf-8" if wide and _WIDE.fullmatch(wide) else None
    return Text(body, known)


def _narrow(body: bytes, encoding: str) -> Text:
    """Turn wide encodings into UTF-8; half a character stays what no parser takes, and damages its own entry alone."""
    if encoding == "utf-8":
        return Text(body.lstrip(_BLANK), encoding)
    unit = 2 if "16" in encoding else 4
    text = body[: len(body) // unit * unit].decode(
        encoding, errors="surrogatepass" if unit == 2 else "replace"
    )
    return Text(text.encode("utf-8", errors="surrogatepass").lstrip(_BLANK), "utf-8")


def _known(charset: str) -> str | None:
    try:
        name = codecs.lookup(charset.strip("\"' ")).name
    except (LookupError, ValueError):
        return None
    return name if _BYTEWISE.fullmatch(name) or _WIDE.fullmatch(name) else None


@dataclass(frozen=True, slots=True)
class Separated:
    """A damaged page: the start and end tag of its feed, and the raw pieces below it.

    ``entries`` holds each piece with what is wrong with its separation, or None. ``head`` are the raw links of the
    feed itself.
    """

    root: bytes
    end: bytes
    entries: tuple[tuple[bytes, str | None], ...]
    head: tuple[bytes, ...]

    def alone(self, piece: bytes) -> bytes:
        """Return a piece as the only child of the feed, with its namespaces."""
        return self.root + piece + self.end


class _Scanner:
    """Walks through the tokens below the root; see ``separated``."""

    def __init__(self, body: bytes, position: int, root: bytes) -> None:
        self.body = body
        self.root = root
        self._behind = position
        self.entries: list[tuple[bytes, str | None]] = []
        self.head: list[bytes] = []
        self._open: list[bytes] = []
        self._begun: int | None = None
        self._wrong: str | None = None
        self._suspect = False

    def run(self) -> None:
        """Read all tokens from behind the root's start tag to its end."""
        for kind, name, start, end in tokens(self.body, self._behind):
            if kind == "hidden":
                if _ENTRY_TAG.search(self.body, start + 1, end):
                    self._hide()
            elif kind == "damage":
                if self._begun is None:
                    raise _inseparable("a damaged tag between the entries")
            elif _local(name) == b"entry" and not self._open:
                self._entry(kind, start, end)
            elif self._is_end(kind, name):
                if self._begun is not None:
                    self._wrong = self._wrong or "expected the end of the entry, got the end of the feed"
                    self._cut(start)
                if _ENTRY_TAG.search(self.body, end):
                    raise _inseparable("entries behind the end of the feed")
                return
            elif self._begun is None:
                self._feed_level(kind, name, start, end)
        raise _inseparable("a feed without an end")

    def _is_end(self, kind: str, name: bytes) -> bool:
        return kind == "end" and name == self.root and not self._open

    def _hide(self) -> None:
        if self._begun is None:
            raise _inseparable("entry tags in a comment or CDATA section between entries")
        self._wrong = "expected an entry by itself, got a comment or CDATA section with tags of entries in it"

    def _entry(self, kind: str, start: int, end: int) -> None:
        if kind == "end":
            if self._begun is None:
                if self._suspect:
                    raise _inseparable("an entry inside another")
                self._begun, self._wrong = self._behind, "expected the start of the entry, got its end alone"
            self._cut(end)
            return
        if self._begun is not None:
            self._wrong = self._wrong or "expected the end of the entry, got the start of another"
            self._cut(start)
            self._suspect = True
        else:
            self._suspect = False
        self._begun, self._wrong = start, None
        if kind == "empty":
            self._cut(end)

    def _cut(self, end: int) -> None:
        self.entries.append((self.body[self._begun : end], self._wrong))
        self._begun, self._wrong, self._behind = None, None, end

    def _feed_level(self, kind: str, name: bytes, start: int, end: int) -> None:
        """Follow an element beside the entries."""
        if kind == "empty":
            if not self._open and _local(name) == b"link" and len(self.head) < _MOST_LINKS:
                self.head.append(self.body[start:end])
        elif kind == "start":
            self._open.append(name)
        elif self._open and self._open[-1] == name:
            self._open.pop()
        else:
            raise _inseparable("an end tag between the entries that ends nothing")


def separated(body: bytes) -> Separated:
    """Cut a damaged page into raw entries.

    Raises:
        PartnerContractBroken: it has no feed as its root, or its entries cannot be told from one another; says why.
    """
    for kind, name, start, end in tokens(body, 0):
        if kind == "hidden":
            continue
        if kind != "start" or _local(name) != b"feed" or end - start > _LONGEST_ROOT:
            break
        scanner = _Scanner(body, end, name)
        scanner.run()
        return Separated(body[start:end], b"</" + name + b">", tuple(scanner.entries), tuple(scanner.head))
    raise _inseparable("no start of a feed")


def head_of(body: bytes) -> Separated:
    """Return the feed and its links up to the first entry, or to where the document cannot be followed.

    Raises:
        PartnerContractBroken: it has no feed as its root.
    """
    links: list[bytes] = []
    root, name = b"", b""
    with suppress(PartnerContractBroken):
        for kind, tag, start, end in tokens(body, 0):
            if not root and kind == "start" and _local(tag) == b"feed" and end - start <= _LONGEST_ROOT:
                root, name = body[start:end], tag
            elif _local(tag) == b"entry" or kind == "damage" or len(links) == _MOST_LINKS:
                break
            elif root and kind == "empty" and _local(tag) == b"link":
                links.append(body[start:end])
    if not root:
        raise _inseparable("no start of a feed")
    return Separated(root, b"</" + name + b">", (), tuple(links))


def tokens(
    body: bytes, position: int
) -> Iterator[tuple[Literal["hidden", "start", "end", "empty", "damage"], bytes, int, int]]:
    """Yield the markup of a document in order, as kind, name, start and end; "damage" is a ``<`` that begins none.

    Raises:
        PartnerContractBroken: a document type, or a comment or CDATA section that never ends.
    """
    while (start := body.find(b"<", position)) >= 0:
        for begin, end in _HIDING:
            if body.startswith(begin, start):
                found = body.find(end, start + len(begin))
                if found < 0:
                    raise _inseparable("a comment or CDATA section without an end")
                position = found + len(end)
                yield "hidden", b"", start, position
                break
        else:
            if body.startswith(b"<!", start):
                raise _inseparable("a document type or the like")
            if match := _END.match(body, start):
                position = match.end()
                yield "end", match[1], start, position
            elif match := _START.match(body, start):
                position = match.end()
                yield ("empty" if match[2].endswith(b"/") else "start"), match[1], start, position
            else:
                position = start + 1
                yield "damage", b"", start, position


def is_bytewise(encoding: str) -> bool:
    """Whether markup can be found byte by byte in this encoding."""
    return _BYTEWISE.fullmatch(encoding) is not None


def _local(name: bytes) -> bytes:
    return name.rpartition(b":")[2]


def _inseparable(got: str) -> PartnerContractBroken:
    return PartnerContractBroken(f"expected entries that can be told from one another, got {got}")
