"""The loop around a poller: one process at a time, from poll to poll, until asked to stop.

    stand by until the lease is ours - take in what there is, noting each batch - pause - …
    a failure of the partner waits longer, one of broker or store does not, a broken archive chain raises an alarm

Any number of replicas run the same loop: one polls, the others stand by and take over when it stops or is gone. It decides
when to ask again and who may ask; what is done with the answer is ``hub.messaging.polling.ingest``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hub.errors import (
    ArchiveChainBroken,
    BrokerUnavailable,
    HubError,
    LeaseHeld,
    PartnerContractBroken,
    PartnerRejected,
    PartnerUnreachable,
    PermanentError,
    StoreUnavailable,
    Throttled,
    TransientError,
    Unauthorized,
)
from hub.messaging.dispatch import guarded
from hub.messaging.polling.habit import Habit
from hub.messaging.polling.ingest import Intake, Stopping
from hub.messaging.polling.poller import Batch, Poller, PollStore, Publisher, Taken
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import (
    CURSOR_AGE,
    FEED_ALARM,
    LAST_POLL,
    POLL_LAG,
    POLLER_SILENT,
    POLLS,
    TAKEN_IN,
    expect_poller,
)
from hub.state.poller_notes import PollerNotes
from hub.state.process_identity import describe
from hub.state.protocols import LeaseStore

# A poller's lease, long against a slow store. A holder that is gone is noticed by its presence, much earlier.
LEASE = timedelta(seconds=60)
# Between looks of those who stand by.
LOOK_AGAIN = timedelta(seconds=1)
# The longest pause after failures; a partner's own hint may be longer.
LONGEST_PAUSE = timedelta(minutes=5)
_GROUND = (BrokerUnavailable, StoreUnavailable)


Beside = Callable[[], Coroutine[None, None, None]]
"""What runs in the process that polls, from when it takes the lease until it is cancelled."""


class Pausing(Stopping, Protocol):
    """Says when to end, and waits no longer than that."""

    async def sleep(self, seconds: float) -> bool:
        """Wait so long, or until the end is asked for; True if it was."""


# What to look at, by what a poll failed of; the first that fits.
_CHECKS: tuple[tuple[type[HubError], str], ...] = (
    (ArchiveChainBroken, "what the reason says; hub cursor show POLLER --page FILE saves the page"),
    (Unauthorized, "the credentials in the settings"),
    (PartnerUnreachable, "the address in the settings, the network, and whether the partner is up"),
    (Throttled, "how often this and other programs ask the partner"),
    (PartnerRejected, "the address and the account in the settings"),
    (
        PartnerContractBroken,
        "whether the address in the settings is the partner's interface, and no web page",
    ),
)


def check_for(error: HubError) -> str:
    """Return what a person should look at after a failed poll."""
    return next((check for kind, check in _CHECKS if isinstance(error, kind)), "hub doctor, and the log")


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
    beside: Beside | None = None
    _has_failed: bool = field(default=True, init=False)
    """Whether the last failure is still noted in the store."""
    _was_silent: bool = field(default=False, init=False)
    _habit: Habit | None = field(default=None, init=False)
    standing: str = field(default="not begun yet", init=False)
    """Whether this process polls or stands by, and who polls then, for people."""

    async def run(self, stop: Pausing) -> None:
        """Poll, or stand by while another process polls, until ``stop``."""
        while not stop.asked:
            if not await self._take_lease(stop):
                return
            renewal = asyncio.create_task(self._renew(), name=f"lease of {self.poller.name}")
            tasks = [renewal]
            if self.beside is not None:
                tasks.append(asyncio.create_task(self.beside(), name=f"beside {self.poller.name}"))
            try:
                await self._begin_ages()
                await self._poll_until(stop, renewal)
            except LeaseHeld as error:
                log.warning(LogEvent.WAITING_FOR, what="lease", reason=str(error))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # Whoever takes the lease next tells them, and may have learned more meanwhile.
                self._habit = None
                POLLER_SILENT.labels(self.poller.name).set(0)
                CURSOR_AGE.forget(self.poller.name)
                POLL_LAG.forget(self.poller.name)
        with suppress(TransientError):
            await self.store.release_lease(self.poller.name, holder=self.holder)

    async def _take_lease(self, stop: Pausing) -> bool:
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

    async def _poll_until(self, stop: Pausing, renewal: asyncio.Task[None]) -> None:
        name, failures = self.poller.name, 0
        intake = Intake(self.poller, self.queue, self.holder, self.store, self.publisher)
        while not stop.asked:
            try:
                async with aclosing(intake.batches(stop)) as batches:
                    while (taken_in := await guarded(anext(batches, None), name)) is not None:
                        failures = 0
                        await self._note(*taken_in)
                        if renewal.done():
                            renewal.result()
                pause = self.every
            except (ArchiveChainBroken, TransientError, PermanentError) as error:
                pause = self._failed(error, failures)
                await self._remember(error)
                failures += not isinstance(error, _GROUND)
            if await stop.sleep(pause.total_seconds() * random.uniform(0.8, 1.2)):
                return

    def _failed(self, error: HubError, failures: int) -> timedelta:
        """Say what has failed, after so many others in a row; gives the pause to make."""
        name = self.poller.name
        pause: timedelta = min(self.every * 2 ** min(failures, 16), max(LONGEST_PAUSE, self.every))
        if isinstance(error, _GROUND):
            # The partner need not be spared, and orders wait for the poll that comes when the ground is back.
            pause = self.every
        if isinstance(error, ArchiveChainBroken):
            FEED_ALARM.labels(name).set(1)
            POLLS.labels(name, "held").inc()
            log.error(LogEvent.FEED_HELD, poller=name, reason=str(error))
            return pause
        POLLS.labels(name, "failed").inc()
        # Failing is another matter, with an alarm of its own.
        POLLER_SILENT.labels(name).set(0)
        pause = max(pause, getattr(error, "retry_after", None) or timedelta(0))
        log.warning(
            LogEvent.POLL_FAILED,
            poller=name,
            reason=str(error),
            error=type(error).__name__,
            again_in_seconds=round(pause.total_seconds(), 1),
        )
        return pause

    async def _remember(self, error: HubError) -> None:
        """Keep for people what the last poll failed of, and what to check: there, in ``/readyz``, and in ``hub doctor``."""
        if isinstance(error, _GROUND):
            return
        facts, check = error.facts, check_for(error)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        notes = PollerNotes(self.store, self.poller.name)
        with suppress(TransientError):
            before = await notes.failure()
            note = {
                "since": before.get("since", now),
                "at": now,
                "times": before.get("times", 0) + 1,
                "error": type(error).__name__,
                "status": facts.status,
                "code": facts.code,
                "reason": str(error),
                "check": check,
                "page": getattr(error, "page", ""),
                "digest": getattr(error, "digest", ""),
            }
            self._has_failed = True
            await notes.set_failure(note)
            never = "has never succeeded; " if await self.store.cursor(self.poller.name) is None else ""
            status = f" (status {facts.status})" if facts.status else ""
            self.standing = (
                f"polls; {never}fails since {note['since']} with {facts.code}{status}: {error}; check {check}"
            )

    async def _note(self, batch: Batch, taken: Taken) -> None:
        name = self.poller.name
        self.standing = "polls"
        if self._has_failed:
            # At the first success too: another process may have noted a failure.
            with suppress(TransientError):
                if await PollerNotes(self.store, name).failure():
                    await PollerNotes(self.store, name).set_failure({})
                self._has_failed = False
        CURSOR_AGE.since(name, datetime.now(UTC))
        made_at = [item.event.time for item in batch.items if item.event is not None]
        if made_at:
            POLL_LAG.since(name, max(made_at))
        FEED_ALARM.labels(name).set(0)
        POLLS.labels(name, "ok").inc()
        LAST_POLL.labels(name).set_to_current_time()
        await self._compare_with_habit(taken)
        counts = asdict(taken)
        for outcome, count in counts.items():
            TAKEN_IN.labels(name, outcome).inc(count)
        if any(counts.values()):
            log.info(LogEvent.POLLED, poller=name, **counts)

    async def _compare_with_habit(self, taken: Taken) -> None:
        """Learn when something new comes, and say so when nothing has come for longer than is usual."""
        name, now = self.poller.name, datetime.now(UTC)
        notes = PollerNotes(self.store, name)
        with suppress(TransientError):
            first = self._habit is None
            if self._habit is None:
                self._habit = Habit.read(await notes.habit(), now)
            is_news = bool(taken.published or taken.set_aside)
            if (is_news and self._habit.news(now)) or first:
                await notes.set_habit(self._habit.facts())
        if self._habit is None:
            return
        silent, gauge = self._habit.is_silent(now), POLLER_SILENT.labels(name)
        gauge.set(silent)
        if silent:
            since = f"{self._habit.last_news:%Y-%m-%d %H:%M} UTC"
            self.standing = f"polls; nothing new since {since}, longer than is usual here"
            if not self._was_silent:
                log.warning(
                    LogEvent.POLLER_SILENT,
                    poller=name,
                    since=since,
                    usual_seconds=round(self._habit.limit.total_seconds()),
                )
        self._was_silent = silent

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 4)
            try:
                await self.store.acquire_lease(self.poller.name, holder=self.holder, lease=LEASE)
            except TransientError as error:
                log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
