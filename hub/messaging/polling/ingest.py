"""Taking in what a poller brings: what is new is published with confirms, and only then the cursor moves.

    ask, drop what was seen  ->  record orders and changes  ->  publish, confirmed  ->  commit keys and cursor

Each filter works on the next batch while the one behind it is busy with the last (EIP Pipes and Filters), since they wait
for different neighbors: partner, store, broker, store. Order is kept, and what fails is raised when it is its turn; what
was begun behind it is dropped, as it follows a cursor that has not moved. A crash between publish and commit publishes the
same events once more under the same ids. An order is recorded before it is announced, so that no fulfillment can be faster
than the hub. Duplicates are told apart by key (EIP Idempotent Receiver) and, for ``order.created``, by order.

One item never ends a poll: whatever is raised while it is recorded or published, it is set aside raw, and the rest goes on.
Only an outage of store or broker, and a lost lease, are about the poll.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from hub.errors import (
    ArchiveChainBroken,
    BrokerUnavailable,
    ErrorFacts,
    HubError,
    InvalidMessage,
    LeaseHeld,
    StatementRejected,
    StoreUnavailable,
)
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject
from hub.messaging.polling.poller import Batch, Item, Poller, PollStore, Publisher, Taken
from hub.messaging.polling.prefetch import ahead
from hub.messaging.timeline import tell
from hub.models.events import AnyEvent
from hub.observability import tracing
from hub.observability.logging import LogEvent, log
from hub.observability.redaction import frames
from hub.state.poller_notes import PollerNotes

T = TypeVar("T")

# Who saw a raw entry that came back from its dead-letter queue, in the order's timeline.
REPLAYED = "a replayed letter"

# The message type of a letter that says which item it stands for, where the item itself could not be a letter.
NOTE_TYPE = "hub.item-set-aside"

# What is about all items and not about one of them.
_OUTAGES = (BrokerUnavailable, StoreUnavailable, LeaseHeld)

# Items that one poll sets aside, unless most others are well.
_MOST_LETTERS = 50
LETTERS = "letters"
"""What ``hub cursor skip`` steps over where no page holds a feed but the number of letters."""

# Events on their way to the broker at once: enough to keep it busy, few enough for each confirm to come in its time.
_UNCONFIRMED = 128


class Stopping(Protocol):
    """Says when to end."""

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""

    async def wait(self) -> None:
        """Wait until the end is asked for."""


class _Refusal(NamedTuple):
    """Why an item is set aside; not the error itself, which would keep alive what was at hand when it was raised."""

    reason: str
    facts: ErrorFacts
    by_store: bool = False


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
    refused: dict[str, _Refusal] = field(default_factory=dict)
    """Why an item could not be recorded or published, by its key: it is set aside."""
    sent_at: datetime = field(init=False)

    @property
    def keys(self) -> list[str]:
        """The keys that are seen with it."""
        return [key for item in self.fresh for key in (item.key, *item.also)]

    @property
    def announced(self) -> list[Item]:
        """What is to be announced, as far as it was not refused."""
        return [
            item
            for item in self.fresh
            if item.publish
            and item.event
            and item.event.id not in self.duplicates
            and item.key not in self.refused
        ]

    @property
    def events(self) -> list[AnyEvent]:
        """The events to be announced."""
        return [item.event for item in self.announced if item.event]

    @property
    def letters(self) -> list[Item]:
        """What could not be translated, recorded or published."""
        return [item for item in self.fresh if item.letter or item.key in self.refused]


@dataclass(slots=True)
class Fuse:
    """Counts what one poll brings that is new, and holds the feed when most of it would be set aside.

    A partner that changes its form, or a huge answer of nonsense, is one fault for a person and not a flood of letters.
    """

    poller: str
    items: int = 0
    letters: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, items: Sequence[Item]) -> None:
        """Count the new items of a batch.

        Raises:
            ArchiveChainBroken: more than 50 letters, and more than half of all items; says the most frequent reason.
        """
        reasons = Counter(item.reason for item in items if item.letter)
        seen, letters = self.items + len(items), self.letters + reasons.total()
        if reasons and letters > _MOST_LETTERS and letters * 2 > seen:
            reason, count = (self.reasons + reasons).most_common(1)[0]
            raise ArchiveChainBroken(
                f"{self.poller}: {letters} of {seen} new items of one poll cannot be translated, {count} of"
                f" them since: {reason}. The cursor stays and nothing of this batch is set aside. Compare what the partner"
                f" sends with its documents; if it is right to set all of them aside, `hub cursor skip {self.poller}`",
                page=LETTERS,
                code="too_many_letters",
            )
        self.items, self.letters = seen, letters
        self.reasons += reasons


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
    _fuse: Fuse | None = field(default=None, init=False)

    async def batches(self, stop: Stopping) -> AsyncGenerator[tuple[Batch, Taken]]:
        """Take in batch after batch, until the partner has no more for now; gives each one that is committed.

        ``stop`` ends a question to the partner; what was recorded by then is still published and committed.

        Raises:
            TransientError: something was not answered, recorded or confirmed; the cursor is behind the last batch given.
            PermanentError: the partner's answer is not what its documents promise, or it refuses.
            ArchiveChainBroken: the cursor must not move until a person has looked.
            LeaseHeld: another process polls now; the cursor has not moved.
        """
        self._uncommitted.clear()
        # One that has blown stays so at the next poll, which begins behind the batches that passed it.
        self._fuse = self._fuse or Fuse(self.poller.name)
        sifted = ahead(self._asked(stop), self._sift, name=f"asking ahead for {self.poller.name}")
        recorded = ahead(sifted, self._record, name=f"recording ahead for {self.poller.name}")
        published = ahead(recorded, self._publish, name=f"publishing ahead for {self.poller.name}")
        async with aclosing(published):
            async for load in published:
                yield load.batch, await self._commit(load)
        self._fuse = None

    async def _asked(self, stop: Stopping) -> AsyncGenerator[Load]:
        """Yield what the partner has."""
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
        if self._fuse is not None:
            try:
                self._fuse.count(load.fresh)
            except ArchiveChainBroken:
                if not await PollerNotes(self.store, self.poller.name).is_skipped(LETTERS):
                    raise
                log.warning(LogEvent.PAGE_SKIPPED, poller=self.poller.name, page=LETTERS)
                self._fuse = None
        self._uncommitted.append(load)
        return load

    async def _record(self, load: Load) -> Load:
        """Write down orders and changes, and find out which orders are known under another event."""
        if created := [item for item in load.announced if item.event and item.event.type == "order.created"]:
            load.duplicates = await self._recorded(load, created)
            _raise_if_all(load, created)
        for item in load.announced:
            if item.event and item.event.type == "order.changed":
                with _about(item, load, "recorded"):
                    await self.store.apply(item.event)
        return load

    async def _recorded(self, load: Load, items: Sequence[Item]) -> frozenset[str]:
        """Record orders; a lot that is refused is halved until the bad item is alone. Returns the duplicates."""
        try:
            return await self.store.record_orders([item.event for item in items if item.event])
        except Exception as error:
            if _is_outage(error):
                raise
            if len(items) == 1:
                load.refused[items[0].key] = _refusal(error, "recorded")
                return frozenset()
        half = len(items) // 2
        return await self._recorded(load, items[:half]) | await self._recorded(load, items[half:])

    async def _publish(self, load: Load) -> Load:
        """Publish what is new."""
        load.sent_at = datetime.now(UTC)
        with tracing.announce(self.poller.name, load.context):
            await _all_confirmed(load, queue=self.queue, publisher=self.publisher)
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


async def ingest_replayed(item: Item, *, store: PollStore, publisher: Publisher) -> Outcome:
    """Publish what a replayed raw entry has become after a fix; still unreadable, it is rejected again.

    Its key was recorded when it was set aside, so the poller does not bring it a second time.
    """
    if item.event is None:
        return Reject(item.reason, item.facts)
    event = item.event
    if item.if_known is not None and await _is_changed(item.if_known, store):
        event = item.if_known
        await store.apply(event)
    elif event.type == "order.created" and event.id in await store.record_orders([event]):
        return Done("duplicate: the order is known under another entry")
    seen_at = datetime.now(UTC)
    await publisher.publish(event)
    await tell([event], store=store, poller=REPLAYED, seen_at=seen_at, sent_at=seen_at)
    return Done(f"published {event.type}")


async def _is_changed(event: AnyEvent, store: PollStore) -> bool:
    """Whether an order is recorded otherwise than an event says, or became what it says by a change.

    What is recorded already is announced again all the same: it may be a letter since it could not be published.
    """
    if event.order_id is None or event.order_id not in await store.known_orders([event.order_id]):
        return False
    order = await store.load_order(event.order_id)
    return order.changed_at is not None or order.details.source_event_id != event.data.source_event_id


def _first_of_each(items: Iterable[Item]) -> tuple[Item, ...]:
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return tuple(first.values())


async def _all_confirmed(load: Load, *, queue: str, publisher: Publisher) -> None:
    """Publish events and letters, so many at a time, and wait for every confirm; what is refused becomes a letter.

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

    letters = load.letters
    sends = [partial(_published, item, load, queue, publisher) for item in load.announced]
    sends += [partial(_set_aside, item, load, queue, publisher) for item in letters]
    await asyncio.gather(*map(send, sends), return_exceptions=True)
    if errors:
        # Not kept here: an error that is kept where it passes keeps the batch alive.
        del errors[1:]
        raise errors.pop()


