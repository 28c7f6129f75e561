"""Taking in: what is new is published with confirms, and only then the cursor moves."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from hub.errors import (
    NO_FACTS,
    ArchiveChainBroken,
    BrokerUnavailable,
    ErrorFacts,
    InvalidMessage,
    LeaseHeld,
    PartnerRejected,
    PartnerUnavailable,
    StoreUnavailable,
    Throttled,
)
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Reject
from hub.messaging.polling.habit import Habit
from hub.messaging.polling.ingest import ingest_replayed
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.polling.poller import Batch, Item
from hub.models.events import AnyEvent, Event, OrderCreated, OrderLine
from hub.observability.logging import LogEvent
from hub.process.lifecycle import Stop
from hub.state.poller_notes import PollerNotes
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.taking import take_in

NAME = "iqmetrix.orders:1"


class Publisher:
    def __init__(self, failing: set[str] | None = None) -> None:
        self.published: list[str] = []
        self.letters: list[tuple[Message, str, str]] = []
        self.failing = failing or set()

    async def publish(self, event: AnyEvent) -> None:
        if event.id in self.failing:
            raise BrokerUnavailable("no confirm")
        self.published.append(event.id)

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        self.letters.append((message, queue, reason))


def created(entry: str, order: str = "") -> Event[OrderCreated]:
    order = order or f"order-of-{entry}"
    details = OrderCreated(
        order_id=f"iqmetrix:1:{order}",
        source="iqmetrix",
        source_account="1",
        source_order_id=order,
        source_event_id=entry,
        created_at=datetime(2024, 5, 14, tzinfo=UTC),
        lines=(OrderLine(line_id="l", sku="s", quantity=1),),
    )
    return Event(
        f"iqmetrix:1:{entry}", "order.created", "/iqmetrix", details.order_id, details.created_at, details
    )


async def _take(batch: Batch, store: MemoryStore, publisher: Publisher):
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))
    return await take_in(
        batch, poller=NAME, queue="hub.iqmetrix.orders", holder="me", store=store, publisher=publisher
    )


async def test_new_items_are_published_in_order_and_the_cursor_moves_behind_them() -> None:
    store, publisher = MemoryStore(), Publisher()

    taken = await _take(
        Batch((Item("a", created("a")), Item("b", created("b"))), {"at": 2}), store, publisher
    )

    assert publisher.published == ["iqmetrix:1:a", "iqmetrix:1:b"]
    assert await store.cursor(NAME) == {"at": 2}
    assert (taken.published, taken.duplicates) == (2, 0)


class Crowded(Publisher):
    """A broker that confirms nothing until it has seen that no more are coming."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.under_way = 0

    async def publish(self, event: AnyEvent) -> None:
        self.under_way += 1
        await self.open.wait()
        self.published.append(event.id)


async def test_a_large_batch_is_published_in_order_with_so_many_unconfirmed_at_a_time() -> None:
    publisher = Crowded()
    items = tuple(Item(f"urn:{number}", created(f"urn:{number}")) for number in range(500))
    taking = asyncio.create_task(_take(Batch(items, {"page": "1"}), MemoryStore(), publisher))
    await eventually(lambda: publisher.under_way >= 128)

    assert publisher.under_way == 128
    publisher.open.set()
    assert (await taking).published == 500
    assert publisher.published == [f"iqmetrix:1:urn:{number}" for number in range(500)]


async def test_an_unconfirmed_publish_leaves_the_cursor_and_the_next_run_publishes_under_the_same_ids() -> (
    None
):
    """Edge case 9: crash after publish and before checkpoint."""
    store = MemoryStore()
    batch = Batch((Item("a", created("a")), Item("b", created("b"))), {"at": 2})
    first, second = Publisher(failing={"iqmetrix:1:b"}), Publisher()

    with pytest.raises(BrokerUnavailable):
        await _take(batch, store, first)
    before = await store.cursor(NAME)
    await _take(batch, store, second)

    assert before is None
    assert first.published == ["iqmetrix:1:a"]
    assert second.published == ["iqmetrix:1:a", "iqmetrix:1:b"]


async def test_the_same_order_under_two_entries_is_one_event() -> None:
    """Edge case 4: also across batches."""
    store, publisher = MemoryStore(), Publisher()

    await _take(Batch((Item("a", created("a", "o")), Item("b", created("b", "o"))), {}), store, publisher)
    taken = await _take(Batch((Item("c", created("c", "o")),), {}), store, publisher)

    assert publisher.published == ["iqmetrix:1:a"]
    assert taken.duplicates == 1


