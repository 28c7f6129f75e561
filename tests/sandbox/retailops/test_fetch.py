"""The simulated RetailOps: sample orders, and a fetch whose window shrinks while it is read."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from hub.sandbox import DateStyle, Oddity, RetailopsSandbox
from tests.sandbox.caller import Clock
from tests.sandbox.retailops_caller import FETCH, GOOD, Vendor, whats

ADVICE = {"records": [{"vendor_id": "27", "vpc": "NF-CHG-30", "quantity": 4}]}


@pytest.fixture
async def vendor(client: aiohttp.ClientSession, clock: Clock) -> AsyncIterator[Vendor]:
    async with RetailopsSandbox(seed=7, now=clock) as ro:
        yield Vendor(client, ro)


def test_the_same_seed_gives_the_same_orders(clock: Clock) -> None:
    one, two, other = (RetailopsSandbox(seed=seed, now=clock).add_orders(50) for seed in (7, 7, 8))

    assert one == two
    assert one != other
    assert all(order.is_due(clock.at) for order in one)


def test_an_order_is_due_at_the_moment_that_was_asked_for(clock: Clock) -> None:
    ro = RetailopsSandbox(now=clock)
    later = clock.at.replace(microsecond=0) + timedelta(hours=1)

    assert {ro.add_order(due_at=later).due_at for _ in range(30)} == {later}


async def test_the_window_shrinks_when_orders_are_marked(vendor: Vendor) -> None:
    orders = vendor.ro.add_orders(5)

    first = await vendor.fetch(start=0, limit=2)
    await vendor.mark(*orders[:2])
    second = await vendor.fetch(start=2, limit=2)

    assert [record["po"] for record in first] == [order.po for order in orders[:2]]
    assert [record["po"] for record in second] == [orders[4].po], "two orders are skipped"
    assert vendor.ro.record_counts("Fetch") == [2, 1]


async def test_a_page_is_never_longer_than_the_partner_allows(client: aiohttp.ClientSession) -> None:
    async with RetailopsSandbox(longest_page=3) as ro:
        ro.add_orders(4)

        assert len(await Vendor(client, ro).fetch(limit=999)) == 3


@pytest.mark.parametrize(
    ("status", "found"),
    [("ready", [1]), (["open", "ready"], [0, 1]), ("submitted", [2]), (["accepted", "complete"], [])],
)
async def test_the_status_filter_is_a_string_or_an_array(
    vendor: Vendor, status: object, found: list[int]
) -> None:
    orders = [vendor.ro.add_order(status=status) for status in ("open", "ready", "ready")]
    await vendor.mark(orders[2])

    records = await vendor.fetch(status=status)

    assert [record["po"] for record in records] == [orders[at].po for at in found]
    assert not vendor.ro.violations


async def test_lines_come_only_when_they_are_asked_for(vendor: Vendor) -> None:
    vendor.ro.add_order(products=[("NF-CASE-GRA", 2), ("NF-CHG-30", 1)])

    (without,) = await vendor.fetch(with_items=False)
    (whole,) = await vendor.fetch()

    assert set(without) == {"po", "status", "vendor_id", "date_submit"}
    assert whole["items"] == [
        {"po_item_id": 90311, "vpc": "NF-CASE-GRA", "quantity": 2},
        {"po_item_id": 90312, "vpc": "NF-CHG-30", "quantity": 1},
    ]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (DateStyle.zulu, "2024-05-14T17:02:09Z"),
        (DateStyle.offset, "2024-05-14T11:02:09-06:00"),
        (DateStyle.naive, "2024-05-14T17:02:09"),
        (DateStyle.spaced, "2024-05-14 17:02:09"),
        (DateStyle.epoch, 1715706129),
        (DateStyle.epoch_text, "1715706129"),
    ],
)
async def test_a_date_is_written_in_each_style_and_means_the_same(
    vendor: Vendor, clock: Clock, written: DateStyle, text: str | int
) -> None:
    order = vendor.ro.add_order(due_at=clock.at + timedelta(hours=1), written=written)

    (record,) = await vendor.fetch()
    clock.at = clock.at.replace(hour=17, microsecond=0) - timedelta(seconds=1)
    early = order.is_due(clock.at)
    clock.at += timedelta(seconds=1)

    assert record["date_submit"] == text
    assert (early, order.is_due(clock.at)) == (False, True)


async def test_a_plain_date_is_due_from_midnight(vendor: Vendor, clock: Clock) -> None:
    order = vendor.ro.add_order(due_at=clock.at + timedelta(days=1), written=DateStyle.date)

    (record,) = await vendor.fetch()

    assert record["date_submit"] == "2024-05-15"
    assert order.due_at == clock.at.replace(day=15, hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (Oddity.missing_date, {}),
        (Oddity.null_date, {"date_submit": None}),
        (Oddity.null_items, {"items": None}),
    ],
)
async def test_odd_orders_are_sent_as_they_are(vendor: Vendor, odd: Oddity, shown: dict[str, Any]) -> None:
    vendor.ro.add_order(odd=odd)

    (record,) = await vendor.fetch()

    assert {name: record[name] for name in shown} == shown
    assert ("date_submit" in record) is (odd is not Oddity.missing_date)
    assert not vendor.ro.unfinished()


def test_an_order_can_have_two_lines_of_one_product() -> None:
    lines = RetailopsSandbox().add_order(odd=Oddity.twin_vpc).lines

    assert lines is not None
    assert len({line.vpc for line in lines}) < len(lines) == len({line.po_item_id for line in lines})


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"vendor_id": 27}, "vendor_id: int where a string is documented"),
        ({"with_items": 1}, "with_items: a boolean is documented"),
        ({"start": "0"}, "start: str where an integer is documented"),
        ({"page": 1}, "page: not a documented field"),
        ({"status": None}, "status: left out, which asks for every status"),
    ],
)
async def test_loose_questions_are_answered_and_remembered(
    vendor: Vendor, changes: dict[str, Any], violation: str
) -> None:
    vendor.ro.add_order()

    assert len(await vendor.fetch(**changes)) == 1
    assert whats(vendor.ro) == [violation]


@pytest.mark.parametrize("changes", [{"limit": 0}, {"start": -1}, {"status": "new"}, {"vendor_id": "28"}])
async def test_meaningless_questions_are_refused(vendor: Vendor, changes: dict[str, Any]) -> None:
    asked = {"vendor_id": "27", "start": 0, "limit": 100, "status": "ready", "with_items": True}

    answer = await vendor.call(FETCH, asked | changes)

    assert answer.keys() == {"ERROR", "ERRORCODE"}
    assert answer != GOOD
