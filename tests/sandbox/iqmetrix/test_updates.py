"""The simulated iQmetrix: updates as the documents say, and a ledger that catches what they forbid."""

import random
from typing import Any

import orjson
import pytest

from hub.sandbox import Fault, SandboxOrder, sample_order
from hub.sandbox.iqmetrix.orders import SandboxLine
from tests.sandbox.caller import ATOM, DROPSHIP, Caller, whats


def two_lines() -> SandboxOrder:
    order = sample_order(random.Random(1), 71204)
    lines = tuple(SandboxLine(f"cat-{sku}", sku, 2, "39.99", sku) for sku in ("A", "B"))
    return SandboxOrder(**{name: getattr(order, name) for name in order.__slots__} | {"lines": lines})


# --- updates


async def test_an_order_update_moves_every_line_and_comes_back_in_the_feed(caller: Caller) -> None:
    order = caller.iq.add_order(two_lines())

    status, body = await caller.update(
        order, Status="Shipped", TrackingInfo="1Z1,1Z2", ShippingProvider="UPS"
    )

    updated = (await caller.feed()).find(f"{ATOM}entry/{ATOM}content/{DROPSHIP}order-status-updated")
    assert status == 202
    assert orjson.loads(body) == {
        "Id": order.order_id,
        "Status": "Shipped",
        "TrackingInfo": "1Z1,1Z2",
        "ShippingProvider": "UPS",
        "Info": None,
        "Message": None,
    }
    assert updated is not None
    assert [element.text for element in updated.iter(f"{DROPSHIP}status")] == ["Shipped", "Shipped"]
    assert [element.text for element in updated.iter(f"{DROPSHIP}tracking-info")] == ["1Z1,1Z2"] * 2
    assert [[state.status for state in line.states] for line in caller.iq.history(order.order_id)] == [
        ["PendingSupplier", "Shipped"]
    ] * 2
    assert caller.iq.is_final(order.order_id)
    assert not caller.iq.unfinished()
    assert not caller.iq.violations
    assert not caller.iq.regressions()


@pytest.mark.parametrize("word", ["ItemStatusUpdate", "OrderStatusUpdate"])
async def test_an_item_update_is_taken_on_both_paths_and_the_path_is_recorded(
    caller: Caller, word: str
) -> None:
    order = caller.iq.add_order(two_lines())
    item = {"Sku": "A", "CatalogId": "cat-A", "Status": "Shipped", "Quantity": 2, "TrackingInfo": "1Z1"}

    status, body = await caller.update(order, word, ItemInformation=[item])

    empty = {"ShippingProvider": None, "Info": None, "Message": None}
    assert (status, orjson.loads(body)["ItemInformation"]) == (202, [item | empty])
    assert [line.status for line in caller.iq.history(order.order_id)] == ["Shipped", "PendingSupplier"]
    assert caller.iq.item_paths == {word: 1}
    assert not caller.iq.violations


async def test_a_missing_status_resets_the_order_and_is_a_violation(caller: Caller) -> None:
    order = caller.iq.add_order(two_lines())
    await caller.update(order, Status="Ordered")

    status, _ = await caller.update(order, Message="hello")

    assert status == 202
    assert {line.status for line in caller.iq.history(order.order_id)} == {"PendingSupplier"}
    assert whats(caller.iq) == ["Status: left out, which resets to PendingSupplier"]
    assert {regression.reason for regression in caller.iq.regressions()} == {"reset to PendingSupplier"}


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"Status": "Shipped"}, "Status: Shipped without TrackingInfo and ShippingProvider"),
        ({"Status": 1}, "Status: a number where a name is documented"),
        ({"Status": "Ordered", "ReferenceName": "x"}, "ReferenceName: reserved, must not be sent"),
        ({"Status": "Ordered", "EventId": "x"}, "EventId: not a documented field"),
        ({"Status": "Ordered", "TrackingInfo": 12}, "TrackingInfo: int where a string is documented"),
        (
            {"ItemInformation": [{"Sku": "A", "Status": "Shipped"}]},
            "ItemInformation[0].TrackingInfo: each shipment must have its tracking number",
        ),
        (
            {"ItemInformation": [{"Sku": "A", "Status": "Ordered", "Quantity": "2"}]},
            "ItemInformation[0].Quantity: str where an integer is documented",
        ),
        (
            {"ItemInformation": [{"Sku": "A", "Status": "Ordered", "Quantity": 3}]},
            "Quantity: not between 0 and the ordered quantity",
        ),
    ],
)
async def test_what_the_partner_forgives_is_applied_and_remembered(
    caller: Caller, fields: dict[str, Any], violation: str
) -> None:
    order = caller.iq.add_order(two_lines())

    status, _ = await caller.update(order, **fields)

    assert status == 202
    assert whats(caller.iq) == [violation]
    assert caller.iq.applied == {"OrderStatusUpdate": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"Status": "Exception"},
        {"Id": "another", "Status": "Ordered"},
        {"ItemInformation": [{"Status": "Ordered"}]},
        {"ItemInformation": [{"Sku": "no such line", "Status": "Ordered"}]},
        {"ItemInformation": "A"},
    ],
)
async def test_what_the_partner_cannot_understand_is_refused_and_not_applied(
    caller: Caller, fields: dict[str, Any]
) -> None:
    order = caller.iq.add_order(two_lines())

    answer = await caller.update(order, **fields)

    assert answer == (400, b"The request is invalid")
    assert not caller.iq.applied