async def test_the_same_entry_twice_is_one_event() -> None:
    """Edge case 5: on one page and on two."""
    store, publisher = MemoryStore(), Publisher()

    await _take(Batch((Item("a", created("a")), Item("a", created("a"))), {}), store, publisher)
    await _take(Batch((Item("a", created("a")),), {}), store, publisher)

    assert publisher.published == ["iqmetrix:1:a"]


async def test_what_cannot_be_translated_is_set_aside_raw_while_the_rest_flows() -> None:
    """Edge case 10."""
    store, publisher = MemoryStore(), Publisher()
    raw = Message(b"<entry/>", type="iqmetrix.entry")

    taken = await _take(
        Batch((Item("x", letter=raw, reason="no id"), Item("a", created("a"))), {}), store, publisher
    )

    assert publisher.letters == [(raw, "hub.iqmetrix.orders", "no id")]
    assert publisher.published == ["iqmetrix:1:a"]
    assert taken.set_aside == 1


async def test_what_is_older_than_the_start_is_seen_and_not_published() -> None:
    store, publisher = MemoryStore(), Publisher()

    taken = await _take(Batch((Item("old", created("old"), publish=False),), {"at": 1}), store, publisher)

    assert publisher.published == []
    assert await store.unseen(NAME, ["old"]) == frozenset()
    assert taken.skipped == 1


async def test_the_cursor_does_not_move_for_a_process_that_lost_its_lease() -> None:
    store, publisher = MemoryStore(), Publisher()
    await store.acquire_lease(NAME, holder="another", lease=timedelta(minutes=1))

    with pytest.raises(LeaseHeld):
        await take_in(
            Batch((Item("a", created("a")),), {"at": 2}),
            poller=NAME,
            queue="q",
            holder="me",
            store=store,
            publisher=publisher,
        )

    assert await store.cursor(NAME) is None


async def test_a_replayed_entry_is_published_after_a_fix_and_rejected_again_without_one() -> None:
    store, publisher = MemoryStore(), Publisher()

    mended = await ingest_replayed(Item("a", created("a")), store=store, publisher=publisher)
    broken = await ingest_replayed(
        Item("b", letter=Message(b""), reason="still broken"), store=store, publisher=publisher
    )

    assert mended == Done("published order.created")
    assert broken == Reject("still broken")


class ScriptedPoller:
    """Gives batches and raises errors in the order of a script, then empty batches."""

    name = NAME

    def __init__(self, *script: Batch | Exception) -> None:
        self.script = list(script)
        self.cursors: list[object] = []

    async def poll(self, cursor, /):
        self.cursors.append(cursor)
        step = self.script.pop(0) if self.script else Batch((), cursor or {})
        if isinstance(step, Exception):
            raise step
        return step


async def _loop(poller: ScriptedPoller, store: MemoryStore, until) -> None:
    stop = Stop()
    loop = PollLoop(poller, "q", timedelta(milliseconds=10), "me", store, Publisher())

    async def ask() -> None:
        await eventually(until)
        stop()

    async with asyncio.TaskGroup() as group:
        group.create_task(loop.run(stop))
        group.create_task(ask())


@pytest.mark.parametrize(
    "error",
    [
        PartnerUnavailable("503"),
        Throttled("429", retry_after=timedelta(milliseconds=5)),
        ArchiveChainBroken("gap"),
        ValueError("a fault of ours"),
    ],
)
async def test_a_failed_poll_is_repeated_from_the_same_cursor(error: Exception) -> None:
    store = MemoryStore()
    poller = ScriptedPoller(Batch((), {"at": 1}), error, Batch((), {"at": 2}))

    await _loop(poller, store, lambda: len(poller.cursors) >= 4)

    assert poller.cursors[:4] == [None, {"at": 1}, {"at": 1}, {"at": 2}]


async def test_what_a_poll_fails_of_is_noted_until_it_succeeds() -> None:
    store, notes = MemoryStore(), []
    poller_notes = PollerNotes(store, NAME)

    class Looking(ScriptedPoller):
        async def poll(self, cursor, /):
            notes.append((dict(await poller_notes.failure()), loop.standing))
            return await super().poll(cursor)

    broken = PartnerRejected("no such supplier", status=404)
    poller = Looking(broken, ArchiveChainBroken("gap", page="p2", digest="sha256:1"), Batch((), {"at": 1}))
    loop, stop = PollLoop(poller, "q", timedelta(0), "me", store, Publisher()), Stop()
    running = asyncio.create_task(loop.run(stop))
    await eventually(lambda: len(notes) >= 4)
    stop()
    await running

    first, second, last = notes[1], notes[2], notes[3]
    assert (first[0]["status"], first[0]["times"], first[0]["check"]) == (
        404,
        1,
        "the address and the account in the settings",
    )
    assert "has never succeeded; fails since" in first[1]
    assert "(status 404)" in first[1]
    assert (second[0]["page"], second[0]["digest"], second[0]["times"]) == ("p2", "sha256:1", 2)
    assert second[0]["since"] == first[0]["since"]
    assert last == ({}, "polls")


