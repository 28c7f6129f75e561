"""The bytes of large bodies that the process has in hand: beyond a budget, nothing more is read from the broker.

A prefetch counts messages, so a backlog of the largest ones would be some gigabytes in a process that has half of one. The
consumer counts a large delivery while its work lasts; the channel waits for room before it reads the next one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

# Bodies below this are not counted: the prefetch bounds them well enough.
LARGE = 2**16
# Each byte in hand is some three in memory: the body, what was parsed of it, and the copy that is published.
BUDGET = 2**26
# Less than the heartbeat's patience: an unread connection would pass for a lost one. One delivery is read then.
_LONGEST_PAUSE_SECONDS = 5.0


class InHand:
    """A count of bytes, and a wait for room.

    Args:
        budget: bytes from which on there is no room.
        pause: how long one delivery waits at most, in seconds.
    """

    def __init__(self, budget: int = BUDGET, pause: float = _LONGEST_PAUSE_SECONDS) -> None:
        self._budget = budget
        self._pause = pause
        self._bytes = 0
        self._room = asyncio.Event()
        # Who stands still now, and when somebody last did (seconds of the loop).
        self._waiting = 0
        self._stood_still = -math.inf

    @property
    def is_full(self) -> bool:
        """Whether deliveries wait to be read."""
        return self._bytes >= self._budget

    def take(self, size: int) -> None:
        """Count a body."""
        self._bytes += size

    def drop(self, size: int) -> None:
        """Count a body no more."""
        self._bytes -= size
        if not self.is_full:
            self._room.set()

    async def room(self) -> None:
        """Return once there is room, or after the longest pause."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._pause
        self._waiting += 1
        try:
            while self.is_full and loop.time() < end:
                self._room.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(end):
                        await self._room.wait()
        finally:
            self._waiting -= 1
            self._stood_still = loop.time()

    @asynccontextmanager
    async def patience(self, seconds: float) -> AsyncIterator[None]:
        """Limit an exchange with the broker to so many seconds in which reading does not stand still.

        An answer stands behind the large bodies that are not read yet.

        Raises:
            TimeoutError: it took longer.
        """
        async with asyncio.timeout(seconds) as limit:
            looking = asyncio.create_task(self._extend(limit, seconds))
            try:
                yield
            finally:
                looking.cancel()

    async def _extend(self, limit: asyncio.Timeout, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        while not limit.expired():
            await asyncio.sleep(seconds / 4)
            stands_still = self._waiting or loop.time() - self._stood_still < seconds
            if stands_still and not limit.expired():
                limit.reschedule(loop.time() + seconds)


IN_HAND = InHand()
"""What this process has in hand, over all its connections."""
