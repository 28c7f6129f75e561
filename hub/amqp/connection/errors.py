"""A connection that goes away under us: what the client library raises then, and what it leaves hanging.

Used wherever the hub waits for the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol

from aio_pika.exceptions import AMQPError

from hub.errors import BrokerUnavailable

# ChannelInvalidStateError is a RuntimeError.
LOST = (AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError)


class Closing(Protocol):
    """A channel that can be watched."""

    @property
    def closing(self) -> asyncio.Future[Any]:
        """Return a future that is done once the channel is closed."""


@contextmanager
def translate_connection_cancel() -> Iterator[None]:
    """Turn a cancel that nobody asked of this task into ``BrokerUnavailable``.

    A dying connection cancels what waits on it; only a cancel of the task itself is a shutdown.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable("the connection was lost while waiting for the broker") from None


@asynccontextmanager
async def until_closed(channel: Closing) -> AsyncIterator[None]:
    """End what is said to the broker, by ``TimeoutError``, once the channel is closed.

    The client library buffers a few frames, and whoever comes after those waits; for ever, if nobody writes any more.
    """
    clock = asyncio.get_running_loop()
    closing = channel.closing
    async with asyncio.timeout(None) as limit:

        def end(_: asyncio.Future[Any]) -> None:
            # Refused when the wait has ended in the same turn of the loop.
            with suppress(RuntimeError):
                limit.reschedule(clock.time())

        closing.add_done_callback(end)
        try:
            yield
        finally:
            closing.remove_done_callback(end)
            # An observer of our own, as long as the channel is open.
            closing.cancel()


def describe(error: BaseException | None) -> str:
    """Say what is wrong in a few words, without addresses that may hold a password."""
    if error is None:
        return "closed"
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text and "://" not in text else type(error).__name__