async def test_a_poller_that_brings_nothing_for_unusually_long_is_silent_until_it_does() -> None:
    store, seen = MemoryStore(), []
    habit = Habit(datetime.now(UTC) - timedelta(hours=5), gaps=[60] * 100)
    await PollerNotes(store, NAME).set_habit(habit.facts())

    class Looking(ScriptedPoller):
        async def poll(self, cursor, /):
            seen.append((REGISTRY.get_sample_value("hub_poller_silent", {"poller": NAME}), loop.standing))
            return await super().poll(cursor)

    poller = Looking(Batch((), {"at": 1}), Batch((Item("a", created("a")),), {"at": 2}), Batch((), {"at": 2}))
    loop, stop = PollLoop(poller, "q", timedelta(0), "me", store, Publisher()), Stop()
    with capture_logs() as lines:
        running = asyncio.create_task(loop.run(stop))
        await eventually(lambda: len(seen) >= 3)
        stop()
        await running

    assert seen[1][0] == 1
    assert "nothing new since" in seen[1][1]
    assert seen[2] == (0, "polls")
    assert [line["event"] for line in lines].count(LogEvent.POLLER_SILENT) == 1


class Impatient(Stop):
    """Waits for nothing, keeps how long each pause was to be, and ends after so many."""

    def __init__(self, pauses: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._left = pauses

    async def sleep(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self._left -= 1
        if not self._left:
            self()
        return self.asked


async def _pauses(*script: Batch | Exception) -> list[float]:
    stop = Impatient(len(script))
    await PollLoop(ScriptedPoller(*script), "q", timedelta(minutes=1), "me", MemoryStore(), Publisher()).run(
        stop
    )
    return [seconds / 60 for seconds in stop.pauses]


async def test_the_pause_doubles_with_each_failure_of_the_partner_up_to_five_minutes() -> None:
    pauses = await _pauses(*[PartnerUnavailable("503")] * 5, Batch((), {"at": 1}))

    assert pauses == [pytest.approx(minutes, rel=0.21) for minutes in (1, 2, 4, 5, 5, 1)]


async def test_the_pause_does_not_grow_while_broker_or_store_are_away() -> None:
    ground = [BrokerUnavailable("away"), StoreUnavailable("away")]
    pauses = await _pauses(*ground * 3, PartnerUnavailable("503"), PartnerUnavailable("503"))

    assert pauses == [pytest.approx(minutes, rel=0.21) for minutes in (1, 1, 1, 1, 1, 1, 1, 2)]


class Watched(MemoryStore):
    """A store that counts how often somebody asked for a lease."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def acquire_lease(self, name, *, holder, lease):
        self.looks += 1
        await super().acquire_lease(name, holder=holder, lease=lease)


async def test_a_replica_stands_by_says_so_once_and_polls_as_soon_as_the_other_has_stopped() -> None:
    store, poller, stop = Watched(), ScriptedPoller(Batch((), {"at": 1})), Stop()
    await store.acquire_lease(NAME, holder="web-1/x/1:4711:9", lease=timedelta(minutes=1))
    loop = PollLoop(poller, "q", timedelta(milliseconds=10), "me", store, Publisher())
    with capture_logs() as lines:
        running = asyncio.create_task(loop.run(stop))
        await eventually(lambda: store.looks >= 3, because="it looks again")
        waited = loop.standing, list(poller.cursors)
        await store.release_lease(NAME, holder="web-1/x/1:4711:9")
        await eventually(lambda: bool(poller.cursors), within=3)
        stop()
        await running

    assert waited == ("standing by: process 4711 on web-1 polls", [])
    assert loop.standing == "polls"
    assert [line["event"] for line in lines] == [LogEvent.STANDING_BY, LogEvent.POLLER_TAKEN]


async def test_a_replica_whose_lease_was_taken_in_mid_poll_moves_no_cursor_and_stands_by() -> None:
    class Slow(ScriptedPoller):
        async def poll(self, cursor):
            store._leases[NAME] = "web-2/x/1:5:9", datetime.now(UTC) + timedelta(minutes=1)
            return await super().poll(cursor)

    store, stop = MemoryStore(), Stop()
    loop = PollLoop(
        Slow(Batch((Item("a", created("a")),), {"at": 1})), "q", timedelta(0), "me", store, Publisher()
    )
    running = asyncio.create_task(loop.run(stop))

    await eventually(lambda: loop.standing == "standing by: process 5 on web-2 polls")
    stop()
    await running

    assert await store.cursor(NAME) is None
    assert (await store.leases())[NAME][0] == "web-2/x/1:5:9"


async def test_an_event_that_cannot_be_published_at_all_is_set_aside_and_does_not_hold_the_rest() -> None:
    class Picky(Publisher):
        async def publish(self, event: AnyEvent) -> None:
            if event.id.endswith(":large"):
                raise InvalidMessage("expected at most 1048576 bytes")
            await super().publish(event)

    store, publisher = MemoryStore(), Picky()

    await _take(
        Batch((Item("large", created("large")), Item("a", created("a"))), {"at": 2}), store, publisher
    )

    assert publisher.published == ["iqmetrix:1:a"]
    assert [reason for _, _, reason in publisher.letters] == ["expected at most 1048576 bytes"]
    assert await store.cursor(NAME) == {"at": 2}


async def test_a_store_that_is_away_at_the_start_is_waited_for() -> None:
    store = MemoryStore()
    store.away = "locked"
    stop = Stop()
    loop = PollLoop(ScriptedPoller(), "q", timedelta(milliseconds=10), "me", store, Publisher())
    running = asyncio.create_task(loop.run(stop))

    await asyncio.sleep(0)
    assert not running.done()
    stop()

    await asyncio.wait_for(running, 30)


async def test_an_order_is_told_that_it_was_seen_and_published_in_one_write_for_the_page() -> None:
    store = MemoryStore()
    writes: list[int] = []
    add = store.add_to_timeline

    class Counting(MemoryStore):
        async def add_to_timeline(self, entries):
            writes.append(len(entries))
            await add(entries)

    counting = Counting()
    await _take(Batch((Item("a", created("a")), Item("b", created("b"))), {"at": 2}), counting, Publisher())

    told = await store.timeline_of("iqmetrix:1:order-of-a")
    assert writes == [4]
    assert [(entry.what, entry.facts["type"]) for entry in told] == [
        ("seen", "order.created"),
        ("published", "order.created"),
    ]
    assert told[0].facts["poller"] == NAME
    assert told[0].at <= told[1].at


async def test_cursor_and_timeline_of_a_page_are_handed_to_the_store_together() -> None:
    told = asyncio.Event()

    class Together(MemoryStore):
        async def commit(self, poller, cursor, keys, *, holder):
            await asyncio.wait_for(told.wait(), 30)
            await super().commit(poller, cursor, keys, holder=holder)

        async def add_to_timeline(self, entries):
            told.set()
            await super().add_to_timeline(entries)

    store = Together()

    await _take(Batch((Item("a", created("a")),), {"at": 2}), store, Publisher())

    assert await store.cursor(NAME) == {"at": 2}


async def test_a_timeline_that_cannot_be_written_does_not_fail_the_poll_that_is_done() -> None:
    class WithoutTimeline(MemoryStore):
        async def add_to_timeline(self, entries):
            raise StoreUnavailable("away")

    store = WithoutTimeline()

    taken = await _take(Batch((Item("a", created("a")),), {"at": 2}), store, Publisher())

    assert taken.published == 1
    assert await store.cursor(NAME) == {"at": 2}


async def test_the_next_batch_is_recorded_while_one_is_announced_and_published_behind_it() -> None:
    class Waiting(Publisher):
        confirming = asyncio.Event()

        async def publish(self, event: AnyEvent) -> None:
            await self.confirming.wait()
            await super().publish(event)

    def recorded() -> list[str]:
        return sorted(order.removeprefix("iqmetrix:1:order-of-") for order in store._orders)

    store, publisher, stop = MemoryStore(), Waiting(), Stop()
    poller = ScriptedPoller(
        Batch((Item("a", created("a")),), {"at": 1}, more=True),
        # The second page has an entry of the first again, which is not committed yet.
        Batch((Item("a", created("a")), Item("b", created("b"))), {"at": 2}, more=True),
        Batch((Item("c", created("c")),), {"at": 3}),
    )
    loop = PollLoop(poller, "q", timedelta(milliseconds=5), "me", store, publisher)
    running = asyncio.create_task(loop.run(stop))

    await eventually(lambda: recorded() == ["a", "b"])
    before = await store.cursor(NAME), list(publisher.published)
    publisher.confirming.set()
    await eventually(lambda: len(publisher.published) == 3)
    stop()
    await running

    assert before == (None, [])
    assert publisher.published == [f"iqmetrix:1:{name}" for name in "abc"]
    assert poller.cursors[:3] == [None, {"at": 1}, {"at": 2}]
    assert await store.cursor(NAME) == {"at": 3}
