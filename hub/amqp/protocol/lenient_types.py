"""Read properties that break their own types, as publishers in other languages send them.

The client library raises on a timestamp in microseconds, on a short string that is not UTF-8 and on a header table with
such values, and an exception while a frame is read ends the connection with all its consumers: one message would stop
every queue, come again, and take its neighbors along. So what cannot be read becomes None, or text with replacement
characters, or an empty table; the message then goes the ordinary way of bad input.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pamqp import decode

from hub.amqp.protocol.field_tables import read_table

_UNREADABLE = (ValueError, OverflowError, OSError, TypeError, struct.error, IndexError)
_timestamp = decode.timestamp


# Each gives the value that begins at a place, and the place behind it.
Read = Callable[[bytes, int], tuple[Any, int]]


def timestamp(data: bytes, at: int) -> tuple[datetime | None, int]:
    """Read a moment; None is one that no calendar has."""
    try:
        length, moment = _timestamp(data[at : at + 8])
    except _UNREADABLE:
        return None, at + 8
    return moment, at + length


def short_string(data: bytes, at: int) -> tuple[str, int]:
    """Read a short string; what is not UTF-8 in it is replaced."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", errors="replace"), end


def table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """Read a field table; one that cannot be read is empty."""
    try:
        return read_table(data, at)
    except _UNREADABLE:
        return {}, at + 4 + int.from_bytes(data[at : at + 4], "big")


def install() -> None:
    """Put the tolerant readers in the library's table of readers; once more does no harm."""
    readers: dict[str, Callable[..., tuple[int, Any]]] = decode.METHODS
    readers.update(
        timestamp=_for_library(timestamp), shortstr=_for_library(short_string), table=_for_library(table)
    )


def _for_library(read: Read) -> Callable[[bytes], tuple[int, Any]]:
    """The library gives the rest of the frame, and expects how much of it was read before the value."""

    def of_rest(value: bytes) -> tuple[int, Any]:
        read_value, end = read(value, 0)
        return end, read_value

    return of_rest
