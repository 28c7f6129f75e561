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

from hub.amqp.tables import read_table

_UNREADABLE = (ValueError, OverflowError, OSError, TypeError, struct.error, IndexError)


def _timestamp(value: bytes) -> tuple[int, datetime | None]:
    try:
        return decode.timestamp(value)
    except _UNREADABLE:
        return 8, None


def _short_string(value: bytes) -> tuple[int, str]:
    length = value[0]
    return length + 1, value[1 : length + 1].decode("utf-8", errors="replace")


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    try:
        table, end = read_table(value)
        return end, table
    except _UNREADABLE:
        return 4 + int.from_bytes(value[:4], "big"), {}


def install() -> None:
    """Put the tolerant readers in the library's table of readers; once more does no harm."""
    readers: dict[str, Callable[..., tuple[int, Any]]] = decode.METHODS
    readers.update(timestamp=_timestamp, shortstr=_short_string, table=_table)
