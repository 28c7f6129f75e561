"""The simulated RetailOps: marks, dates, completions and inventory."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from hub.sandbox import Oddity, PurchaseLine, RetailopsSandbox
from tests.sandbox.caller import Clock
from tests.sandbox.retailops_caller import (
    ACCEPT,
    CLASSES,
    COMPLETE,
    DATES,
    GOOD,
    INVENTORY,
    SUBMIT,
    Vendor,
    dated,
    marked,
    parcel,
    whats,
)


@pytest.fixture
async def vendor(client: aiohttp.ClientSession, clock: Clock) -> AsyncIterator[Vendor]:
    async with RetailopsSandbox(seed=7, now=clock) as ro:
        yield Vendor(client, ro)


def stock(*records: tuple[str, int]) -> dict[str, Any]:
    return {"records": [{"vendor_id": "27", "vpc": vpc, "quantity": quantity} for vpc, quantity in records]}


# --- the life of an order


async def test_an_order_goes_from_ready_to_complete(vendor: Vendor) -> None:
    order = vendor.ro.add_order(odd=Oddity.twin_vpc)

    answers = [
        await vendor.mark(order),
        await vendor.mark(order, path=ACCEPT),
        await vendor.call(DATES, {"records": [dated(order)]}),
        await vendor.complete(order),
    ]

    assert answers == [GOOD] * 4
    assert [(state.status, state.by) for state in vendor.ro.history(order.po)] == [
        ("ready", ""),
        ("submitted", "MarkSubmitted"),
        ("accepted", "MarkAccepted"),
        ("complete", "Complete"),
    ]
    assert [told.date.at for told in vendor.ro.estimates] == [datetime(2024, 5, 20, tzinfo=UTC)]
    (package,) = vendor.ro.packages(order.po)
    assert package.unit_count == sum(line.quantity for line in order.lines or ())
    assert vendor.ro.is_final(order.po)
    assert not vendor.ro.unfinished()
    assert not vendor.ro.violations
    assert not vendor.ro.doubled()
    assert not vendor.ro.regressions()


async def test_an_order_before_its_date_is_marked_at_the_price_of_a_violation(
    vendor: Vendor, clock: Clock
) -> None:
    future = vendor.ro.add_order(due_at=clock.at + timedelta(days=2))
    unreadable = vendor.ro.add_order(odd=Oddity.garbage_date)
    exact = vendor.ro.add_order(due_at=clock.at)

    await vendor.mark(future, unreadable, exact)

    assert whats(vendor.ro) == ["po: marked although its date_submit is in the future or unreadable"] * 2


@pytest.mark.parametrize(
    ("path", "count", "answer"),
    [(SUBMIT, 1000, "success"), (SUBMIT, 1001, "ERROR"), (DATES, 0, "ERROR"), (INVENTORY, 1001, "ERROR")],
)
async def test_a_batch_holds_one_to_a_thousand_records(
    vendor: Vendor, path: str, count: int, answer: str
) -> None:
    orders = vendor.ro.add_orders(count)

    told = await vendor.call(path, {"records": [marked(order) for order in orders]})

    assert answer in told
    assert whats(vendor.ro) == ([] if answer == "success" else ["records: not between 1 and 1000"])


@pytest.mark.parametrize(("whole_batch", "states"), [(True, ["ready"] * 2), (False, ["submitted"] * 2)])
async def test_one_bad_record_refuses_its_batch_or_only_itself(
    client: aiohttp.ClientSession, whole_batch: bool, states: list[str]
) -> None:
    async with RetailopsSandbox(whole_batch=whole_batch) as ro:
        orders = ro.add_orders(2)
        records = [marked(orders[0]), {"po": "D1", "items": []}, marked(orders[1])]

        answer = await Vendor(client, ro).call(SUBMIT, {"records": records})

        assert answer == {"ERROR": "invalid po", "ERRORCODE": "1042"}
        assert [ro.status(order.po) for order in orders] == states
        assert [(call.records, call.error) for call in ro.calls] == [(3, "invalid po")]


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"items": []}, "items: not all lines of the PO with their quantities"),
        (
            {"items": [{"po_item_id": "90311", "quantity": 2}]},
            "records[0].items[0].po_item_id: str where an integer is documented",
        ),
        ({"vendor_id": "27"}, "records[0].vendor_id: not a documented field"),
    ],
)
async def test_a_mark_names_every_line_in_the_documented_types(
    vendor: Vendor, changes: dict[str, Any], violation: str
) -> None:
    order = vendor.ro.add_order(products=[("NF-CHG-30", 2)])

    answer = await vendor.call(SUBMIT, {"records": [marked(order) | changes]})

    assert answer == GOOD
    assert whats(vendor.ro) == [violation]


async def test_a_changed_order_is_ready_again_with_other_lines(vendor: Vendor) -> None:
    order = vendor.ro.add_order(products=[("NF-CHG-30", 2)])
    await vendor.mark(order)

    changed = vendor.ro.change_order(order.po)

    (record,) = await vendor.fetch()
    assert record["items"] == [{"po_item_id": 90311, "vpc": "NF-CHG-30", "quantity": 3}]
    assert await vendor.mark(changed) == GOOD
    assert not vendor.ro.doubled()
    assert not vendor.ro.violations


async def test_an_order_changed_in_place_stays_submitted_until_it_is_accepted(vendor: Vendor) -> None:
    order = vendor.ro.add_order()
    await vendor.mark(order)

    changed = vendor.ro.change_order(order.po, [PurchaseLine(1, "NF-STK-0", 5)], reopen=False)
    await vendor.mark(changed, path=ACCEPT)

    assert vendor.ro.status(order.po) == "accepted"
    assert not vendor.ro.violations
    with pytest.raises(ValueError, match="only an uncommitted PO can change"):
        vendor.ro.change_order(order.po)


# --- completion


async def test_nothing_follows_before_an_order_is_submitted(vendor: Vendor) -> None:
    order = vendor.ro.add_order()

    answers = [
        await vendor.complete(order),
        await vendor.mark(order, path=ACCEPT),
        await vendor.call(DATES, {"records": [dated(order)]}),
    ]

    assert {answer["ERROR"] for answer in answers} == {f"PO {order.po} has not been submitted"}
    assert vendor.ro.status(order.po) == "ready"
    assert whats(vendor.ro) == ["po: completed before MarkSubmitted succeeded"]


@pytest.mark.parametrize(
    ("changes", "violations"),
    [
        ({"ship_class_id": 4}, []),
        ({"unit_count": 2}, ["packages[0].unit_count: not the sum of the quantities"]),
        ({"items": []}, ["packages[0].items: empty, or a quantity below 1"]),
        (
            {"items": [{"vpc": "NF-STK-0", "quantity": 3}]},
            ["packages[0].items: a vpc that the PO does not have"],
        ),
        (
            {"items": [{"vpc": "NF-CHG-30", "quantity": 4}], "unit_count": 4},
            ["packages: more of a vpc than was ordered"],
        ),
    ],
)
async def test_a_completion_that_does_not_fit_is_refused(
    vendor: Vendor, changes: dict[str, Any], violations: list[str]
) -> None:
    order = vendor.ro.add_order(products=[("NF-CHG-30", 1), ("NF-CHG-30", 2)])
    await vendor.mark(order)

    answer = await vendor.complete(order, **changes)

    assert "ERROR" in answer
    assert vendor.ro.status(order.po) == "submitted"
    assert whats(vendor.ro) == violations


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"weight": 1.5}, "packages[0].weight: not a documented field"),
        ({"tracking_number": 42}, "packages[0].tracking_number: int where a string is documented"),
        (
            {"items": [{"vpc": "NF-CHG-30", "quantity": 1}, {"vpc": "NF-CHG-30", "quantity": 2}]},
            "packages[0].items: one vpc twice, which the partner cannot tell apart",
        ),
    ],
)
async def test_what_the_partner_forgives_in_a_parcel_is_remembered(
    vendor: Vendor, changes: dict[str, Any], violation: str
) -> None:
    order = vendor.ro.add_order(products=[("NF-CHG-30", 1), ("NF-CHG-30", 2)])
    await vendor.mark(order)

    assert await vendor.complete(order, **changes) == GOOD
    assert whats(vendor.ro) == [violation]


async def test_part_of_an_order_can_be_completed_in_several_parcels(vendor: Vendor) -> None:
    order = vendor.ro.add_order(products=[("NF-CHG-30", 2), ("NF-STK-0", 5)])
    await vendor.mark(order)
    one = {"items": [{"vpc": "NF-CHG-30", "quantity": 1}], "unit_count": 1}
    await vendor.call(CLASSES, {"all": 1})

    answer = await vendor.call(COMPLETE, {"po": order.po, "packages": [parcel(order) | one] * 2})

    assert answer == GOOD
    assert len(vendor.ro.packages(order.po)) == 2
    assert not vendor.ro.violations


async def test_carrier_classes_change_and_must_have_been_read(vendor: Vendor) -> None:
    order = vendor.ro.add_order()
    await vendor.mark(order)
    vendor.ro.set_carrier_classes({7: "FedEx Ground", 71: "FedEx Ground"})

    stale = await vendor.call(COMPLETE, {"po": order.po, "packages": [parcel(order)]})
    listed = await vendor.call(CLASSES, {"all": 1})
    fresh = await vendor.complete(order, ship_class_id=71)

    assert stale == {"ERROR": "invalid ship_class_id", "ERRORCODE": "1045"}
    assert [record["id"] for record in listed["records"]] == [7, 71]
    assert fresh == GOOD
    assert whats(vendor.ro) == [
        "ship_class_id: must be chosen from CarrierClass.fetch, which was never called"
    ]


# --- inventory


async def test_advised_inventory_is_kept_and_a_negative_quantity_is_refused(vendor: Vendor) -> None:
    good = await vendor.call(INVENTORY, stock(("A", 3), ("B", 0), ("A", 118)))
    bad = await vendor.call(INVENTORY, stock(("A", 1), ("B", -1)))

    assert good == GOOD
    assert bad == {"ERROR": "invalid quantity for B", "ERRORCODE": "1051"}
    assert vendor.ro.inventory == {"A": 118, "B": 0}
    assert vendor.ro.record_counts("ExternalSku") == [3, 2]
    assert whats(vendor.ro) == ["records[1].quantity: negative"]
