"""Which losses of a channel or connection are the broker's answer to one message, and which message it was.

A broker that refuses a message for good closes the channel it came on, or the connection, and with it go the confirms of
all others that were under way there. ``LoneChannel`` publishes each of these again, one after the other, on a connection
of its own: the one that is refused there as well is the one that was meant, and nobody else pays for it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq import exceptions, spec
from pamqp.header import ContentHeader

from hub.amqp.connection.connection import close, connect
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, MessageRefused
from hub.models.input.body_limits import LARGEST_BODY

NOT_FOUND = 404
INTERNAL_ERROR = 541
# Seconds that one publish may take here.
_SECONDS = 10.0
# What the client library makes of reply codes. Not those that are about the broker or its settings: 405 and 506 (locked,
# out of resources), 504 (also for what the library closes by itself), 530 (a virtual host or user that has gone).
_CODES: dict[type[BaseException], int] = {
    exceptions.ChannelAccessRefused: 403,
    exceptions.ChannelNotFoundEntity: NOT_FOUND,
    exceptions.ChannelPreconditionFailed: 406,
    exceptions.ConnectionFrameError: 501,
    exceptions.ConnectionSyntaxError: 502,
    exceptions.ConnectionCommandInvalid: 503,
    exceptions.ConnectionUnexpectedFrame: 505,
    exceptions.ConnectionNotImplemented: 540,
    exceptions.ConnectionInternalError: INTERNAL_ERROR,
}
_CONTENT_TOO_LARGE = 311
# What the client library raises for a value that it cannot write.
UNWRITABLE = (TypeError, ValueError, AttributeError, ArithmeticError, struct.error)
# Around the content of a frame, in bytes.
_AROUND = 8
# Headers of a few texts that cannot come near the limit need not be measured.
_SMALL = 4096
_LONGEST_CHARACTER = 4


def code_of(error: BaseException | None) -> int | None:
    """Return the reply code of a refusal that may have been meant for one message; None for any other loss."""
    if error is None:
        return None
    if isinstance(error, exceptions.ChannelClosed) and error.args[:1] == (_CONTENT_TOO_LARGE,):
        return _CONTENT_TOO_LARGE
    return _CODES.get(type(error))


class _Connection(Protocol):
    @property
    def connection_tune(self) -> spec.Connection.Tune:
        """What broker and client have agreed on."""


def refuse_what_cannot_travel(
    properties: spec.Basic.Properties, body: bytes, connection: _Connection
) -> None:
    """Return if properties and headers can be written and fit into one frame, and the body is within the limit.

    The broker would close the channel or the connection, and the client library raises in the middle of a publish.

    Raises:
        MessageRefused: they cannot; says what of them.
    """
    if len(body) > LARGEST_BODY:
        raise MessageRefused(f"expected a body of at most {LARGEST_BODY} bytes, got {len(body)}")
    if _is_small(properties.headers or {}):
        return
    with refusing_what_cannot_be_written():
        size = len(ContentHeader(0, len(body), properties).marshal()) + _AROUND
    largest = connection.connection_tune.frame_max
    if largest and size > largest:
        raise MessageRefused(
            f"expected properties and headers of at most {largest} bytes (frame_max), got {size}"
        )


@contextmanager
def refusing_what_cannot_be_written() -> Iterator[None]:
    """Turn what the client library raises for a value that it cannot write into ``MessageRefused``."""
    try:
        yield
    except UNWRITABLE as error:
        # Not its text, which may quote a value.
        raise MessageRefused(
            f"expected properties and headers that AMQP 0-9-1 can carry, got {type(error).__name__}"
        ) from None


def _is_small(headers: Mapping[str, Any]) -> bool:
    size = 0
    for name, value in headers.items():
        if type(value) is str:
            size += _LONGEST_CHARACTER * (len(name) + len(value))
        elif type(value) is not int:
            return False
    return size <= _SMALL


class LoneChannel:
    """Publishes one message at a time on a connection of its own, which closes when nobody waits.

    Args:
        settings: of the broker.
        name: of the connection, for people who look at the broker.
    """

    def __init__(self, settings: Broker, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def publish(self, send: Callable[[AbstractChannel], Awaitable[None]], what: str) -> None:
        """Have a message published on a channel on which nothing else is.

        Args:
            send: publishes it, with confirm.
            what: which one, for the error.

        Raises:
            MessageRefused: the broker refuses this very message.
            BrokerUnavailable: no connection, or no answer in time.
            aio_pika.exceptions.AMQPError: it came back, or was nacked, or the connection was lost.
        """
        async with self._alone():
            try:
                with translate_connection_cancel():
                    async with asyncio.timeout(_SECONDS):
                        await send(await self._opened())
            except TimeoutError:
                raise BrokerUnavailable(
                    f"expected a confirm within {_SECONDS:g} s for {what}, got none"
                ) from None
            except LOST as error:
                code = code_of(error)
                if code is None:
                    raise
                raise MessageRefused(f"the broker refused {what}: {describe(error)}", code=code) from None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                connection, self._connection, self._channel = self._connection, None, None
                if connection is not None:
                    await close(connection)

    async def _opened(self) -> AbstractChannel:
        if self._connection is None or self._connection.is_closed:
            self._connection = await connect(self._settings, name=f"{self._name} refusals")
            self._channel = None
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        return self._channel
