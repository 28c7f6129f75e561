"""Reads the field tables of AMQP 0-9-1 in one pass, whatever is in them.

The client library copies the rest of a table for each value in it: one of 120 kB with nothing but small values, which
any publisher may send, keeps the whole process busy for a second. And it follows nested tables until Python's stack
ends. Here each value is read where it stands, and nesting has a limit.

The library's own reader of tables is replaced by this one in ``hub.amqp.protocol.lenient_types``. The types and their letters are
those of RabbitMQ (its errata of the specification).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

# Tables and arrays within each other. What a header says takes two or three; what the hub copies must be written again.
DEEPEST = 32
_LENGTH = struct.Struct(">I")
_VOID = ord("V")
_FIXED = {
    ord(letter): struct.Struct(form)
    for letter, form in {
        "t": "?", "b": "b", "B": "B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q", "f": ">f",
    }.items()
}  # fmt: skip
_DOUBLE = struct.Struct(">d")
_LARGEST_FLOAT = 3.4028234663852886e38
_DECIMAL = struct.Struct(">Bi")
_MOMENT = struct.Struct(">Q")
# A moment beyond this many seconds (the year 2106) is meant in milliseconds, as some publishers count.
_LAST_SECOND = 2**32 - 1

# Each gives the value that begins at a place, and the place behind it.
Read = Callable[[bytes, int, int], tuple[Any, int]]


def read_table(value: bytes, start: int = 0, depth: int = 1) -> tuple[dict[str, Any], int]:
    """Read the table that begins at ``start``; give it with the place behind it.

    Raises:
        ValueError: it is cut off, of unknown types, nested too deep, or has a name or moment that cannot be.
        struct.error: it is cut off within a number.
    """
    place, end = _extent(value, start, depth)
    table: dict[str, Any] = {}
    while place < end:
        name_end = place + 1 + value[place]
        if name_end >= end:
            raise ValueError("expected a name and a value, got the end of the table")
        name = value[place + 1 : name_end].decode()
        table[name], place = _value(value, name_end, depth)
    _ends_there(place, end)
    return table, end


def _array(value: bytes, start: int, depth: int) -> tuple[list[Any], int]:
    place, end = _extent(value, start, depth)
    items: list[Any] = []
    while place < end:
        if value[place] == _VOID:
            # Nothing takes one byte, so that a frame has room for most of these.
            items.append(None)
            place += 1
            continue
        item, place = _value(value, place, depth)
        items.append(item)
    _ends_there(place, end)
    return items, end


def _ends_there(place: int, end: int) -> None:
    if place != end:
        raise ValueError("expected the last value to end with its table, got a longer one")


def _extent(value: bytes, start: int, depth: int) -> tuple[int, int]:
    """Return where the content of a table, array or text begins and ends."""
    if depth > DEEPEST:
        raise ValueError(f"expected at most {DEEPEST} tables within each other")
    (length,) = _LENGTH.unpack_from(value, start)
    end = start + 4 + length
    if end > len(value):
        raise ValueError("expected as many bytes as the length says, got fewer")
    return start + 4, end


def _value(value: bytes, start: int, depth: int) -> tuple[Any, int]:
    letter, place = value[start], start + 1
    fixed = _FIXED.get(letter)
    if fixed is not None:
        return fixed.unpack_from(value, place)[0], place + fixed.size
    read = _READERS.get(letter)
    if read is None:
        raise ValueError("expected a value of a known type")
    return read(value, place, depth + 1)


def _text(value: bytes, start: int, depth: int) -> tuple[str, int]:
    # The library gives bytes where it is not UTF-8, and then cannot write them: such a message could not be set aside.
    begin, end = _extent(value, start, 0)
    return value[begin:end].decode(errors="replace"), end


def _bytes(value: bytes, start: int, depth: int) -> tuple[bytearray, int]:
    begin, end = _extent(value, start, 0)
    return bytearray(value[begin:end]), end


def _double(value: bytes, start: int, depth: int) -> tuple[float | str, int]:
    (number,) = _DOUBLE.unpack_from(value, start)
    # The library writes four bytes for any float: a larger one goes on as text.
    beyond = isfinite(number) and abs(number) > _LARGEST_FLOAT
    return repr(number) if beyond else number, start + _DOUBLE.size


def _decimal(value: bytes, start: int, depth: int) -> tuple[Decimal, int]:
    scale, digits = _DECIMAL.unpack_from(value, start)
    return Decimal(digits).scaleb(-scale), start + _DECIMAL.size


def _moment(value: bytes, start: int, depth: int) -> tuple[datetime, int]:
    (moment,) = _MOMENT.unpack_from(value, start)
    seconds = moment / 1000 if moment > _LAST_SECOND else moment
    return datetime.fromtimestamp(seconds, UTC), start + _MOMENT.size


def _nothing(value: bytes, start: int, depth: int) -> tuple[None, int]:
    return None, start


_READERS: dict[int, Read] = {
    0: _nothing,  # in no document, but seen
    ord("A"): _array,
    ord("D"): _decimal,
    ord("d"): _double,
    ord("F"): read_table,
    ord("S"): _text,
    ord("T"): _moment,
    _VOID: _nothing,
    ord("x"): _bytes,
}
