"""The simulated RetailOps: a ledger that finds effects asked for twice and orders taken back, which a correct hub never does."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from hub.sandbox import Fault, RetailopsSandbox
from tests.sandbox.caller import Clock
from tests.sandbox.retailops_caller import (
    ACCEPT,
    DATES,
    Vendor,
    dated,
    whats,
)


@pytest.fixture
async def vendor(client: aiohttp.ClientSession, clock: Clock) -> AsyncIterator[Vendor]:
    async with RetailopsSandbox(seed=7, now=clock) as ro:
        yield Vendor(client, ro)


def told(ro: RetailopsSandbox) -> list[tuple[str, int, bool]]:
    return [(effect.operation, effect.times, effect.excused) for effect in ro.doubled()]


async def test_a_step_asked_for_again_is_refused_as_already_done_and_found(vendor: Vendor) -> None:
    order = vendor.ro.add_order()

    errors = [(await vendor.mark(order)).get("ERROR") for _ in range(2)]
    errors += [(await vendor.mark(order, path=ACCEPT)).get("ERROR") for _ in range(2)]
    errors += [(await vendor.complete(order)).get("ERROR") for _ in range(2)]

    steps = ["submitted", "accepted", "complete"]
    expected = [text for step in steps for text in (None, f"PO {order.po} already {step}")]
    assert errors == expected
    assert told(vendor.ro) == [
        ("MarkSubmitted", 2, False),
        ("MarkAccepted", 2, False),
        ("Complete", 2, False),
    ]
    assert len(vendor.ro.completions) == 1
    assert not vendor.ro.doubled(since=vendor.ro.checkpoint())


@pytest.mark.parametrize("cut", [Fault.reset_after, Fault.truncated])
async def test_asking_again_is_excused_once_when_the_answer_was_lost(vendor: Vendor, cut: Fault) -> None:
    order = vendor.ro.add_order()
    vendor.ro.script("MarkSubmitted", [cut])

    with pytest.raises(aiohttp.ClientError):
        await vendor.mark(order)
    await vendor.mark(order)
    after_loss = told(vendor.ro)
    await vendor.mark(order)

    assert after_loss == [("MarkSubmitted", 2, True)]
    assert told(vendor.ro) == [("MarkSubmitted", 3, False)]


async def test_a_batch_that_was_lost_may_be_asked_again_order_by_order(vendor: Vendor) -> None:
    orders = vendor.ro.add_orders(2)
    vendor.ro.script("MarkSubmitted", [Fault.reset_after])

    with pytest.raises(aiohttp.ClientError):
        await vendor.mark(*orders)
    await vendor.mark(*orders)
    for order in orders:
        await vendor.mark(order)

    assert told(vendor.ro) == [("MarkSubmitted", 3, True)] * 2


async def test_one_order_twice_in_a_batch_is_a_violation(vendor: Vendor) -> None:
    order = vendor.ro.add_order()

    answer = await vendor.mark(order, order)

    assert answer["ERROR"] == f"PO {order.po} is listed twice"
    assert whats(vendor.ro) == ["records[1].po: the same PO twice in one call"]


async def test_the_same_date_told_twice_is_doubled_and_another_one_is_not(vendor: Vendor) -> None:
    order = vendor.ro.add_order()
    await vendor.mark(order)

    for day in ("20", "21", "21", "20"):
        await vendor.call(DATES, {"records": [dated(order, f"2024-05-{day}T00:00:00Z")]})

    assert told(vendor.ro) == [("UpdateEstShipDate", 2, False)]
    assert [told.date.at.day for told in vendor.ro.estimates] == [20, 21, 21, 20]


async def test_a_step_after_completion_goes_backward(vendor: Vendor) -> None:
    order = vendor.ro.add_order()
    await vendor.mark(order)
    await vendor.complete(order)

    accepted = await vendor.mark(order, path=ACCEPT)
    late = await vendor.call(DATES, {"records": [dated(order)]})

    assert accepted["ERROR"] == late["ERROR"] == f"PO {order.po} already complete"
    assert [(step.before, step.operation) for step in vendor.ro.regressions()] == [
        ("complete", "MarkAccepted"),
        ("complete", "UpdateEstShipDate"),
    ]
    assert not vendor.ro.regressions(since=vendor.ro.checkpoint())


async def test_a_step_before_the_order_was_taken_is_out_of_order(vendor: Vendor) -> None:
    order = vendor.ro.add_order()

    early = await vendor.call(DATES, {"records": [dated(order)]})
    await vendor.mark(order)
    late = await vendor.call(DATES, {"records": [dated(order)]})

    assert "ERROR" in early
    assert "ERROR" not in late
    assert [(step.before, step.operation) for step in vendor.ro.regressions()] == [
        ("ready", "UpdateEstShipDate")
    ]
