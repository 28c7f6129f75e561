"""Says again and again that this process is there, and lets go of its partner calls when it cannot.

    renew - wait - renew - … ; silent for too long: hang up, again and again, until a renewal succeeds

Each renewal writes, so it also tells whether the store is there. One that is slow is there: a renewal that only came too
late tells nothing, until too many did.

What a process holds is free for others once it has been silent for ``PRESENCE`` (``hub.state.sql.processes``). Its calls in
flight must have ended by then: they end here, a little earlier and by this process's own clock, so that a replica that
lost the state store and nothing else does not speak beside the one that took over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from hub.errors import StoreUnavailable
from hub.observability.logging import LogEvent, log
from hub.state.protocols import PRESENCE, ProcessStore

# Between renewals: four may fail before anybody takes over.
EVERY = PRESENCE / 5
# Leaves the time that it takes to close connections.
_HANG_UP_AFTER = PRESENCE * 0.8


class Heartbeat:
    """The presence of one process.

    Args:
        store: keeps it.
        holder: this process.
        abort_calls: ends every partner call in flight; called once in ``every`` while the process is silent.
        every: pause between renewals, and as long as one may take.
        hang_up_after: how long without one until calls are ended; shorter than ``PRESENCE``.
        on_renewal: called with what keeps the store from being written, and with nothing when it is.
    """

    def __init__(
        self,
        store: ProcessStore,
        holder: str,
        abort_calls: Callable[[], Awaitable[None]],
        *,
        every: timedelta = EVERY,
        hang_up_after: timedelta = _HANG_UP_AFTER,
        on_renewal: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._holder = holder
        self._hang_up = abort_calls
        self._every_seconds = every.total_seconds()
        self._hang_up_after_seconds = hang_up_after.total_seconds()
        self._on_renewal = on_renewal

    async def run(self) -> None:
        """Renew until cancelled."""
        renewed = time.monotonic()
        silent = False
        while True:
            asked = time.monotonic()
            fault = await self._renew()
            if fault is None:
                # The store counts from a later moment than this one.
                renewed, silent = asked, False
                self._on_renewal("")
            elif time.monotonic() - renewed >= self._hang_up_after_seconds:
                if not silent:
                    log.error(
                        LogEvent.WAITING_FOR,
                        what="state store",
                        reason="it was not told in time that this process is there; other replicas may take over what"
                        " it holds, so partner calls in flight are ended",
                    )
                silent = True
                self._on_renewal(fault)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_seconds):
                        await self._hang_up()
            await asyncio.sleep(max(self._every_seconds - (time.monotonic() - asked), 0))

    async def end(self) -> None:
        """Say that this process ends; a store that is away learns it by its silence."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._every_seconds):
                await self._store.end_presence(self._holder)

    async def _renew(self) -> str | None:
        """Renew; gives what kept it from being written."""
        try:
            async with asyncio.timeout(self._every_seconds):
                await self._store.renew_presence(self._holder)
        except StoreUnavailable as error:
            self._on_renewal(str(error))
            return str(error)
        except TimeoutError:
            return f"expected the state store to write within {self._every_seconds:g} s, it did not"
        return None
