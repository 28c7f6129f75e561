"""What a changed purchase order does to an order of which something was shipped or cancelled already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hub.models.events import AnyEvent, Event, OrderChanged
from hub.models.order import Hold, Order
from hub.models.order_transitions import FieldError, apply
from tests.state.orders import NOON, backordered, cancelled, created, shipped


def changed(lines: list[dict[str, Any]], *, minutes: int = 60) -> AnyEvent:
    data = OrderChanged.model_validate({**created().data.model_dump(), "lines": lines})
    at = NOON + timedelta(minutes=minutes)
    return Event(f"c-{minutes}", "order.changed", "/retailops/vendors/27", data.order_id, at, data)


def line(line_id: str, quantity: int, sku: str = "") -> dict[str, Any]:
    return {"line_id": line_id, "sku": sku or f"SKU-{line_id}", "quantity": quantity}


def after(*events: AnyEvent) -> Order:
    order = Order.new(created(lines=[line("L1", 3), line("L2", 2)]).data)
    for event in events:
        order, _ = apply(order, event)
    return order


def units(order: Order) -> dict[str, tuple[int, int, int]]:
    return {line.line_id: (line.quantity, line.shipped, line.cancelled) for line in order.lines}


def test_lines_that_nothing_was_done_to_are_replaced() -> None:
    order = after(changed([line("L1", 5, "OTHER"), line("L3", 1)]))

    assert units(order) == {"L1": (5, 0, 0), "L3": (1, 0, 0)}
    assert order.line("L1").sku == "OTHER"
    assert [line.line_id for line in order.details.lines] == ["L1", "L3"]


def test_what_was_shipped_and_cancelled_is_kept_and_never_more_than_ordered() -> None:
    order = after(shipped(("L1", 2)), cancelled(("L1", 1)), changed([line("L1", 1), line("L2", 4)]))

    assert units(order) == {"L1": (3, 2, 1), "L2": (4, 0, 0)}
    assert not order.finished


def test_a_line_that_is_ordered_no_more_stays_with_what_was_done_of_it() -> None:
    order = after(shipped(("L1", 2)), changed([line("L2", 2)]))

    assert units(order) == {"L2": (2, 0, 0), "L1": (2, 2, 0)}
    assert order.line("L1").left == 0


def test_a_finished_order_that_gets_another_line_is_open_again() -> None:
    order, applied = apply(after(shipped()), changed([line("L1", 3), line("L2", 2), line("L3", 1)]))

    assert not order.finished
    assert applied.rest == "partially_shipped"


def test_a_hold_stays_while_something_is_left_to_hold() -> None:
    held = [shipped(("L1", 1)), backordered(minute=30)]

    kept = after(*held, changed([line("L1", 2), line("L2", 2)]))
    lifted = after(*held, changed([line("L1", 1), line("L2", 2)]))

    assert [kept.line(name).hold for name in ("L1", "L2")] == [Hold.BACKORDERED] * 2
    assert [lifted.line(name).hold for name in ("L1", "L2")] == [None, Hold.BACKORDERED]


def test_an_older_change_is_not_applied_over_a_newer_one() -> None:
    newer, older = changed([line("L1", 9)], minutes=90), changed([line("L1", 7)], minutes=60)

    assert units(after(newer, older)) == units(after(older, newer)) == {"L1": (9, 0, 0)}


def test_what_is_ordered_no_more_cannot_be_shipped() -> None:
    with pytest.raises(FieldError):
        apply(after(changed([line("L2", 2)])), shipped(("L1", 1)))
