"""An answer of RetailOps as JSON, record by record: what one record damages stays in it.

A text that the quick reader takes as it is costs nothing more. Any other is cut into its records at the brackets
outside of strings, and each is read alone: exact in its numbers, and set aside as ``Unreadable`` with the reason.
Called by ``wire.Answer``, off the event loop for a large body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from hub.errors import ErrorFacts, PartnerContractBroken
from hub.models.input import exact_json
from hub.models.input.repeated_names import first_repeated, may_repeat

# Bytes from which on an answer is read off the event loop, and record by record, so that nothing waits long for it.
LARGE = 128 * 1024
_MANY_CONTAINERS = 8_000
# What one answer may consist of; a page of 1000 POs with ten lines each has a tenth of it.
MOST_RECORDS = 5000
_MOST: tuple[tuple[str, tuple[bytes, ...], int], ...] = (
    ("objects and lists", (b"{", b"["), 100_000),
    ("values", (b",",), 500_000),
    ("escapes", (b"\\",), 200_000),
)
# How deep objects and lists may lie in one another.
DEEPEST = 64

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[\[\]{},:]', re.DOTALL)
# What is read of an answer, a PO and its address (``wire``, ``translate``): two members of such a name are one too many.
_READ = frozenset(
    {
        *("success", "ERROR", "ERRORCODE", "records"),
        *("po", "date_submit", "items", "po_item_id", "vpc", "quantity"),
        *(
            "ship_service",
            "order",
            "gift_message",
            "name",
            "ship_address",
            "addressee",
            "company",
            "phone_number",
        ),
        *("address1", "address2", "city", "state_name", "state_abbr", "postal_code", "country_name"),
    }
)
_RECORDS = b'"records"'
_CLOSES = {b"}": b"{", b"]": b"["}
# What stands for the list while the rest of the envelope is read.
_NO_RECORDS = b"[]"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read: its bytes, and why; the reason names positions and kinds, never a value."""

    raw: bytes
    reason: str


class Kept(dict[str, Any]):
    """A record that only its bytes render again exactly."""

    raw: bytes = b""


def is_large(body: bytes) -> bool:
    """Whether reading an answer may take so long that it is better done off the event loop."""
    return len(body) > LARGE or body.count(b"{") + body.count(b"[") > _MANY_CONTAINERS


def read_document(body: bytes) -> dict[str, Any] | None:
    """Read an answer in UTF-8; None if it is no JSON object, or its records cannot be told from one another.

    Raises:
        PartnerContractBroken: more records or values than any answer has.
    """
    for what, marks, most in _MOST:
        if sum(map(body.count, marks)) > most:
            raise _too_many(what, most)
    if len(body) <= LARGE:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
        else:
            if exact_json.is_exact(body) and not may_repeat(body, document) and not _is_deep(document):
                return document if isinstance(document, dict) else None
    return _read_apart(body)


def _too_many(what: str, most: int) -> PartnerContractBroken:
    return PartnerContractBroken(
        f"expected at most {most} {what} in an answer from retailops, got more",
        facts=ErrorFacts("retailops", code="too_many"),
    )


def _is_deep(document: object) -> bool:
    level = [document]
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _read_apart(body: bytes) -> dict[str, Any] | None:
    """Read the envelope and each record by itself."""
    found = _records_in(body)
    if found is None:
        return None
    start, end, spans = found
    envelope = read_record(body[:start] + _NO_RECORDS + body[end:] if spans is not None else body)
    if not isinstance(envelope, dict):
        return None
    if spans is not None:
        envelope["records"] = [read_record(body[begins:ends]) for begins, ends in spans]
    return envelope


def _records_in(body: bytes) -> tuple[int, int, list[tuple[int, int]] | None] | None:
    """Return where the list of records begins and ends, and its records; no records where there is no such list.

    None: the text has no end where its brackets say so.
    """
    nested: list[bytes] = []
    key, text = b"", (-1, -1)
    start = end = element = -1
    spans: list[tuple[int, int]] = []
    for match in _TOKEN.finditer(body):
        token = match[0]
        in_records = element >= 0 and len(nested) == 2
        if token in _CLOSES:
            # A bracket that was never closed ends with the one around it.
            while nested and nested[-1] != _CLOSES[token]:
                nested.pop()
            if not nested:
                return None
            if element >= 0 and len(nested) == 2:
                _add(spans, body, element, match.start())
                end, element = match.end(), -1
            nested.pop()
        elif token in (b"[", b"{"):
            nested.append(token)
            if len(nested) == 2 and token == b"[" and key == _RECORDS and start < 0:
                start, element = match.start(), match.end()
        elif token == b"," and in_records:
            _add(spans, body, element, match.start())
            element = match.end()
        elif len(nested) == 1:
            key = body[text[0] : text[1]] if token == b":" else b""
            text = match.span()
    if nested:
        return None
    return (start, end, spans) if start >= 0 else (-1, -1, None)


def _add(spans: list[tuple[int, int]], body: bytes, begins: int, ends: int) -> None:
    if body[begins:ends].strip():
        spans.append((begins, ends))
    if len(spans) > MOST_RECORDS:
        raise _too_many("records", MOST_RECORDS)


def read_record(raw: bytes) -> object:
    """Read one JSON text: its value, a ``Kept`` object where only its bytes are exact, or ``Unreadable``."""
    raw = raw.strip()
    if _depth(raw) > DEEPEST:
        return Unreadable(raw, f"expected at most {DEEPEST} objects and lists in one another, got more")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Unreadable(raw, f"expected UTF-8, got the byte 0x{raw[error.start]:02x} at byte {error.start}")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Unreadable(raw, f"expected JSON, got {_kind(text, error)} at character {error.pos}")
    if may_repeat(raw, value):
        twice = first_repeated(text, _READ, differing=True)
        if twice is not None:
            return Unreadable(raw, f"expected each member once, got two of the name {twice} that differ")
    if exact_json.is_exact(raw):
        return value
    value = exact_json.loads(text)
    if not isinstance(value, dict):
        return value
    kept = Kept(value)
    kept.raw = raw
    return kept


def render(record: object) -> bytes:
    """Return a record as the bytes that came, or as JSON that reads the same."""
    return record.raw if isinstance(record, Unreadable | Kept) else orjson.dumps(record)


def _depth(raw: bytes) -> int:
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return 0
    depth = deepest = 0
    for match in _TOKEN.finditer(raw):
        if match[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in _CLOSES:
            depth -= 1
    return deepest


def _kind(text: str, error: orjson.JSONDecodeError) -> str:
    """Say what kind of thing keeps a text from being JSON, without a word of it."""
    if "surrogate" in error.msg:
        return "half a surrogate pair"
    found = text[error.pos : error.pos + 1]
    if found and ord(found) < 0x20:
        return f"the control character U+{ord(found):04X} in a text"
    if text[error.pos : error.pos + 8].lstrip("-").startswith(("NaN", "Inf")):
        return "NaN or Infinity"
    return "something else" if found else "its end"
