"""Copies of large bodies on their way to the broker: a few at a time, and none while it blocks publishers.

A delivery whose copy waits keeps its body in the broker's and in our memory. Where the broker is short of memory because
of just these, nobody could ever go on: whoever settles learns of it here, and settles without a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from hub.errors import PublishersBlocked

# Unconfirmed at a time: what is in the socket when an alarm begins has to wait until it ends.
_AT_ONCE = 4
# An alarm that ends sooner is waited for.
_PATIENCE_SECONDS = 2.0

BLOCKED = (
    "the broker blocks publishers: it is short of memory or disk, rabbitmq-diagnostics alarms tells which"
)


class Blockable(Protocol):
    """A connection that the broker may block."""

    @property
    def connected(self) -> asyncio.Event:
        """Set while it is open."""

    async def ready(self) -> None:
        """Return once the broker does not block publishers, at once if it does not."""


class LargeCopies:
    """Places for large copies.

    Args:
        at_once: how many may be unconfirmed.
        patience: how long an alarm is waited for, in seconds.
    """

    def __init__(self, at_once: int = _AT_ONCE, patience: float = _PATIENCE_SECONDS) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._patience = patience

    @asynccontextmanager
    async def place(self, connection: Blockable) -> AsyncIterator[None]:
        """Wait for a place, and hold it until the copy is confirmed.

        Raises:
            PublishersBlocked: the broker blocks publishers for longer than the patience.
        """
        await self._taken(connection)
        try:
            await self._unblocked(connection)
            yield
        finally:
            self._places.release()

    async def _taken(self, connection: Blockable) -> None:
        while True:
            await self._unblocked(connection)
            try:
                async with asyncio.timeout(self._patience):
                    await self._places.acquire()
            except TimeoutError:
                continue
            return

    async def _unblocked(self, connection: Blockable) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await connection.ready()
        except TimeoutError:
            # A connection that is lost is not blocked: whoever waits for it is cancelled.
            if connection.connected.is_set():
                raise PublishersBlocked(BLOCKED) from None
            await connection.ready()
