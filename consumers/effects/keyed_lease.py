"""One at a time for a name: by a lock in this process, by a lease among processes.

Called by the consumers whose calls depend on what was told before, since two that compare at once would tell twice or
in the wrong order. It does not order those who wait: each compares anew when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from consumers.effects.once import LOOK_AGAIN, is_odd
from hub.errors import Busy, LeaseHeld, StoreUnavailable, TransientError
from hub.state.protocols import LeaseStore


@dataclass(slots=True)
class _Line:
    """Those who want the same turn."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    failures: int = 0
    failure: TransientError | None = None


class Turns:
    """The turns of one handler.

    Args:
        store: keeps the leases.
        holder: who holds them, this process.
    """

    def __init__(self, store: LeaseStore, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def of(self, name: str, lease: timedelta) -> AsyncIterator[None]:
        """Wait for the turn, and have it for the block.

        Whoever waits while a turn ends in a ``TransientError`` shares it: behind a partner that does not answer, a
        hundred deliveries wait for one timeout, not for a hundred. An odd answer is not shared: it belongs to the call
        that got it, and may be about what was sent.

        Raises:
            Busy: another process has the turn.
            TransientError: the turn before failed while this one was waited for.
            StoreUnavailable: the lease could not be taken.
        """
        line = self._lines.setdefault(name, _Line())
        line.users += 1
        seen = line.failures
        try:
            async with line.lock:
                if line.failure is not None and line.failures != seen:
                    # Else an error that many tasks raise would collect the traceback of each.
                    raise line.failure.with_traceback(None)
                try:
                    async with self._leased(name, lease):
                        yield
                except TransientError as failure:
                    if not is_odd(failure):
                        line.failures, line.failure = line.failures + 1, failure
                    raise
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[name]

    @asynccontextmanager
    async def _leased(self, name: str, lease: timedelta) -> AsyncIterator[None]:
        try:
            await self._store.acquire_lease(name, holder=self._holder, lease=lease)
        except LeaseHeld as held:
            raise Busy(str(held), retry_after=LOOK_AGAIN) from None
        try:
            yield
        finally:
            # A lease that cannot be given back lapses; it must not hide what became of the block.
            with suppress(StoreUnavailable):
                await self._store.release_lease(name, holder=self._holder)
