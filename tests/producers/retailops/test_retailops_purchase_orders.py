"""The passes over the POs of a vendor: which pages are read, what is due, what is new, and what a crash changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from hub.config.settings import Settings
from hub.errors import (
    NO_FACTS,
    BrokerUnavailable,
    ErrorFacts,
    InvalidMessage,
    PartnerUnavailable,
    StoreUnavailable,
)
from hub.messaging.message import Message
from hub.messaging.outcome import Done
from hub.messaging.polling.ingest import ingest_replayed
from hub.messaging.polling.poller import Taken
from hub.models.events import AnyEvent
from hub.models.order import Order
from hub.partners.retailops.client import Fetched
from hub.partners.retailops.page import Unreadable
from hub.partners.retailops.translate import line_hash, read_purchase_order, to_letter
from producers.retailops.retailops_purchase_orders import (
    RETAILOPS_PURCHASE_ORDERS,
    RetailopsPurchaseOrders,
    parse_letter,
)
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, a_po, lines_of, settings
from tests.taking import take_in

NOW = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)
CREATED = "retailops:27:D48213"


def changed(record: dict[str, Any], again: int = 0) -> str:
    """The id of the event that says that the PO has these lines now."""
    lines = line_hash(VENDOR, read_purchase_order(record))
    return f"retailops:27:{record['po']}:{lines}" + (f":{again}" if again else "")


@dataclass
class Rows:
    """The POs behind the filter, read by offset; ``after_page`` may move them between two reads."""

    records: list[Any] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    after_page: Callable[[], None] | None = None
    deaf: bool = False
    """Gives the first page whatever it is asked for."""
    longest_page: int = 1000

    async def fetch(self, start: int, limit: int) -> Fetched:
        self.reads.append((start, limit))
        if self.errors:
            raise self.errors.pop(0)
        start = 0 if self.deaf else start
        page = Fetched(tuple(self.records[start : start + min(limit, self.longest_page)]))
        if self.after_page is not None:
            self.after_page()
        return page


@dataclass
class Broker:
    """Confirms what is published, unless it is away."""

    events: list[AnyEvent] = field(default_factory=list)
    letters: list[tuple[Message, str]] = field(default_factory=list)
    away: bool = False

    async def publish(self, event: AnyEvent) -> None:
        if self.away:
            raise BrokerUnavailable("no confirm")
        self.events.append(event)

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        self.letters.append((message, reason))

    def ids(self) -> list[str]:
        return [event.id for event in self.events]


class LosesCommits(MemoryStore):
    """Dies before the commit, as a process may."""

    dying = False

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    async def load_order(self, order_id: str) -> Order:
        self.loaded.append(order_id)
        return await super().load_order(order_id)

    async def commit(self, poller: str, cursor: Any, keys: Any, *, holder: str) -> None:
        if self.dying:
            raise StoreUnavailable("died before the commit")
        await super().commit(poller, cursor, keys, holder=holder)


class Hub:
    """A poller with all it needs, and the loop's part of a poll."""

    def __init__(self, *records: Any, **changes: Any) -> None:
        self.rows = Rows(list(records))
        self.store = LosesCommits()
        self.broker = Broker()
        self.now = NOW
        self.changes = changes
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is left but the store."""
        self.poller = RetailopsPurchaseOrders(
            settings(**self.changes), self.rows, self.store, now=lambda: self.now
        )

    async def poll(self) -> Taken:
        """Poll and take in until there is no more; gives the last counts."""
        name = self.poller.name
        await self.store.acquire_lease(name, holder="me", lease=timedelta(minutes=1))
        while True:
            batch = await self.poller.poll(await self.store.cursor(name))
            taken = await take_in(
                batch,
                poller=name,
                queue=RETAILOPS_PURCHASE_ORDERS.queue,
                holder="me",
                store=self.store,
                publisher=self.broker,
            )
            if not batch.more:
                return taken

    async def poll_ids(self) -> list[str]:
        """The ids of the events that one poll publishes."""
        self.broker.events.clear()
        await self.poll()
        return self.broker.ids()


def many(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [a_po(f"D{number:05}", **changes) for number in range(count)]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"poller": f"retailops.purchase_orders:{VENDOR}", **labels}) or 0.0


# --- pages ---------------------------------------------------------------------------------------------------


async def test_all_pages_are_read_before_anything_is_given() -> None:
    """Edge case 21: 250 POs, limit 100: three pages and an empty one, all read before the first mark."""
    hub = Hub(*many(250))

    batch = await hub.poller.poll(None)

    assert hub.rows.reads == [(0, 100), (100, 100), (200, 100), (250, 100)]
    assert len([item for item in batch.items if item.event]) == 250
    assert not batch.more


async def test_a_full_last_page_is_followed_by_an_empty_one() -> None:
    hub = Hub(*many(200))

    assert len(await hub.poll_ids()) == 200

    assert [start for start, _ in hub.rows.reads] == [0, 100, 200]


async def test_a_server_that_gives_shorter_pages_is_read_to_the_end_and_noted_once() -> None:
    hub = Hub(*many(7))
    hub.rows.longest_page = 2

    with capture_logs() as logs:
        ids = await hub.poll_ids()
        await hub.poll()

    assert len(ids) == 7
    (noted,) = [line for line in logs if line["event"] == "pages_capped"]
    assert (noted["asked"], noted["given"]) == (100, 2)


async def test_one_po_in_two_records_of_a_page_is_one_order_with_all_lines() -> None:
    first = a_po("DF1", items=lines_of(A=1))
    second = a_po("DF1", items=[{"po_item_id": 2, "vpc": "B", "quantity": 1}])
    hub = Hub(first, second, a_po("DF2"))

    assert await hub.poll_ids() == ["retailops:27:DF1", "retailops:27:DF2"]
    assert [line.sku for line in hub.broker.events[0].data.lines] == ["A", "B"]


async def test_one_po_that_two_pages_share_is_one_order_with_all_lines() -> None:
    first = a_po("DF1", items=lines_of(A=1))
    second = a_po("DF1", items=[{"po_item_id": 2, "vpc": "B", "quantity": 1}])
    hub = Hub(a_po("DF0"), first, second, page_size=2)

    assert await hub.poll_ids() == ["retailops:27:DF0", "retailops:27:DF1"]
    assert [line.sku for line in hub.broker.events[1].data.lines] == ["A", "B"]


@pytest.mark.parametrize("other", [{"items": lines_of(A=2)}, {"date_submit": "2024-05-13"}])
async def test_two_records_of_a_po_that_disagree_are_one_letter(other: dict[str, Any]) -> None:
    hub = Hub(a_po("DF1", items=lines_of(A=1)), a_po("DF1", items=lines_of(A=1)) | other, a_po("DF2"))

    assert await hub.poll_ids() == ["retailops:27:DF2"]
    ((letter, reason),) = hub.broker.letters
    assert "expected each PO in one record of a page, got 2 that differ" in reason
    assert letter.body.count(b"DF1") == 2


async def test_one_po_in_very_many_records_is_one_letter() -> None:
    parts = [a_po("DF1", items=[{"po_item_id": line, "vpc": "A", "quantity": 1}]) for line in range(50)]
    hub = Hub(*parts, a_po("DF2"))

    assert await hub.poll_ids() == ["retailops:27:DF2"]
    assert len(hub.broker.letters) == 1


async def test_a_record_that_cannot_be_read_is_a_letter_with_its_bytes() -> None:
    hub = Hub(
        a_po("D1"), Unreadable(b'{"po":"D2\xff"}', "expected UTF-8, got the byte 0xff at byte 9"), a_po("D3")
    )

    assert await hub.poll_ids() == ["retailops:27:D1", "retailops:27:D3"]
    assert [(letter.body, reason) for letter, reason in hub.broker.letters] == [
        (b'{"po":"D2\xff"}', "expected UTF-8, got the byte 0xff at byte 9")
    ]
    await hub.poll()
    assert len(hub.broker.letters) == 1


async def test_a_page_without_a_po_not_seen_in_this_pass_ends_the_pass() -> None:
    hub = Hub(*many(3), page_size=3)
    hub.rows.deaf = True

    assert len(await hub.poll_ids()) == 3

    assert len(hub.rows.reads) == 2


async def test_a_po_that_a_shifting_offset_hides_is_found_by_the_next_poll() -> None:
    hub = Hub(*many(5), page_size=2)

    def mark_the_first() -> None:
        hub.rows.after_page = None
        del hub.rows.records[0]

    hub.rows.after_page = mark_the_first

    first = await hub.poll_ids()
    second = await hub.poll_ids()

    assert first == [f"retailops:27:D{number:05}" for number in (0, 1, 3, 4)]
    assert second == ["retailops:27:D00002"]


async def test_a_po_on_two_pages_of_a_pass_is_one_order() -> None:
    hub = Hub(a_po("D1"), a_po("D2"), a_po("D2"), a_po("D3"), page_size=2)

    assert await hub.poll_ids() == ["retailops:27:D1", "retailops:27:D2", "retailops:27:D3"]


async def test_an_error_on_a_later_page_gives_nothing_and_the_next_poll_reads_from_the_start() -> None:
    hub = Hub(*many(3), page_size=2)
    hub.rows.after_page = lambda: hub.rows.errors.append(PartnerUnavailable("503"))

    with pytest.raises(PartnerUnavailable):
        await hub.poll()
    hub.rows.after_page = None
    hub.rows.errors.clear()

    assert len(await hub.poll_ids()) == 3
    assert [start for start, _ in hub.rows.reads] == [0, 2, 0, 2, 3]


async def test_a_large_pass_is_read_once_and_given_in_parts() -> None:
    hub = Hub(*many(2500), page_size=1000)

    ids = await hub.poll_ids()

    assert len(set(ids)) == len(ids) == 2500
    assert len(hub.rows.reads) == 4


async def test_a_part_that_is_not_committed_starts_a_new_pass_and_nothing_is_lost() -> None:
    hub = Hub(*many(1500), page_size=1000)
    name = hub.poller.name
    uncommitted = await hub.poller.poll(None)

    await hub.poll()

    assert uncommitted.more
    assert len(set(hub.broker.ids())) == 1500
    assert len(hub.rows.reads) == 6
    cursor = await hub.store.cursor(name)
    assert cursor is not None
    assert cursor["left"] == 0


# --- due -----------------------------------------------------------------------------------------------------


async def test_a_po_is_published_from_the_very_moment_it_is_due() -> None:
    """Edge case 22: future date_submit: not published, picked up once due; the exact instant counts as due."""
    hub = Hub(a_po(date_submit="2024-05-14T16:00:00Z"), a_po("D48214", date_submit="2024-05-14 15:00:00"))
    hub.now = NOW - timedelta(microseconds=1)

    early = await hub.poll_ids()
    hub.now = NOW
    on_time = await hub.poll_ids()
    later = await hub.poll_ids()

    assert (early, on_time, later) == (["retailops:27:D48214"], [CREATED], [])


async def test_pos_come_in_the_order_of_their_dates() -> None:
    hub = Hub(
        a_po("D1", date_submit="2024-05-14T15:00:00Z"),
        a_po("D2", date_submit=1715640000),
        a_po("D3", date_submit="2024-05-14"),
    )

    batch = await hub.poller.poll(None)

    assert [item.event.data.source_order_id for item in batch.items if item.event] == ["D2", "D3", "D1"]


@pytest.mark.parametrize("value", [None, "soon", 0, "0000-00-00 00:00:00"])
async def test_a_po_without_a_readable_date_is_counted_and_warned_of_and_looked_at_again(
    value: object,
) -> None:
    """Edge case 23: missing, and garbage: set aside and counted, not lost."""
    hub = Hub(a_po(date_submit=value), a_po("D48214"))
    counted = metric("hub_taken_in_total", fate="undated")

    with capture_logs() as logs:
        first = await hub.poll_ids()
        second = await hub.poll_ids()
    hub.rows.records[0]["date_submit"] = "2024-05-14T15:55:00Z"
    mended = await hub.poll_ids()

    assert (first, second, mended) == (["retailops:27:D48214"], [], [CREATED])
    assert not hub.broker.letters
    (warning,) = [line for line in logs if line["event"] == "purchase_orders_stuck"]
    assert (warning["log_level"], warning["state"]) == ("warning", "undated")
    assert warning["purchase_orders"] == ["D48213"]
    assert metric("hub_taken_in_total", fate="undated") == counted + 2
    assert metric("hub_purchase_orders", state="undated") == 0


# --- news ----------------------------------------------------------------------------------------------------


async def test_a_po_that_is_still_ready_is_not_published_again() -> None:
    """Edge case 25: its mark failed after the publish; the mark is in the ladder or a letter, not in the poll."""
    hub = Hub(a_po())

    first = await hub.poll_ids()
    hub.restart()
    again = await hub.poll_ids()

    assert (first, again) == ([CREATED], [])


async def test_a_new_po_counts_once_and_one_that_is_ready_still_not_at_all() -> None:
    hub = Hub(a_po(), a_po(po="D2"))

    assert await hub.poll() == Taken(published=2)
    assert await hub.poll() == Taken()


async def test_new_pos_are_looked_up_at_once_and_only_recorded_ones_are_loaded() -> None:
    hub = Hub(a_po(), a_po(po="D2"))
    hub.store.dying = True
    with pytest.raises(StoreUnavailable):
        await hub.poll()
    hub.store.dying = False
    hub.rows.records.append(a_po(po="D3"))
    hub.restart()

    await hub.poll()

    assert hub.store.loaded == ["retailops:27:D2", "retailops:27:D48213"]


async def test_the_hour_that_a_po_is_ready_for_goes_on_after_a_restart() -> None:
    hub = Hub(a_po(po="D-slow"))
    await hub.poll()
    await hub.poll()

    hub.now += timedelta(minutes=40)
    hub.restart()
    await hub.poll()
    hub.now += timedelta(minutes=20)
    hub.restart()
    await hub.poll()

    assert metric("hub_purchase_orders", state="overdue") == 1


async def test_a_published_po_that_is_ready_for_an_hour_is_warned_of_once_and_counted() -> None:
    hub = Hub(a_po())
    with capture_logs() as logs:
        for minutes in (0, 1, 60):
            hub.now = NOW + timedelta(minutes=minutes)
            await hub.poll()
        quiet = [line for line in logs if line["event"] == "purchase_orders_stuck"]
        for minutes in (61, 62):
            hub.now = NOW + timedelta(minutes=minutes)
            await hub.poll()
        overdue = metric("hub_purchase_orders", state="overdue")
    hub.rows.records.clear()
    await hub.poll()

    assert quiet == []
    (warning,) = [line for line in logs if line["event"] == "purchase_orders_stuck"]
    assert (warning["state"], warning["purchase_orders"]) == ("overdue", ["D48213"])
    assert overdue == 1
    assert metric("hub_purchase_orders", state="overdue") == 0


async def test_other_lines_of_a_known_po_are_a_change_and_no_new_order() -> None:
    """Edge case 29: PO changed after submission: change event."""
    hub = Hub(a_po())
    other = a_po(items=lines_of(A=1))
    await hub.poll()

    hub.rows.records = [other]
    first = await hub.poll_ids()
    (event,) = hub.broker.events
    again = await hub.poll_ids()

    assert (first, again) == ([changed(other)], [])
    assert event.type == "order.changed"
    assert event.time == NOW


async def test_a_changed_line_of_no_units_is_one_that_was_taken_off() -> None:
    """The change reaches the order that is recorded."""
    hub = Hub(a_po("CH1", items=lines_of(A=2, B=1)))
    await hub.poll()
    hub.rows.records = [a_po("CH1", items=lines_of(A=9, B=0))]

    await hub.poll_ids()

    (event,) = hub.broker.events
    assert event.type == "order.changed"
    assert [(line.sku, line.quantity) for line in event.data.lines] == [("A", 9)]
    order = await hub.store.load_order("retailops:27:CH1")
    assert [(line.sku, line.quantity) for line in order.lines] == [("A", 9)]
    assert hub.broker.letters == []


async def test_each_new_content_that_cannot_be_read_is_a_letter_of_its_own() -> None:
    hub = Hub(a_po("CH1", items=lines_of(A=2)))
    await hub.poll()
    for quantity in (-1, -1, -2):
        hub.rows.records = [a_po("CH1", items=lines_of(A=quantity))]
        await hub.poll()

    assert len(hub.broker.letters) == 2


async def test_a_replayed_letter_of_a_known_order_is_its_change() -> None:
    hub = Hub(a_po("CH1", items=lines_of(A=2)))
    await hub.poll()
    hub.broker.events.clear()
    letter = to_letter(a_po("CH1", items=lines_of(A=5)), VENDOR, "items: too many").letter
    assert letter is not None
    item = await parse_letter(letter, Settings(retailops=(settings(),)))

    outcome = await ingest_replayed(item, store=hub.store, publisher=hub.broker)
    again = await ingest_replayed(item, store=hub.store, publisher=hub.broker)

    assert outcome == again == Done("published order.changed")
    first, second = hub.broker.events
    assert (first.type, first.id) == (second.type, second.id) == ("order.changed", first.id)
    assert (await hub.store.load_order("retailops:27:CH1")).lines[0].quantity == 5


async def test_a_po_that_was_gone_and_comes_back_changed_is_a_change() -> None:
    hub = Hub(a_po())
    other = a_po(items=lines_of(A=1))
    await hub.poll()
    hub.rows.records = []
    await hub.poll()

    hub.rows.records = [other]

    assert await hub.poll_ids() == [changed(other)]


async def test_every_change_is_told_also_a_return_to_earlier_lines() -> None:
    first, second = a_po(), a_po(items=lines_of(A=1))
    hub = Hub(first)
    told = []

    for record in (first, second, first, first, second, first):
        hub.rows.records = [record]
        hub.restart()
        told.append(await hub.poll_ids())

    assert told == [
        [CREATED],
        [changed(second)],
        [changed(first, 2)],
        [],
        [changed(second, 2)],
        [changed(first, 3)],
    ]


async def test_the_cursor_holds_the_pos_that_changed_and_no_others() -> None:
    hub = Hub(*many(200))
    await hub.poll()
    hub.rows.records[7] = a_po("D00007", items=lines_of(A=1))

    await hub.poll()

    cursor = await hub.store.cursor(hub.poller.name)
    assert cursor is not None
    assert [po for po, _ in cursor["changed"]] == ["D00007"]


# --- crashes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["not confirmed", "not committed"])
async def test_a_crash_before_the_commit_publishes_the_same_ids_again(when: str) -> None:
    hub = Hub(a_po(), a_po("D48214"))
    hub.broker.away, hub.store.dying = when == "not confirmed", when == "not committed"
    with pytest.raises((BrokerUnavailable, StoreUnavailable)):
        await hub.poll()

    hub.broker.away = hub.store.dying = False
    hub.restart()

    assert await hub.poll_ids() == [CREATED, "retailops:27:D48214"]
    assert await hub.poll_ids() == []


async def test_a_po_that_changes_while_the_commit_of_its_order_is_lost_is_told_as_it_was_and_as_changed() -> (
    None
):
    other = a_po(items=lines_of(A=1))
    hub = Hub(a_po())
    hub.store.dying = True
    with pytest.raises(StoreUnavailable):
        await hub.poll()
    (published,) = hub.broker.events

    hub.store.dying = False
    hub.rows.records = [other]
    hub.restart()
    ids = await hub.poll_ids()
    events = list(hub.broker.events)

    assert ids == [CREATED, changed(other)]
    assert events[0] == published
    assert await hub.poll_ids() == []
    hub.rows.records = [a_po()]
    assert await hub.poll_ids() == [changed(a_po(), 2)]


async def test_a_change_whose_commit_is_lost_has_the_same_id_again() -> None:
    first, second = a_po(), a_po(items=lines_of(A=1))
    hub = Hub(first)
    told = []
    for record in (first, second, first):
        hub.rows.records = [record]
        hub.store.dying = True
        hub.broker.events.clear()
        with pytest.raises(StoreUnavailable):
            await hub.poll()
        lost = hub.broker.ids()
        hub.store.dying = False
        hub.restart()
        told.append((lost, await hub.poll_ids()))

    assert told == [
        ([CREATED], [CREATED]),
        ([changed(second)], [changed(second)]),
        ([changed(first, 2)], [changed(first, 2)]),
    ]


async def test_a_cursor_that_was_reset_announces_nothing_twice() -> None:
    hub = Hub(*many(3))
    await hub.poll()

    await hub.store.reset(hub.poller.name)

    assert await hub.poll_ids() == []


# --- letters -------------------------------------------------------------------------------------------------


async def test_a_po_that_cannot_be_read_is_one_letter_and_the_others_flow() -> None:
    hub = Hub(a_po("D1", items=None, seen=1), a_po("D2"), {"no": "po"}, "no object")

    first = await hub.poll_ids()
    hub.rows.records[0] = a_po("D1", items=None, seen=2)
    again = await hub.poll_ids()

    assert (first, again) == (["retailops:27:D2"], [])
    assert sorted(reason.partition(":")[0] for _, reason in hub.broker.letters) == ["items", "po", "po"]
    assert {message.type for message, _ in hub.broker.letters} == {"retailops.po"}
    assert {message.headers["x-hub-account"] for message, _ in hub.broker.letters} == {VENDOR}


async def test_a_po_that_cannot_be_translated_is_a_letter_that_quotes_nothing_personal() -> None:
    hub = Hub(a_po(addressee="Dana\x00Whitfield"))

    await hub.poll()
    await hub.poll()

    ((_, reason),) = hub.broker.letters
    assert "Dana" not in reason


async def test_a_po_that_can_be_read_later_becomes_an_order() -> None:
    hub = Hub(a_po(items=None))
    await hub.poll()

    hub.rows.records = [a_po()]

    assert await hub.poll_ids() == [CREATED]


async def test_a_po_that_cannot_be_read_and_is_not_due_is_left_alone() -> None:
    hub = Hub(a_po(items=None, date_submit="2024-05-14T16:00:01Z"))

    await hub.poll()

    assert not hub.broker.letters


async def test_a_replayed_letter_is_read_again_for_its_account() -> None:
    hub = Hub(a_po(items=[{"po_item_id": 1, "vpc": "A", "quantity": "2"}], date_submit=None), "no object")
    await hub.poll()
    ((letter, _),) = hub.broker.letters
    whole = Settings(retailops=(settings(),))
    mended = Message(
        b'{"po": 5, "date_submit": "2024-05-14", "items": [{"po_item_id": 1, "vpc": "A", "quantity": 2}]}'
    )

    item = await parse_letter(Message(mended.body, type=letter.type, headers=letter.headers), whole)

    assert item.event is not None
    assert (item.key, item.event.id, item.event.type) == ("27:5", "retailops:27:5", "order.created")
    for body, account, wrong in (
        (letter.body, VENDOR, "valid dictionary"),
        (b"<po/>", VENDOR, "as JSON"),
        (mended.body, "9", "expected one of 27"),
        (mended.body.replace(b"2024", b"9024"), VENDOR, "date_submit"),
    ):
        with pytest.raises(InvalidMessage, match=wrong):
            await parse_letter(Message(body, headers={"x-hub-account": account}), whole)
