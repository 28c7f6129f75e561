"""The polling consumer (EIP): ask, take in what is new, publish with confirms, only then move the cursor.

    poll -> drop what was seen -> record orders -> publish, confirmed -> commit keys and cursor

A crash between publish and commit publishes the same events once more under the same ids. An order is recorded before
it is announced, so that no fulfillment can be faster than the hub. Duplicates are told apart by key (EIP Idempotent
Receiver) and, for ``order.created``, by order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Protocol

from hub.errors import FeedHeld, LeaseHeld, PermanentError, TransientError
from hub.messaging.dispatch import guarded
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import AnyEvent
from hub.state.holder import describe, is_local
from hub.state.stores import Cursor, CursorStore, LeaseStore, OrderStore, Timeline, TimelineEntry
from hub.telemetry import FEED_ALARM, LAST_POLL, POLLS, TAKEN_IN, LogEvent, log


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a poll brought: an event, or a raw message that could not be translated and why.

    ``publish`` is False for what is only to be recorded as seen (older than the start the operator chose).
    """

    key: str
    event: AnyEvent | None = None
    letter: Message | None = None
    reason: str = ""
    publish: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought, oldest first, and the cursor that holds once all of it is confirmed.

    ``more`` tells that the next poll can follow at once.
    """

    items: tuple[Item, ...]
    cursor: Cursor
    more: bool = False


class Poller(Protocol):
    """Asks a partner what is new. ``name`` identifies its cursor; a new process goes on from the cursor alone."""

    name: str

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        """Give the next batch after ``cursor``, or an empty one with the same cursor.

        Raises:
            TransientError: the partner is away or asks for patience; the poll is repeated later.
            FeedHeld: the cursor must not move until a person has looked.
            PermanentError: the partner's answer is not what its documents promise, or it refuses.
        """


class Publisher(Protocol):
    """Publishes events and letters; both return when the broker has confirmed."""

    async def publish(self, event: AnyEvent) -> None:
        """Publish an event on the exchange of its type; raises ``BrokerUnavailable`` when it is not confirmed."""

    async def set_aside(self, message: Message, *, queue: str, reason: str) -> None:
        """Publish a message to the dead-letter queue of ``queue`` with its reason."""


class PollStore(CursorStore, OrderStore, Timeline, Protocol):
    """The part of the state store that polling needs."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch, as counts of items; those taken in before are not counted again."""

    published: int = 0
    duplicates: int = 0
    set_aside: int = 0
    skipped: int = 0


async def take_in(
    batch: Batch, *, poller: str, queue: str, holder: str, store: PollStore, publisher: Publisher
) -> Taken:
    """Publish what is new in the batch and move the cursor behind it.

    Args:
        batch: what the poll brought.
        poller: the name the cursor is kept under.
        queue: the producer's own queue; its dead-letter queue takes what could not be translated.
        holder: who holds the poller's lease.
        store: keeps keys, orders and cursor.
        publisher: returns when the broker has confirmed.

    Raises:
        TransientError: something was not confirmed or recorded; the cursor has not moved.
        LeaseHeld: another process polls now; the cursor has not moved.
    """
    unseen = await store.unseen(poller, [item.key for item in batch.items])
    fresh = _first_of_each(item for item in batch.items if item.key in unseen)
    to_publish = [item for item in fresh if item.publish and item.event]
    created = [item.event for item in to_publish if item.event and item.event.type == "order.created"]
    duplicates = await store.record_orders(created) if created else frozenset()
    events = [item.event for item in to_publish if item.event and item.event.id not in duplicates]
    letters = [item for item in fresh if item.letter]
    await _all_confirmed(events, letters, queue=queue, publisher=publisher)
    await store.commit(poller, batch.cursor, [item.key for item in fresh], holder=holder)
    await store.add_to_timeline(
        [
            TimelineEntry(event.order_id, event.time, "published", {"type": event.type, "event_id": event.id})
            for event in events
            if event.order_id
        ]
    )
    return Taken(
        published=len(events),
        duplicates=len(duplicates),
        set_aside=len(letters),
        skipped=sum(not item.publish for item in fresh),
    )


