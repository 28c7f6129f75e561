"""Taking in what a poller brings: what is new is published with confirms, and only then the cursor moves.

    ask, drop what was seen  ->  record orders and changes  ->  publish, confirmed  ->  commit keys and cursor

Each filter works on the next batch while the one behind it is busy with the last (EIP Pipes and Filters), since they wait
for different neighbors: partner, store, broker, store. Order is kept, and what fails is raised when it is its turn; what
was begun behind it is dropped, as it follows a cursor that has not moved. A crash between publish and commit publishes the
same events once more under the same ids. An order is recorded before it is announced, so that no fulfillment can be faster
than the hub. Duplicates are told apart by key (EIP Idempotent Receiver) and, for ``order.created``, by order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from hub import tracing
from hub.errors import PermanentError
from hub.messaging.ahead import ahead
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject
from hub.messaging.polling import Batch, Item, Poller, PollStore, Publisher, Taken
from hub.messaging.timeline import tell
from hub.models.events import AnyEvent

T = TypeVar("T")

# Who saw a raw entry that came back from its dead-letter queue, in the order's timeline.
REPLAYED = "a replayed letter"

# Events on their way to the broker at once: enough to keep it busy, few enough for each confirm to come in its time.
_UNCONFIRMED = 128


class Stopping(Protocol):
    """Tells when to end."""

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""

    async def wait(self) -> None:
        """Wait until the end is asked for."""


@dataclass(slots=True)
class Load:
    """A batch on its way through the filters, with what each of them finds out."""

    batch: Batch
    context: Mapping[str, str]
    """Of the poll that brought it, for the trace."""
    seen_at: datetime
    fresh: tuple[Item, ...] = ()
    """What was not taken in before, each key once."""
    duplicates: frozenset[str] = frozenset()
    """The events among it whose order another event had announced."""
    sent_at: datetime = field(init=False)

    @property
    def keys(self) -> list[str]:
        """The keys that are seen with it."""
        return [key for item in self.fresh for key in (item.key, *item.also)]

    @property
    def events(self) -> list[AnyEvent]:
        """What is to be announced."""
        return [
            item.event
            for item in self.fresh
            if item.publish and item.event and item.event.id not in self.duplicates
        ]

    @property
    def letters(self) -> list[Item]:
        """What could not be translated."""
        return [item for item in self.fresh if item.letter]


@dataclass(slots=True)
class Intake:
    """Takes in what one poller brings.

    Args:
        poller: asks the partner; the cursor is kept under its name.
        queue: the producer's own queue; its dead-letter queue takes what could not be translated.
        holder: who holds the poller's lease.
        store: keeps keys, orders and cursor.
        publisher: returns when the broker has confirmed.
    """

    poller: Poller
    queue: str
    holder: str
    store: PollStore
    publisher: Publisher
    _uncommitted: deque[Load] = field(default_factory=deque, init=False)

    async def batches(self, stop: Stopping) -> AsyncGenerator[tuple[Batch, Taken]]:
        """Take in batch after batch, until the partner has no more for now; gives each one that is committed.

        ``stop`` ends a question to the partner; what was recorded by then is still published and committed.

        Raises:
            TransientError: something was not answered, recorded or confirmed; the cursor is behind the last batch given.
            PermanentError: the partner's answer is not what its documents promise, or it refuses.
            FeedHeld: the cursor must not move until a person has looked.
            LeaseHeld: another process polls now; the cursor has not moved.
        """
        self._uncommitted.clear()
        sifted = ahead(self._asked(stop), self._sift, name=f"asking ahead for {self.poller.name}")
        recorded = ahead(sifted, self._record, name=f"recording ahead for {self.poller.name}")
        published = ahead(recorded, self._publish, name=f"publishing ahead for {self.poller.name}")
        async with aclosing(published):
            async for load in published:
                yield load.batch, await self._commit(load)

    async def _asked(self, stop: Stopping) -> AsyncGenerator[Load]:
        """Give what the partner has."""
        cursor = await self.store.cursor(self.poller.name)
        more = True
        while more and not stop.asked:
            with tracing.poll(self.poller.name):
                batch, context = await _unless(stop, self.poller.poll(cursor)), tracing.headers()
            if batch is None:
                return
            yield Load(batch, context, seen_at=datetime.now(UTC))
            cursor, more = batch.cursor, batch.more

    async def _sift(self, load: Load) -> Load:
        """Find out what is new."""
        # Listed before the store is asked: a batch that is committed meanwhile is among one or the other.
        under_way = {key for before in self._uncommitted for key in before.keys}
        keys = [item.key for item in load.batch.items]
        unseen = await self.store.unseen(self.poller.name, keys) - under_way
        load.fresh = _first_of_each(item for item in load.batch.items if item.key in unseen)
        self._uncommitted.append(load)
        return load

    async def _record(self, load: Load) -> Load:
        """Write down orders and changes, and find out which orders are known under another event."""
        if created := [event for event in load.events if event.type == "order.created"]:
            load.duplicates = await self.store.record_orders(created)
        for event in load.events:
            if event.type == "order.changed":
                await self.store.apply(event)
        return load

    async def _publish(self, load: Load) -> Load:
        """Publish what is new."""
        load.sent_at = datetime.now(UTC)
        with tracing.announce(self.poller.name, load.context):
            await _all_confirmed(load.events, load.letters, queue=self.queue, publisher=self.publisher)
        return load

    async def _commit(self, load: Load) -> Taken:
        """Move the cursor behind what is published, and tell its orders."""
        name, events = self.poller.name, load.events
        # Side by side: the store writes both in one transaction, which is one wait for the disk less for each page.
        await asyncio.gather(
            self.store.commit(name, load.batch.cursor, load.keys, holder=self.holder),
            tell(events, store=self.store, poller=name, seen_at=load.seen_at, sent_at=load.sent_at),
        )
        self._uncommitted.popleft()
        return Taken(
            published=len(events),
            duplicates=len(load.duplicates),
            set_aside=len(load.letters),
            skipped=sum(not item.publish for item in load.fresh),
        )


async def take_in_again(item: Item, *, store: PollStore, publisher: Publisher) -> Outcome:
    """Publish what a replayed raw entry has become after a fix; still unreadable, it is rejected again.

    Its key was recorded when it was set aside, so the poller does not bring it a second time.
    """
    if item.event is None:
        return Reject(item.reason, item.facts)
    if item.event.type == "order.created" and item.event.id in await store.record_orders([item.event]):
        return Done("duplicate: the order is known under another entry")
    seen_at = datetime.now(UTC)
    await publisher.publish(item.event)
    await tell([item.event], store=store, poller=REPLAYED, seen_at=seen_at, sent_at=seen_at)
    return Done(f"published {item.event.type}")


def _first_of_each(items: Iterable[Item]) -> tuple[Item, ...]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return tuple(first.values())


async def _all_confirmed(
    events: Sequence[AnyEvent], letters: Sequence[Item], *, queue: str, publisher: Publisher
) -> None:
    """Publish, so many at a time, and wait for every confirm.

    After an error nothing more is begun; the first error is raised once all that was begun has ended.
    """
    window = asyncio.Semaphore(_UNCONFIRMED)
    errors: list[BaseException] = []

    async def send(publish: Callable[[], Awaitable[None]]) -> None:
        async with window:
            if not errors:
                try:
                    await publish()
                except BaseException as error:
                    errors.append(error)
                    raise

    sends = [partial(_published, event, queue, publisher) for event in events]
    sends += [
        partial(publisher.set_aside, item.letter, queue=queue, reason=item.reason, facts=item.facts)
        for item in letters
        if item.letter
    ]
    await asyncio.gather(*map(send, sends), return_exceptions=True)
    if errors:
        raise errors[0]


async def _published(event: AnyEvent, queue: str, publisher: Publisher) -> None:
    """Publish an event; one that cannot be published at all (too large) is set aside and does not hold the rest."""
    try:
        await publisher.publish(event)
    except PermanentError as error:
        letter = Message(
            event.data.model_dump_json(exclude_none=True).encode(), "application/json", event.type, event.id
        )
        await publisher.set_aside(letter, queue=queue, reason=str(error), facts=error.facts)


async def _unless(stop: Stopping, work: Coroutine[Any, Any, T]) -> T | None:
    """Give what ``work`` gives, or None if the end is asked for first, which cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
