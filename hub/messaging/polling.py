"""The polling consumer (EIP): ask, take in what is new, publish with confirms, only then move the cursor.

    prepare    poll -> drop what was seen -> record orders and changes
    announce   publish, confirmed -> commit keys and cursor, tell orders

Where more is waiting, the next batch is prepared while one is announced, since one waits for partner and store and the
other for broker and store. A crash between publish and commit publishes the same events once more under the same ids. An
order is recorded before it is announced, so that no fulfillment can be faster than the hub. Duplicates are told apart by
key (EIP Idempotent Receiver) and, for ``order.created``, by order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from hub.errors import PermanentError
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject
from hub.messaging.timeline import tell
from hub.models.events import AnyEvent
from hub.models.value import value
from hub.state.stores import Cursor, CursorStore, OrderStore, Timeline

# Who saw a raw entry that came back from its dead-letter queue, in the order's timeline.
REPLAYED = "a replayed letter"

# Events on their way to the broker at once: enough to keep it busy, few enough for each confirm to come in its time.
_UNCONFIRMED = 128


@value(frozen=True, slots=True)
class Item:
    """One thing that a poll brought: an event, or a raw message that could not be translated and why.

    ``publish`` is False for what is only to be recorded as seen (older than the start the operator chose); ``also`` names
    further keys that are seen with it.
    """

    key: str
    event: AnyEvent | None = None
    letter: Message | None = None
    reason: str = ""
    publish: bool = True
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought, oldest first, and the cursor that holds once all of it is confirmed.

    ``more`` tells that the next poll can follow at once, from this cursor, be it committed already or not.
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of which is known what is new: its orders are recorded, and nothing of it is published."""

    batch: Batch
    fresh: tuple[Item, ...]
    """What was not taken in before, each key once."""
    duplicates: frozenset[str]
    """The events among it whose order another event had announced."""
    seen_at: datetime

    @property
    def keys(self) -> list[str]:
        """The keys that are seen with it."""
        return [key for item in self.fresh for key in (item.key, *item.also)]


async def prepare(batch: Batch, *, poller: str, store: PollStore, behind: Prepared | None = None) -> Prepared:
    """Find out what is new in the batch, and record its orders and changes.

    Args:
        batch: what the poll brought.
        poller: the name the cursor is kept under.
        store: keeps keys and orders.
        behind: the batch before, which may be under way still.

    Raises:
        TransientError: something could not be asked or recorded.
    """
    seen_at = datetime.now(UTC)
    unseen = await store.unseen(poller, [item.key for item in batch.items])
    unseen -= frozenset(behind.keys) if behind is not None else frozenset()
    fresh = _first_of_each(item for item in batch.items if item.key in unseen)
    events = [item.event for item in fresh if item.publish and item.event]
    created = [event for event in events if event.type == "order.created"]
    duplicates = await store.record_orders(created) if created else frozenset()
    for event in events:
        if event.type == "order.changed":
            await store.apply(event)
    return Prepared(batch, tuple(fresh), frozenset(duplicates), seen_at)


async def announce(
    prepared: Prepared, *, poller: str, queue: str, holder: str, store: PollStore, publisher: Publisher
) -> Taken:
    """Publish what is new and move the cursor behind it.

    Args:
        prepared: the batch.
        poller: the name the cursor is kept under.
        queue: the producer's own queue; its dead-letter queue takes what could not be translated.
        holder: who holds the poller's lease.
        store: keeps keys, orders and cursor.
        publisher: returns when the broker has confirmed.

    Raises:
        TransientError: something was not confirmed or recorded; the cursor has not moved.
        LeaseHeld: another process polls now; the cursor has not moved.
    """
    events = [
        item.event
        for item in prepared.fresh
        if item.publish and item.event and item.event.id not in prepared.duplicates
    ]
    letters = [item for item in prepared.fresh if item.letter]
    sent_at = datetime.now(UTC)
    await _all_confirmed(events, letters, queue=queue, publisher=publisher)
    # Side by side: the store writes both in one transaction, which is one wait for the disk less for each page.
    await asyncio.gather(
        store.commit(poller, prepared.batch.cursor, prepared.keys, holder=holder),
        tell(events, store=store, poller=poller, seen_at=prepared.seen_at, sent_at=sent_at),
    )
    return Taken(
        published=len(events),
        duplicates=len(prepared.duplicates),
        set_aside=len(letters),
        skipped=sum(not item.publish for item in prepared.fresh),
    )


async def take_in_again(item: Item, *, store: PollStore, publisher: Publisher) -> Outcome:
    """Publish what a replayed raw entry has become after a fix; still unreadable, it is rejected again.

    Its key was recorded when it was set aside, so the poller does not bring it a second time.
    """
    if item.event is None:
        return Reject(item.reason)
    if item.event.type == "order.created" and item.event.id in await store.record_orders([item.event]):
        return Done("duplicate: the order is known under another entry")
    seen_at = datetime.now(UTC)
    await publisher.publish(item.event)
    await tell([item.event], store=store, poller=REPLAYED, seen_at=seen_at, sent_at=seen_at)
    return Done(f"published {item.event.type}")


def _first_of_each(items: Iterable[Item]) -> list[Item]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())


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
        partial(publisher.set_aside, item.letter, queue=queue, reason=item.reason)
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
        await publisher.set_aside(letter, queue=queue, reason=str(error))