async def take_in_again(item: Item, *, store: PollStore, publisher: Publisher) -> Outcome:
    """Publish what a replayed raw entry has become after a fix; still unreadable, it is rejected again.

    Its key was recorded when it was set aside, so the poller does not bring it a second time.
    """
    if item.event is None:
        return Reject(item.reason)
    if item.event.type == "order.created" and item.event.id in await store.record_orders([item.event]):
        return Done("duplicate: the order is known under another entry")
    await publisher.publish(item.event)
    return Done(f"published {item.event.type}")


def _first_of_each(items: Iterable[Item]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())


async def _all_confirmed(
    events: Sequence[AnyEvent], letters: Sequence[Item], *, queue: str, publisher: Publisher
) -> None:
    """Publish everything at once and wait for every confirm; the first error is raised after all have ended."""
    confirms = [_published(event, queue, publisher) for event in events]
    confirms += [
        publisher.set_aside(item.letter, queue=queue, reason=item.reason) for item in letters if item.letter
    ]
    results = await asyncio.gather(*confirms, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _published(event: AnyEvent, queue: str, publisher: Publisher) -> None:
    """Publish an event; one that cannot be published at all (too large) is set aside and does not hold the rest."""
    try:
        await publisher.publish(event)
    except PermanentError as error:
        letter = Message(
            event.data.model_dump_json(exclude_none=True).encode(), "application/json", event.type, event.id
        )
        await publisher.set_aside(letter, queue=queue, reason=str(error))


# --- the loop ------------------------------------------------------------------------------------------------

# A poller's lease: long against a slow store, short against a dead holder on another host.
LEASE = timedelta(seconds=60)
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


@dataclass(frozen=True, slots=True)
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

    async def run(self, stop: Stopping) -> None:
        """Poll until ``stop``.

        Raises:
            LeaseHeld: another process that is alive runs this poller.
        """
        while not stop.asked:
            if not await self._take_lease(stop):
                return
            renewal = asyncio.create_task(self._renew(), name=f"lease of {self.poller.name}")
            try:
                await self._poll_until(stop, renewal)
            except LeaseHeld as error:
                log.warning(LogEvent.WAITING_FOR, what="lease", reason=str(error))
            finally:
                renewal.cancel()
                await asyncio.gather(renewal, return_exceptions=True)
        with suppress(TransientError):
            await self.store.release_lease(self.poller.name, holder=self.holder)

    async def _take_lease(self, stop: Stopping) -> bool:
        """Take the lease; False when the end was asked for first.

        A holder on another host may be gone without a trace (a killed container): its lease is waited out. One that
        is renewed meanwhile is alive.
        """
        name, seen_until = self.poller.name, None
        while not stop.asked:
            try:
                await self.store.acquire_lease(name, holder=self.holder, lease=LEASE)
            except LeaseHeld:
                holder, until = (await self.store.leases()).get(name, ("", None))
                if is_local(holder) or (seen_until is not None and until != seen_until):
                    raise
                seen_until = until
                log.warning(LogEvent.WAITING_FOR, what="lease", reason=f"{describe(holder)} holds {name}")
            except TransientError as error:
                log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
            else:
                return True
            await stop.sleep(LEASE.total_seconds() / 12)
        return False

    async def _poll_until(self, stop: Stopping, renewal: asyncio.Task[None]) -> None:
        failures = 0
        while not stop.asked:
            if renewal.done():
                renewal.result()
            pause, well = await self._poll_once(failures)
            failures = 0 if well else failures + 1
            if pause and await stop.sleep(pause.total_seconds() * random.uniform(0.8, 1.2)):
                return

    async def _poll_once(self, failures: int) -> tuple[timedelta, bool]:
        """Poll and take in; gives the pause to make and whether it went well."""
        name = self.poller.name
        backoff = min(self.every * 2 ** min(failures, 16), max(LONGEST_PAUSE, self.every))
        try:
            batch = await guarded(self.poller.poll(await self.store.cursor(name)), name)
            taking = take_in(
                batch,
                poller=name,
                queue=self.queue,
                holder=self.holder,
                store=self.store,
                publisher=self.publisher,
            )
            taken = await guarded(taking, name)
        except FeedHeld as error:
            FEED_ALARM.labels(name).set(1)
            POLLS.labels(name, "held").inc()
            log.error(LogEvent.FEED_HELD, poller=name, reason=str(error))
            return backoff, False
        except (TransientError, PermanentError) as error:
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
        self._note(taken)
        return timedelta(0) if batch.more else self.every, True

    def _note(self, taken: Taken) -> None:
        name = self.poller.name
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
