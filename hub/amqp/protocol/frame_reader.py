"""Reads the frames of AMQP 0-9-1 where they stand in what the socket gave, in one pass.

The client library waits three times for each frame and copies the rest of it for each value in it; of what a delivery
costs, that was a part worth its own reader. Deliveries with their headers and bodies, and confirms, are read here; what is
anything else, or not as the specification has it, is given to the library's own reader (with the tolerant types of
``hub.amqp.protocol.lenient_types``).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pamqp.frame
from aiormq import connection
from aiormq.exceptions import AMQPConnectionError, ConnectionClosed, InvalidFrameError, ProtocolSyntaxError
from pamqp import constants
from pamqp.body import ContentBody
from pamqp.commands import Basic, Connection
from pamqp.exceptions import AMQPAccessRefused, PAMQPException
from pamqp.header import ContentHeader

from hub.amqp.protocol import lenient_types

# How much is taken from the socket at once, in bytes; some sixty deliveries of an order.
_CHUNK = 65536
# Type, channel and length before the content, and one octet behind it.
_AROUND = constants.FRAME_HEADER_SIZE + 1
_START = struct.Struct(">BHI")
_METHOD = struct.Struct(">I")
# Signed, as the library reads a tag.
_TAG = struct.Struct(">qB")
_HEADER = struct.Struct(">HHQH")
# What reading raises where a frame is shorter than what it says, and the library of a name that it does not know.
_MALFORMED = (ValueError, IndexError, struct.error)
# The last bit of the flags: more flags follow. Basic has fourteen properties, so none ever do.
_MORE_FLAGS = 1


def install() -> None:
    """Make each connection of the client library read by this module; once more does no harm."""
    lenient_types.install()
    connection.FrameReceiver = FrameReader  # type: ignore[misc]


class FrameReader(connection.FrameReceiver):
    """Reads the frames of one connection, each with its length in bytes and its channel."""

    def __init__(self, reader: Any) -> None:
        super().__init__(reader)
        self._data = b""
        self._at = 0
        self._is_open = False

    async def get_frame(self) -> tuple[int, int, Any]:
        """Wait for the next frame.

        Raises:
            StopAsyncIteration: the other side had closed after the frame before.
            AMQPConnectionError: the connection was lost, or closed while a frame was waited for.
            ProtocolSyntaxError: the other side wants another version of the protocol.
            InvalidFrameError: what came is no frame.
            ConnectionClosed: the other side refuses to open the connection; with its own words, which the library drops.
        """
        while (length := self._whole()) is None:
            await self._more()
        at, self._at = self._at, self._at + length
        channel, content = _frame(self._data, at, self._at)
        if not self._is_open:
            self._opening(content)
        return length, channel, content

    def _opening(self, content: Any) -> None:
        if isinstance(content, Connection.OpenOk):
            self._is_open = True
        # The library reads a refused login itself.
        elif isinstance(content, Connection.Close) and content.reply_code != AMQPAccessRefused.value:
            raise ConnectionClosed(content.reply_code, content.reply_text)

    __anext__ = get_frame

    def _whole(self) -> int | None:
        """Return the length of the frame that comes next, when all of it is here."""
        here = len(self._data) - self._at
        if here < _AROUND:
            return None
        length = _START.unpack_from(self._data, self._at)[2] + _AROUND
        return length if length <= here else None

    def _missing(self) -> int:
        """Return how many bytes the next frame needs at least."""
        here = len(self._data)
        return (_START.unpack_from(self._data)[2] if here >= _START.size else 0) + _AROUND - here

    async def _come(self, missing: int) -> bytes:
        """Wait for what comes, or for the rest of a large frame at once: in pieces, it would be copied for each."""
        if missing <= _CHUNK:
            return await self.reader.read(_CHUNK)
        try:
            return await self.reader.readexactly(missing)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def _more(self) -> None:
        # What was read is let go before the wait, which may be a long one.
        left = self._data = self._data[self._at :]
        self._at = 0
        if not left and self.reader.at_eof():
            raise StopAsyncIteration
        try:
            came = await self._come(self._missing())
        except ConnectionResetError as error:
            raise AMQPConnectionError(f"Server connection reset: {error!r}") from error
        except OSError as error:
            raise AMQPConnectionError(f"Server connection lost: {error!r}") from error
        if not came:
            raise AMQPConnectionError(
                f"Server connection unexpectedly closed, {len(left)} bytes into a frame"
            )
        self._data = left + came
        if not self.started and len(self._data) >= _AROUND:
            self.started = True
            if self._data.startswith(b"AMQP"):
                raise ProtocolSyntaxError("Unexpected AMQP protocol header")


def _frame(data: bytes, at: int, end: int) -> tuple[int, Any]:
    """Return the channel and the content of the frame between two places."""
    kind, channel, _ = _START.unpack_from(data, at)
    read = _CONTENTS.get(kind)
    if read is not None and data[end - 1] == constants.FRAME_END:
        try:
            content = read(data, at + constants.FRAME_HEADER_SIZE, end - 1)
        except _MALFORMED:
            content = None
        if content is not None:
            return channel, content
    try:
        return pamqp.frame.unmarshal(data[at:end])[1:]
    except (PAMQPException, *_MALFORMED) as error:
        raise InvalidFrameError(str(error)) from error


def _method(data: bytes, at: int, end: int) -> Any:
    """Read a delivery or a confirm; None is for the library."""
    (index,) = _METHOD.unpack_from(data, at)
    if index == Basic.Deliver.index:
        consumer_tag, place = lenient_types.short_string(data, at + _METHOD.size)
        tag, redelivered = _TAG.unpack_from(data, place)
        exchange, place = lenient_types.short_string(data, place + _TAG.size)
        routing_key, place = lenient_types.short_string(data, place)
        if place != end:
            return None
        return Basic.Deliver(consumer_tag, tag, bool(redelivered & 1), exchange, routing_key)
    if index == Basic.Ack.index and at + _METHOD.size + _TAG.size == end:
        tag, multiple = _TAG.unpack_from(data, at + _METHOD.size)
        return Basic.Ack(tag, bool(multiple & 1))
    return None


def _header(data: bytes, at: int, end: int) -> ContentHeader | None:
    # The frame alone: a table that says that it is longer must not take in what stands behind.
    content = data[at:end]
    class_id, weight, body_size, flags = _HEADER.unpack_from(content)
    if flags & _MORE_FLAGS:
        return None
    place = _HEADER.size
    header = ContentHeader(weight, body_size)
    header.class_id = class_id
    for name, read in _properties(flags):
        value, place = read(content, place)
        setattr(header.properties, name, value)
    return header if place == len(content) else None


def _body(data: bytes, at: int, end: int) -> ContentBody | None:
    """Read a part of a body; an empty one is no frame to the library, and would end the body early."""
    return ContentBody(data[at:end]) if end > at else None


def _octet(data: bytes, at: int) -> tuple[int, int]:
    return data[at], at + 1


@lru_cache(maxsize=256)
def _properties(flags: int) -> tuple[tuple[str, lenient_types.Read], ...]:
    """Return the properties that the flags announce, in their order, each with what reads it."""
    return tuple(
        (name, _READERS[Basic.Properties.amqp_type(name)])
        for name, flag in Basic.Properties.flags.items()
        if flags & flag
    )


_READERS: dict[str, lenient_types.Read] = {
    "octet": _octet,
    "shortstr": lenient_types.short_string,
    "table": lenient_types.table,
    "timestamp": lenient_types.timestamp,
}
_CONTENTS: dict[int, Callable[[bytes, int, int], Any]] = {
    constants.FRAME_METHOD: _method,
    constants.FRAME_HEADER: _header,
    constants.FRAME_BODY: _body,
}
