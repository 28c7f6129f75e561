"""Edits of a valid document, as values: what both Hypothesis and the coverage-guided fuzzer do to one.

A document that was edited is still mostly valid, so it comes further than random bytes do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

LONGEST = 2**16
_TAG = re.compile(rb"<([\w:-]{1,40})[^<>]*>")
Deed = Literal["cut", "double", "swap", "put", "nest", "repeat"]
DEEDS: tuple[Deed, ...] = get_args(Deed)

# Pieces that some reader has stumbled over, of every format here; each is put in whole.
TOKENS: tuple[bytes, ...] = (
    b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", "²".encode(), "\u2028".encode(), b"%s",
    b"9" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"-1", b"1e400", b"NaN", b"inf", b"null", b"true", b"''", b'""', b"{}", b"[]",
    b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"k" * 5000, b"[" * 2000, b'{"a":' * 500, b"<a>" * 300,
    b"&amp;", b"&x;", b"&#0;", b"<!DOCTYPE feed>", b"<![CDATA[", b"<!--", b"<?pi?>", b' xmlns="urn:x"', b" xmlns:a='u'", b"a:",
    b'encoding="utf-16"', b'encoding="cp037"', b"<entry/>", b"<id>", b"iqmetrix:1:2", b":", b"\n--\n", b"__0__", b"__999999999__",
    b"HUB_", b"_file", b"_FILE", b"=", b",", b"\n", b"ce-", b"A\0\0\0\5", b"F\0\0\0\0", b"T\xff\xff\xff\xff\xff\xff\xff\xff", b"D\xff\x7f\xff\xff\xff",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit. Places and lengths are taken modulo the document's, so that any number fits any document."""

    deed: Deed
    place: int
    length: int
    token: bytes = b""


def edited(document: bytes, edits: Sequence[Edit]) -> bytes:
    """Give the document with the edits made, one after the other; never longer than ``LONGEST``."""
    for edit in edits:
        document = _edited(document, edit)[:LONGEST]
    return document


def _edited(document: bytes, edit: Edit) -> bytes:
    start, end = _piece(document, edit)
    before, piece, after = document[:start], document[start:end], document[end:]
    match edit.deed:
        case "cut":
            return before + after
        case "double":
            return before + piece + piece + after
        case "swap":
            return before + after[: len(piece)] + piece + after[len(piece) :]
        case "put":
            return before + _filled(piece, edit) + after
        case "nest":
            return before + piece * 40 + edit.token + after
        case "repeat":
            return before + (piece or edit.token) * 1000 + after


def _piece(document: bytes, edit: Edit) -> tuple[int, int]:
    """Give begin and end of what is edited: by an even length the next whole element of XML, if there is one."""
    start = edit.place % (len(document) + 1)
    if edit.length % 2 == 0 and (tag := _TAG.search(document, start)):
        closing = b"</" + tag[1] + b">"
        end = document.find(closing, tag.end())
        if end >= 0:
            return tag.start(), end + len(closing)
    return start, min(start + edit.length, len(document))


def _filled(piece: bytes, edit: Edit) -> bytes:
    """Put the token in the place of an element's content, or else before the piece."""
    tag = _TAG.match(piece)
    if edit.length % 2 == 0 and tag and piece.endswith(b">"):
        return tag[0] + edit.token + b"</" + tag[1] + b">"
    return edit.token + piece


def drawn(random: Random) -> list[Edit]:
    """Draw a few edits."""
    return [
        Edit(random.choice(DEEDS), random.randrange(LONGEST), random.randrange(1, 120), random.choice(TOKENS))
        for _ in range(random.randrange(1, 4))
    ]
