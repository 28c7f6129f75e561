"""One item that cannot be recorded or published is set aside with its raw bytes, and never ends a poll."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from hub.errors import (
    NO_FACTS,
    BrokerUnavailable,
    ErrorFacts,
    InvalidMessage,
    PartnerRejected,
    StatementRejected,
    StoreUnavailable,
)
from hub.messaging.message import Message
from hub.messaging.outcome import Done
from hub.messaging.polling.ingest import ingest_replayed
from hub.messaging.polling.poller import Batch, Item, Taken
from hub.models.events import AnyEvent, Event, OrderChanged
from hub.models.order import Applied, Order
from tests.fakes import MemoryStore
from tests.messaging.polling.test_poller import NAME, Publisher, created
from tests.taking import take_in

# Whatever is raised: ours, the client library's, Python's.
# Made anew for each test: an error that was raised keeps what was at hand alive.
ANYTHING: list[Callable[[], Exception]] = [
    lambda: InvalidMessage("expected values that the state store can hold"),
    lambda: PartnerRejected("refused"),
    lambda: struct.error("argument out of range"),
    lambda: OverflowError("date value out of range"),
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    lambda: KeyError("Jane Doe"),
]
OUTAGES: list[Callable[[], Exception]] = [
    lambda: StoreUnavailable("locked"),
    lambda: BrokerUnavailable("no confirm"),
]


def named(error: Callable[[], Exception]) -> str:
    return type(error()).__name__


class Choosy(MemoryStore):
    """Raises an error for whatever is about some orders."""

    def __init__(self, error: Callable[[], Exception], *orders: str) -> None:
        super().__init__()
        self.error = error
        self.orders = {f"iqmetrix:1:order-of-{name}" for name in orders}
        self.writes = 0

    async def record_orders(self, events: Sequence[AnyEvent]) -> frozenset[str]:
        self.writes += 1
        if any(event.order_id in self.orders for event in events):
            raise self.error()
        return await super().record_orders(events)

    async def apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        if event.order_id in self.orders:
            raise self.error()
        return await super().apply(event)


class Picky(Publisher):
    """Raises an error for some events, and for letters of some types."""

    def __init__(self, error: Callable[[], Exception], *entries: str, letters: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.error = error
        self.entries = entries
        self.refused = letters

    async def publish(self, event: AnyEvent) -> None:
        if event.id.endswith(self.entries):
            raise self.error()
        await super().publish(event)

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        if message.type in self.refused:
            raise self.error()
        await super().set_aside(message, queue=queue, reason=reason, facts=facts)


def item(name: str, event: AnyEvent | None = None) -> Item:
    return Item(
        name,
        event or created(name),
        raw=lambda: Message(f"<{name}/>".encode(), type="iqmetrix.entry", message_id=name),
    )


def changed(name: str) -> Event[OrderChanged]:
    announced = created(name)
    data = OrderChanged.model_validate(announced.data.model_dump())
    return Event(f"{name}:changed", "order.changed", "/hub", announced.subject, announced.time, data)


async def take(store: MemoryStore, publisher: Publisher, *items: Item) -> Taken:
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))
    return await take_in(Batch(items, {"at": 2}), poller=NAME, store=store, publisher=publisher)


def letters(publisher: Publisher) -> list[bytes]:
    return [message.body for message, _, _ in publisher.letters]


def ids(names: str) -> list[str]:
    return [f"iqmetrix:1:{name}" for name in names]


@pytest.mark.parametrize("error", ANYTHING, ids=named)
async def test_an_order_that_cannot_be_recorded_is_set_aside_and_the_rest_flows(
    error: Callable[[], Exception],
) -> None:
    store, publisher = Choosy(error, "c"), Publisher()

    taken = await take(store, publisher, *map(item, "abcde"))

    assert publisher.published == ids("abde")
    assert letters(publisher) == [b"<c/>"]
    assert (taken.published, taken.set_aside) == (4, 1)
    assert await store.cursor(NAME) == {"at": 2}
    assert await store.unseen(NAME, list("abcde")) == frozenset()


async def test_an_order_that_a_statement_is_refused_for_is_set_aside_alone() -> None:
    store, publisher = Choosy(lambda: StatementRejected("a fault of ours"), "c"), Publisher()

    await take(store, publisher, *map(item, "abcde"))

    assert publisher.published == ids("abde")
    assert letters(publisher) == [b"<c/>"]


@pytest.mark.parametrize("error", ANYTHING, ids=named)
async def test_a_change_that_cannot_be_applied_is_set_aside_and_the_rest_flows(
    error: Callable[[], Exception],
) -> None:
    store, publisher = Choosy(error, "b"), Publisher()
    await take(store, publisher, item("a"))

    await take(store, publisher, item("b-changed", changed("b")), item("a-changed", changed("a")), item("c"))

    assert publisher.published == ["iqmetrix:1:a", "a:changed", "iqmetrix:1:c"]
    assert letters(publisher) == [b"<b-changed/>"]


@pytest.mark.parametrize("error", ANYTHING, ids=named)
async def test_an_event_that_cannot_be_published_is_set_aside_and_the_rest_flows(
    error: Callable[[], Exception],
) -> None:
    store, publisher = MemoryStore(), Picky(error, "b")

    taken = await take(store, publisher, *map(item, "abc"))

    assert publisher.published == ids("ac")
    assert letters(publisher) == [b"<b/>"]
    assert (taken.published, taken.set_aside) == (2, 1)
    told = await store.timeline_of("iqmetrix:1:order-of-b")
    assert "published" not in [entry.what for entry in told]


@pytest.mark.parametrize("outage", OUTAGES, ids=named)
@pytest.mark.parametrize("where", ["recording", "publishing"])
async def test_an_outage_ends_the_poll_and_sets_nothing_aside(
    where: str, outage: Callable[[], Exception]
) -> None:
    at = "c" if where == "recording" else "none"
    store, publisher = Choosy(outage, at), Picky(outage, "?" if where == "recording" else "c")

    with pytest.raises((StoreUnavailable, BrokerUnavailable)):
        await take(store, publisher, *map(item, "abcde"))

    assert publisher.letters == []
    assert await store.cursor(NAME) is None


async def test_a_store_that_refuses_every_order_is_no_fault_of_the_orders() -> None:
    store, publisher = Choosy(lambda: StatementRejected("no such column"), *"abc"), Publisher()

    with pytest.raises(StatementRejected, match="no such column"):
        await take(store, publisher, *map(item, "abc"))

    assert publisher.letters == []


async def test_a_bad_order_of_a_thousand_is_found_in_few_writes() -> None:
    names = [f"n{number}" for number in range(1000)]
    store, publisher = Choosy(lambda: ValueError("bad"), "n700"), Publisher()

    await take(store, publisher, *map(item, names))

    assert len(publisher.published) == 999
    assert store.writes <= 25


async def test_the_reason_of_a_foreign_error_quotes_nothing_of_the_item() -> None:
    store, publisher = Choosy(lambda: KeyError("Jane Doe"), "a"), Publisher()

    await take(store, publisher, item("a"), item("b"))

    assert [reason for _, _, reason in publisher.letters] == [
        "expected an item that can be recorded, got KeyError; the log says where"
    ]


async def test_an_item_without_its_raw_form_is_set_aside_as_the_event_that_was_made_of_it() -> None:
    publisher = Picky(lambda: ValueError("bad"), "a")

    await take(MemoryStore(), publisher, Item("a", created("a")))

    ((letter, _, _),) = publisher.letters
    assert (letter.type, letter.message_id) == ("order.created", "iqmetrix:1:a")
    assert orjson.loads(letter.body)["order_id"] == "iqmetrix:1:order-of-a"


async def test_a_letter_that_is_refused_itself_becomes_a_note_that_names_the_item() -> None:
    publisher = Picky(lambda: ValueError("bad"), "a", letters=("iqmetrix.entry",))

    await take(MemoryStore(), publisher, item("a"), item("b"))

    assert publisher.published == ids("b")
    assert [orjson.loads(body)["key"] for body in letters(publisher)] == ["a"]


# --- a letter that comes back when its order is known


def with_units(units: int) -> Item:
    """Return what a letter of one order is read as: new, and if the order is known."""
    announced = created("a")
    (line,) = announced.data.lines
    lines = (line.model_copy(update={"quantity": units}),)
    data = announced.data.model_copy(update={"lines": lines, "source_event_id": f"{units} units"})
    data_changed = OrderChanged.model_validate(data.model_dump())
    change = Event(f"a:{units}", "order.changed", "/hub", announced.subject, announced.time, data_changed)
    return Item("a", replace(announced, data=data), if_known=change)


async def again(store: MemoryStore, publisher: Publisher, units: int) -> object:
    return await ingest_replayed(with_units(units), store=store, publisher=publisher)


async def test_a_letter_of_a_known_order_is_its_change_however_often_it_comes() -> None:
    store, publisher = MemoryStore(), Publisher()
    await again(store, publisher, 1)

    outcomes = [await again(store, publisher, 9) for _ in (1, 2)]

    assert outcomes == [Done("published order.changed")] * 2
    assert publisher.published == ["iqmetrix:1:a", "a:9", "a:9"]
    assert (await store.load_order("iqmetrix:1:order-of-a")).lines[0].quantity == 9


async def test_a_change_that_was_recorded_and_not_published_is_published_once_it_comes_again() -> None:
    store = MemoryStore()
    await again(store, Publisher(), 1)
    with pytest.raises(BrokerUnavailable):
        await again(store, Publisher(failing={"a:9"}), 9)
    publisher = Publisher()

    await again(store, publisher, 9)

    assert publisher.published == ["a:9"]


async def test_an_order_that_was_recorded_and_not_published_is_announced_by_its_letter() -> None:
    store, publisher = MemoryStore(), Picky(lambda: ValueError("bad"), "a")
    await take(store, publisher, with_units(1))
    mended = Publisher()

    assert await again(store, mended, 1) == Done("published order.created")
    assert mended.published == ["iqmetrix:1:a"]