async def _published(item: Item, load: Load, queue: str, publisher: Publisher) -> None:
    """Publish an event; one that is refused (too large, a value that no property holds) is set aside."""
    assert item.event is not None
    with _about(item, load, "published"):
        await publisher.publish(item.event)
    if item.key in load.refused:
        await _set_aside(item, load, queue, publisher)


async def _set_aside(item: Item, load: Load, queue: str, publisher: Publisher) -> None:
    """Publish the letter of an item; if even that is refused, a note of which item it was and why."""
    refusal = load.refused.get(item.key)
    reason, facts = (item.reason, item.facts) if refusal is None else refusal[:2]
    try:
        await publisher.set_aside(_raw(item), queue=queue, reason=reason, facts=facts)
    except Exception as error:
        if _is_outage(error):
            raise
        what = {"key": item.key, "reason": reason, "letter": _refusal(error, "set aside").reason}
        note = Message(json.dumps(what).encode(), "application/json", NOTE_TYPE)
        # Refused as well, it is not about the item, and nothing can be set aside.
        await publisher.set_aside(note, queue=queue, reason=reason, facts=facts)


def _raw(item: Item) -> Message:
    """Return what an item was made of, or what was made of it."""
    if item.letter is not None:
        return item.letter
    if item.raw is not None:
        return item.raw()
    assert item.event is not None
    event = item.event
    data = event.data.model_dump_json(exclude_none=True).encode()
    return Message(data, "application/json", event.type, event.id)


