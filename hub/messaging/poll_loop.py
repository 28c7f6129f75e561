"""The loop around a poller: one process at a time, from poll to poll, until asked to stop.

    stand by until the lease is ours - prepare a batch, announce it (and prepare the next one beside it), note - pause - …
    a failure waits longer, a broken archive chain raises an alarm

Any number of replicas run the same loop: one polls, the others stand by and take over when it stops or is gone. It decides
when to ask again and who may ask; what is done with the answer is ``hub.messaging.polling``.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hub import tracing
from hub.errors import FeedHeld, LeaseHeld, PermanentError, TransientError
from hub.messaging.dispatch import guarded
from hub.messaging.polling import Poller, PollStore, Prepared, Publisher, Taken, announce, prepare
from hub.metrics import CURSOR_AGE, FEED_ALARM, LAST_POLL, POLL_LAG, POLLS, TAKEN_IN, expect_poller
from hub.state.holder import describe
from hub.state.stores import Cursor, LeaseStore
from hub.telemetry import LogEvent, log

# A poller's lease, long against a slow store. A holder that is gone is noticed by its presence, much earlier.
LEASE = timedelta(seconds=60)
# Between looks of those who stand by.
LOOK_AGAIN = timedelta(seconds=1)
# The longest pause after failures; a partner's own hint may be longer.
LONGEST_PAUSE = timedelta(minutes=5)


class Stopping(Protocol):
    """Tells when to end."""

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""

    async def sleep(self, seconds: float) -> bool:
        """Wait so long, or until the end is asked for; True if it was."""


class LoopStore(PollStore, LeaseStore, Protocol):
    """The part of the state store that the loop needs."""


@dataclass(slots=True)
class PollLoop:
    """Polls until asked to stop, one process at a time for each poller.

    A failed poll changes nothing and is repeated after a growing, jittered pause; what it could not reach is said in
    the log, in metrics and by ``hub_feed_held``.
    """

    poller: Poller
    queue: str
    every: timedelta
    holder: str
    store: LoopStore
    publisher: Publisher
    standing: str = field(default="not begun yet", init=False)
    """Whether this process polls or stands by, and who polls then, for people."""
    _next: asyncio.Task[Prepared] | None = field(default=None, init=False)
    """The next batch, while one is announced. What keeps it from coming is told when it is its turn."""

    async def run(self, stop: Stopping) -> None:
        """Poll, or stand by while another process polls, until ``stop``."""
        while not stop.asked:
            if not await self._take_lease(stop):
                return
            renewal = asyncio.create_task(self._renew(), name=f"lease of {self.poller.name}")
            try:
                await self._begin_ages()
                await self._poll_until(stop, renewal)
            except LeaseHeld as error:
                log.warning(LogEvent.WAITING_FOR, what="lease", reason=str(error))
            finally:
                renewal.cancel()
                await asyncio.gather(renewal, self._drop_next(), return_exceptions=True)
                # Whoever takes the lease next tells them.
                CURSOR_AGE.forget(self.poller.name)
                POLL_LAG.forget(self.poller.name)
        with suppress(TransientError):
            await self.store.release_lease(self.poller.name, holder=self.holder)

    async def _take_lease(self, stop: Stopping) -> bool:
        """Stand by until the lease is ours; False when the end was asked for first."""
        while not stop.asked:
            try:
                await self.store.acquire_lease(self.poller.name, holder=self.holder, lease=LEASE)
            except LeaseHeld as held:
                self._stand_by(held)
            except TransientError as error:
                log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
            else:
                self.standing = "polls"
                log.info(LogEvent.POLLER_TAKEN, poller=self.poller.name)
                return True
            await stop.sleep(LOOK_AGAIN.total_seconds() * random.uniform(0.8, 1.2))
        return False

    def _stand_by(self, held: LeaseHeld) -> None:
        """Note who polls, and say it when that is news."""
        standing = f"standing by: {describe(held.holder)} polls"
        if standing != self.standing:
            log.info(LogEvent.STANDING_BY, poller=self.poller.name, reason=str(held))
        self.standing = standing

    async def _begin_ages(self) -> None:
        """Count the cursor's age from its last commit, by whatever process; without one from now."""
        expect_poller(self.poller.name)
        moved_at = datetime.now(UTC)
        with suppress(TransientError):
            _, moved_at = (await self.store.cursors()).get(self.poller.name, (None, moved_at))
        CURSOR_AGE.since(self.poller.name, moved_at)

    async def _poll_until(self, stop: Stopping, renewal: asyncio.Task[None]) -> None:
        failures = 0
        while not stop.asked:
            if renewal.done():
                renewal.result()
            with tracing.poll(self.poller.name) as span:
                pause, well = await self._poll_once(failures)
                if not well:
                    span.failed("poll_failed")
            failures = 0 if well else failures + 1
            if pause and await stop.sleep(pause.total_seconds() * random.uniform(0.8, 1.2)):
                return

    async def _poll_once(self, failures: int) -> tuple[timedelta, bool]:
        """Poll and take in; gives the pause to make and whether it went well."""
        name = self.poller.name
        backoff = min(self.every * 2 ** min(failures, 16), max(LONGEST_PAUSE, self.every))
        try:
            prepared = await self._prepared()
            if prepared.batch.more:
                following = self._prepare(prepared.batch.cursor, behind=prepared)
                self._next = asyncio.create_task(following, name=f"next of {name}")
            announcing = announce(
                prepared,
                poller=name,
                queue=self.queue,
                holder=self.holder,
                store=self.store,
                publisher=self.publisher,
            )
            taken = await guarded(announcing, name)
        except FeedHeld as error:
            await self._drop_next()
            FEED_ALARM.labels(name).set(1)
            POLLS.labels(name, "held").inc()
            log.error(LogEvent.FEED_HELD, poller=name, reason=str(error))
            return backoff, False
        except (TransientError, PermanentError) as error:
            await self._drop_next()
            POLLS.labels(name, "failed").inc()
            hint = getattr(error, "retry_after", None) or timedelta(0)
            pause = max(backoff, hint)
            log.warning(
                LogEvent.POLL_FAILED,
                poller=name,
                reason=str(error),
                error=type(error).__name__,
                again_in_seconds=round(pause.total_seconds(), 1),
            )
            return pause, False
        self._note(prepared, taken)
        return timedelta(0) if prepared.batch.more else self.every, True

    async def _prepared(self) -> Prepared:
        """Give the batch that is next: the one that was begun beside the last, or one from where the cursor is."""
        following, self._next = self._next, None
        if following is not None:
            return await following
        return await self._prepare(await self.store.cursor(self.poller.name))

    async def _prepare(self, cursor: Cursor | None, *, behind: Prepared | None = None) -> Prepared:
        name = self.poller.name
        batch = await guarded(self.poller.poll(cursor), name)
        return await guarded(prepare(batch, poller=name, store=self.store, behind=behind), name)

    async def _drop_next(self) -> None:
        """End what was begun beside a batch that has failed: it follows a cursor that has not moved."""
        following, self._next = self._next, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _note(self, prepared: Prepared, taken: Taken) -> None:
        name = self.poller.name
        CURSOR_AGE.since(name, datetime.now(UTC))
        made_at = [item.event.time for item in prepared.batch.items if item.event is not None]
        if made_at:
            POLL_LAG.since(name, max(made_at))
        FEED_ALARM.labels(name).set(0)
        POLLS.labels(name, "ok").inc()
        LAST_POLL.labels(name).set_to_current_time()
        counts = asdict(taken)
        for fate, count in counts.items():
            TAKEN_IN.labels(name, fate).inc(count)
        if any(counts.values()):
            log.info(LogEvent.POLLED, poller=name, **counts)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 4)
            try:
                await self.store.acquire_lease(self.poller.name, holder=self.holder, lease=LEASE)
            except TransientError as error:
                log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
