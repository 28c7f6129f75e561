"""The headers of others that a copy keeps: few enough that the copy always fits into one frame of the broker.

Headers travel in one frame, and the hub adds its own to what a publisher sent: a message that just fitted would make a
copy that does not, and the broker closes the connection then. Kept first is what the message is decoded by (the
attributes of a binary CloudEvent) and its trace; other headers have a room of their own, and what is beyond is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pamqp.encode import field_table

from hub.amqp.connection.refusal import UNWRITABLE
from hub.observability.tracing import TRACEPARENT, TRACESTATE

# Bytes of encoded headers. With the hub's own (some 3 kB) far below the smallest frame that brokers agree on by default.
ROOM_FOR_ATTRIBUTES = 16 * 1024
ROOM_FOR_OTHERS = 8 * 1024
MOST = 100
# Names beyond are cut by the client library; such a header would come back as another one.
_LONGEST_NAME = 128
_ATTRIBUTES = ("ce-", "cloudEvents:", "cloudEvents_")
_LENGTH_OF_TABLE = 4


def bounded(headers: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the headers that a copy keeps, and how many it does not keep."""
    kept: dict[str, Any] = {}
    rooms = {True: ROOM_FOR_ATTRIBUTES, False: ROOM_FOR_OTHERS}
    for name in sorted(headers, key=_is_needed, reverse=True):
        if len(kept) == MOST:
            break
        needed = _is_needed(name)
        # What has more values than there is room for is not written first to be measured, which takes long.
        if _has_more_values(headers[name], rooms[needed]):
            continue
        size = size_of(name, headers[name])
        if size is not None and size <= rooms[needed]:
            rooms[needed] -= size
            kept[name] = headers[name]
    return kept, len(headers) - len(kept)


def _is_needed(name: str) -> bool:
    return name in (TRACEPARENT, TRACESTATE) or name.startswith(_ATTRIBUTES)


def _has_more_values(value: Any, most: int) -> bool:
    """Return whether a table or array has more values than this, at any depth; each takes a byte at least."""
    waiting, count = [value], 0
    while waiting:
        last = waiting.pop()
        if isinstance(last, dict | list):
            count += len(last)
            if count > most:
                return True
            waiting += last.values() if isinstance(last, dict) else last
    return False


def size_of(name: str, value: Any) -> int | None:
    """Return how many bytes a header takes in its frame; None if it cannot be written."""
    if len(name.encode()) > _LONGEST_NAME:
        return None
    try:
        return len(field_table({name: value})) - _LENGTH_OF_TABLE
    except UNWRITABLE:
        return None