@contextmanager
def _about(item: Item, load: Load, done: str) -> Iterator[None]:
    """Note what is raised in the block as a refusal of this item, unless it is an outage."""
    try:
        yield
    except Exception as error:
        if _is_outage(error):
            raise
        load.refused[item.key] = _refusal(error, done)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, _OUTAGES) and not isinstance(error, StatementRejected)


def _raise_if_all(load: Load, items: Sequence[Item]) -> None:
    """Raise if the store refused each of several items: then it is about the store."""
    refusals = [load.refused.get(item.key) for item in items]
    if len(refusals) > 1 and all(refusal is not None and refusal.by_store for refusal in refusals):
        assert refusals[0] is not None
        raise StatementRejected(refusals[0].reason)


def _refusal(error: Exception, done: str) -> _Refusal:
    """Say why an item is set aside; an error that is not ours may quote values, so its text is left out."""
    if not isinstance(error, HubError):
        log.error(
            LogEvent.HANDLER_CRASHED,
            who=f"an item to be {done}",
            error=type(error).__name__,
            at=frames(error),
        )
        error = InvalidMessage(
            f"expected an item that can be {done}, got {type(error).__name__}; the log says where"
        )
    return _Refusal(str(error), error.facts, isinstance(error, StatementRejected))


async def _unless(stop: Stopping, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what ``work`` gives, or None if the end is asked for first, which cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