async def test_an_unknown_order_is_answered_404(caller: Caller) -> None:
    answer = await caller.update(two_lines(), Status="Ordered")

    assert answer == (404, b"Not found")


async def test_wrong_media_types_are_violations(caller: Caller) -> None:
    order = caller.iq.add_order()
    path = f"/Suppliers(71204)/Orders({order.order_id})/OrderStatusUpdate"
    body = {"Id": order.order_id, "Status": "Ordered"}

    accept, _ = await caller.send("PUT", path, body, Accept="text/plain")
    content, _ = await caller.send("PUT", path, body, Content_Type="text/plain")

    assert (accept, content) == (406, 415)
    assert len(caller.iq.violations) == 2


async def test_an_availability_push_is_echoed_with_an_id_and_kept(caller: Caller) -> None:
    products = [{"Sku": "A", "IsAvailable": True, "Quantity": 118}, {"Sku": "B", "IsAvailable": False}]

    status, body = await caller.send("POST", "/Suppliers(71204)/Availability", {"Products": products})

    answer = orjson.loads(body)
    assert (status, len(answer["Id"])) == (202, 36)
    assert answer["Products"] == [products[0], products[1] | {"Quantity": 0}]
    assert caller.iq.availability == {"A": 118, "B": None}


# --- what a checker asks


@pytest.mark.parametrize(
    ("steps", "reasons"),
    [
        (["Ordered", "PartiallyShipped", "Shipped"], []),
        (["BackOrdered", "Ordered", "Error", "Shipped"], []),
        (["Ordered", "Ordered"], []),
        (["PartiallyShipped", "Ordered"], ["went back"]),
        (["Shipped", "PartiallyShipped"], ["changed after a final state"]),
        (["Cancelled", "Shipped"], ["changed after a final state"]),
        (["BackOrdered", "PendingSupplier"], ["reset to PendingSupplier"]),
    ],
)
async def test_states_that_go_backward_are_found(
    caller: Caller, steps: list[str], reasons: list[str]
) -> None:
    order = caller.iq.add_order(two_lines())

    for step in steps:
        item = {"Sku": "A", "Status": step, "TrackingInfo": "1Z1"}
        await caller.update(order, "ItemStatusUpdate", ItemInformation=[item])

    assert [regression.reason for regression in caller.iq.regressions()] == reasons
    assert not caller.iq.regressions(since=caller.iq.checkpoint())


async def test_an_effect_applied_twice_is_found_and_excused_only_when_the_answer_was_cut(
    caller: Caller,
) -> None:
    first, second = caller.iq.add_order(two_lines()), caller.iq.add_order()
    caller.iq.faults.script("orders/update", [Fault.reset_after])

    # This client repeats a PUT by itself when its connection is reset.
    status, _ = await caller.update(first, Status="Ordered")
    await caller.update(second, Status="Ordered")
    await caller.update(second, Status="Ordered")

    cut, plain = caller.iq.doubled()
    assert status == 202
    assert (cut.order_id, cut.times, cut.unanswered, cut.excused) == (first.order_id, 2, 1, True)
    assert (plain.order_id, plain.times, plain.excused) == (second.order_id, 2, False)
    assert not caller.iq.doubled(since=caller.iq.checkpoint())


async def test_a_fault_before_the_effect_leaves_no_trace(caller: Caller) -> None:
    order = caller.iq.add_order()
    caller.iq.faults.script("orders/update", [Fault.throttled, Fault.unavailable, Fault.unauthorized])

    statuses = [(await caller.update(order, Status="Ordered"))[0] for _ in range(4)]

    assert statuses == [429, 503, 401, 202]
    assert caller.iq.applied == {"OrderStatusUpdate": 1}
    assert not caller.iq.doubled()
