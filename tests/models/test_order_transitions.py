"""What each event does to an order, and that the order of arrival does not matter where it must not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.models.events import AnyEvent
from hub.models.order import Hold, Line, Order
from hub.models.order_transitions import FieldError, apply, loose_matches
from tests.state.orders import NOON, backordered, cancelled, created, event, shipped

ORDER_ID = "retailops:27:PO-1"
TWINS = [{"line_id": "L1", "sku": "RED", "quantity": 3}, {"line_id": "L2", "sku": "RED", "quantity": 2}]


def new(**changes: Any) -> Order:
    return Order.new(created(**changes).data)


def after(order: Order, events: Iterable[AnyEvent]) -> Order:
    for one in events:
        order, _ = apply(order, one)
    return order


def units(order: Order) -> list[tuple[int, int]]:
    return [(line.shipped, line.cancelled) for line in order.lines]


# --- shipping


def test_a_package_without_items_holds_all_that_is_left() -> None:
    order = after(new(), [shipped(("L1", 1)), cancelled(("L1", 1))])

    order, applied = apply(order, shipped(id="s-2"))

    assert [(item.line_id, item.quantity) for item in applied.packages[0].items] == [("L1", 1), ("L2", 2)]
    assert order.finished
    assert applied.rest == "shipped"


def test_nothing_ships_from_a_finished_order() -> None:
    order = after(new(), [shipped()])

    with pytest.raises(FieldError, match="finished") as raised:
        apply(order, shipped(id="s-2"))
    assert raised.value.field == "packages.0.items"


def test_a_package_without_an_id_gets_one_from_its_event() -> None:
    _, applied = apply(new(), shipped(("L1", 1), id="s-9"))

    assert applied.packages[0].package_id == "s-9:1"
    assert applied.packages[0].shipped_at == NOON + timedelta(minutes=1)


def test_a_package_is_reported_once() -> None:
    order = after(new(), [shipped(("L1", 1), package_id="box")])

    with pytest.raises(FieldError, match="was reported before") as raised:
        apply(order, shipped(("L1", 1), id="s-2", package_id="box"))
    assert raised.value.field == "packages.0.package_id"


def test_two_packages_of_one_event_may_not_hold_more_than_is_left_together() -> None:
    parcel = {"carrier": "UPS", "tracking_number": "1Z", "items": [{"line_id": "L1", "quantity": 2}]}

    with pytest.raises(FieldError, match="at most the 1 left") as raised:
        apply(new(), event("order.shipped", {"order_id": ORDER_ID, "packages": [parcel, parcel]}))
    assert raised.value.field == "packages.1.items.0.quantity"


def test_items_of_one_line_in_one_package_are_added_up() -> None:
    order, applied = apply(new(), shipped(("L1", 1), ("L1", 2)))

    assert [(item.line_id, item.quantity) for item in applied.packages[0].items] == [("L1", 3)]
    with pytest.raises(FieldError, match="at most the 3 left of line 'L1', got 4"):
        apply(new(), shipped(("L1", 2), ("L1", 2)))
    assert order.line("L1").left == 0


@pytest.mark.parametrize("quantity", [4, 1_000_000_000])
def test_more_units_than_are_left_cannot_ship(quantity: int) -> None:
    with pytest.raises(FieldError, match=f"at most the 3 left of line 'L1', got {quantity}") as raised:
        apply(new(), shipped(("L2", 1), ("L1", quantity)))
    assert raised.value.field == "packages.0.items.1.quantity"


@given(st.lists(st.tuples(st.sampled_from(["L1", "L2"]), st.integers(1, 3)), max_size=6), st.randoms())
def test_partial_shipments_in_any_order_end_alike(parts: list[tuple[str, int]], random: Any) -> None:
    lines = [
        {"line_id": line_id, "sku": line_id, "quantity": sum(n for name, n in parts if name == line_id) or 1}
        for line_id in ("L1", "L2")
    ]
    events = [shipped(part, id=f"s-{number}", minute=number) for number, part in enumerate(parts)]
    shuffled = random.sample(events, len(events))

    one, other = after(new(lines=lines), events), after(new(lines=lines), shuffled)

    assert one.lines == other.lines
    assert {package.package_id for package in one.packages} == {
        package.package_id for package in other.packages
    }
    assert all(line.left == 0 for line in one.lines if any(name == line.line_id for name, _ in parts))


@pytest.mark.parametrize(
    "events",
    list(permutations([shipped(("L1", 1), minute=3), cancelled(("L1", 1), minute=2), backordered(minute=1)])),
)
def test_shipment_cancellation_and_hold_in_any_order_end_alike(events: tuple[AnyEvent, ...]) -> None:
    order = after(new(), events)

    assert units(order) == [(1, 1), (0, 0)]
    assert [line.hold for line in order.lines] == [None, Hold.BACKORDERED]
    assert order.line("L1").status_at == NOON + timedelta(minutes=3)


# --- naming lines


def ship_by_sku(sku: str) -> AnyEvent:
    parcel = {"carrier": "UPS", "tracking_number": "1Z", "items": [{"sku": sku, "quantity": 1}]}
    return event("order.shipped", {"order_id": ORDER_ID, "packages": [parcel]})


def test_a_line_may_be_named_by_its_sku() -> None:
    order, _ = apply(new(), ship_by_sku("BLUE"))

    assert units(order) == [(0, 0), (1, 0)]


def test_a_sku_of_two_lines_is_ambiguous() -> None:
    with pytest.raises(
        FieldError, match="'RED' is ambiguous, name the line_id instead: 'L1', 'L2'"
    ) as raised:
        apply(new(lines=TWINS), ship_by_sku("RED"))
    assert raised.value.field == "packages.0.items.0.sku"


GUID = "8f0f6c0a-0a1e-4c43-9a0b-3d5d3f2e9b10"


@pytest.mark.parametrize("said", [GUID.upper(), f"{{{GUID}}}", f"({GUID.upper()})", GUID])
@pytest.mark.parametrize("recorded", [GUID, GUID.upper(), f"{{{GUID}}}"])
def test_a_line_is_found_by_its_guid_however_it_is_written(said: str, recorded: str) -> None:
    lines = [
        {"line_id": recorded, "sku": "RED", "quantity": 3},
        {"line_id": "L2", "sku": "BLUE", "quantity": 2},
    ]

    order, _ = apply(new(lines=lines), cancelled((said, 1)))

    assert units(order) == [(0, 1), (0, 0)]


@pytest.mark.parametrize("said", ["blue", "Blue", "bLUE"])
def test_a_sku_is_found_whatever_its_case(said: str) -> None:
    order = new()
    event = ship_by_sku(said)

    assert units(apply(order, event)[0]) == [(0, 0), (1, 0)]
    assert [line.line_id for _, line in loose_matches(order, event)] == ["L2"]


def test_a_sku_that_two_lines_spell_differently_is_the_very_one_or_ambiguous() -> None:
    lines = [{"line_id": "L1", "sku": "red", "quantity": 3}, {"line_id": "L2", "sku": "RED", "quantity": 2}]

    order, _ = apply(new(lines=lines), ship_by_sku("RED"))

    assert units(order) == [(0, 0), (1, 0)]
    assert list(loose_matches(order, ship_by_sku("RED"))) == []
    with pytest.raises(FieldError, match="ambiguous"):
        apply(new(lines=lines), ship_by_sku("Red"))


def test_a_line_id_that_is_no_guid_is_compared_as_it_is() -> None:
    with pytest.raises(FieldError, match="expected a line of the order"):
        apply(new(), cancelled(("l1", 1)))


def test_an_unknown_sku_or_line_is_told_with_the_known_ones() -> None:
    with pytest.raises(FieldError, match=r"'BLUE', 'RED'.* got 'GREEN'") as by_sku:
        apply(new(), ship_by_sku("GREEN"))
    with pytest.raises(FieldError, match=r"'L1', 'L2'.* got 'L3'") as by_line:
        apply(new(), cancelled(("L3", 1)))

    assert by_sku.value.field == "packages.0.items.0.sku"
    assert by_line.value.field == "lines.0.line_id"


# --- cancelling


def test_an_order_cancelled_step_by_step_is_cancelled_as_a_whole_by_the_last_step() -> None:
    order = new()
    steps = [cancelled(("L1", 2), id="c-1"), cancelled(("L2", 2), id="c-2"), cancelled(("L1", 1), id="c-3")]

    seen = []
    for step in steps:
        order, applied = apply(order, step)
        (gone,) = applied.cancellations
        seen.append(
            (gone.line_id, gone.quantity, gone.cumulative, gone.ordered, applied.whole_order_cancelled)
        )

    assert seen == [("L1", 2, 2, 3, False), ("L2", 2, 2, 2, False), ("L1", 1, 3, 3, True)]
    assert order.finished


def test_an_order_of_which_something_shipped_is_never_cancelled_as_a_whole() -> None:
    order = after(new(), [shipped(("L1", 1))])

    order, applied = apply(order, cancelled(reason="no stock"))

    assert not applied.whole_order_cancelled
    assert applied.rest == "shipped"
    assert units(order) == [(1, 2), (0, 2)]
    assert order.line("L2").message == "no stock"


def test_a_cancellation_without_lines_gives_up_all_that_is_left_once() -> None:
    order, applied = apply(new(), cancelled())

    assert applied.whole_order_cancelled
    with pytest.raises(FieldError, match="finished") as raised:
        apply(order, cancelled(id="c-2"))
    assert raised.value.field == "lines"


def test_a_line_without_a_quantity_gives_up_the_rest_of_the_line() -> None:
    order = after(new(), [shipped(("L1", 1))])

    order, applied = apply(
        order,
        event("order.cancelled", {"order_id": ORDER_ID, "lines": [{"line_id": "L1", "reason": "lost"}]}),
    )

    assert units(order) == [(1, 2), (0, 0)]
    assert applied.cancellations[0].reason == "lost"
    assert applied.rest == "partially_shipped"


def test_more_units_than_are_left_cannot_be_cancelled() -> None:
    with pytest.raises(FieldError, match="at most the 3 left of line 'L1', got 4") as raised:
        apply(new(), cancelled(("L1", 2), ("L1", 2)))
    assert raised.value.field == "lines.1.quantity"


# --- holds


def line_after(*events: AnyEvent) -> Line:
    return after(new(), events).line("L1")


def failed(status: str, **more: Any) -> AnyEvent:
    return event("order.failed", {"order_id": ORDER_ID, "status": status}, **more)


def accepted(**more: Any) -> AnyEvent:
    return event("order.accepted", {"order_id": ORDER_ID}, **more)


def test_an_older_hold_does_not_replace_a_newer_one() -> None:
    assert line_after(failed("Error", minute=2), backordered(minute=1)).hold is Hold.ERROR
    assert line_after(backordered(minute=1), failed("Error", minute=2)).hold is Hold.ERROR


def test_an_older_hold_is_not_put_on_what_a_newer_shipment_or_cancellation_moved() -> None:
    assert line_after(shipped(("L1", 1), minute=2), backordered(minute=1)).hold is None
    assert line_after(cancelled(("L1", 1), minute=2), backordered(minute=1)).hold is None


def test_an_older_shipment_does_not_lift_a_newer_hold_unless_nothing_is_left() -> None:
    assert line_after(backordered(minute=2), shipped(("L1", 1), minute=1)).hold is Hold.BACKORDERED
    assert line_after(backordered(minute=2), shipped(("L1", 3), minute=1)).hold is None


def test_a_finished_line_is_not_held() -> None:
    order = after(new(), [shipped(("L1", 3)), backordered(minute=2)])

    assert [line.hold for line in order.lines] == [None, Hold.BACKORDERED]


def test_only_the_named_lines_are_held() -> None:
    order = after(new(), [backordered(lines=[{"sku": "BLUE"}], message="in May")])

    assert [(line.hold, line.message) for line in order.lines] == [(None, None), (Hold.BACKORDERED, "in May")]


def test_an_acceptance_lifts_a_back_order_and_no_other_hold() -> None:
    assert line_after(backordered(minute=1), accepted(minute=2)).hold is None
    assert line_after(backordered(minute=2), accepted(minute=1)).hold is Hold.BACKORDERED
    assert line_after(failed("NotAvailable", minute=1), accepted(minute=2)).hold is Hold.NOT_AVAILABLE


def test_an_older_back_order_does_not_hold_what_was_accepted_since() -> None:
    assert line_after(accepted(minute=10), backordered(minute=5)) == line_after(
        backordered(minute=5), accepted(minute=10)
    )
    assert line_after(accepted(minute=10), backordered(minute=5)).hold is None
    assert line_after(accepted(minute=5), backordered(minute=10)).hold is Hold.BACKORDERED


def test_an_older_failure_holds_what_was_accepted_since() -> None:
    assert line_after(accepted(minute=10), failed("Error", minute=5)).hold is Hold.ERROR


def test_of_an_acceptance_and_a_back_order_of_one_moment_the_later_to_arrive_counts() -> None:
    assert line_after(backordered(minute=1), accepted(minute=1)).hold is None
    assert line_after(accepted(minute=1), backordered(minute=1)).hold is Hold.BACKORDERED


@pytest.mark.parametrize("events", list(permutations([shipped(("L1", 1)), backordered()])))
def test_a_rest_that_is_back_ordered_at_the_moment_of_the_shipment_is_held(
    events: tuple[AnyEvent, ...],
) -> None:
    assert line_after(*events).hold is Hold.BACKORDERED


def test_the_reason_of_a_cancellation_is_told_again_once_a_newer_hold_is_lifted() -> None:
    gone, held = cancelled(("L1", 1), reason="lost", minute=1), backordered(message="in May", minute=2)

    assert line_after(gone, held).message == "in May"
    assert line_after(gone, held, accepted(minute=3)).message == "lost"


LINES = st.sampled_from([None, ["L1"], ["L2"], ["L1", "L2"]])
UNITS = st.tuples(st.sampled_from(["L1", "L2"]), st.integers(1, 2))
REMARKS = st.sampled_from([None, "in May", "lost"])
HAPPENINGS = st.one_of(
    st.tuples(st.just("accepted")),
    st.tuples(st.just("backordered"), LINES, REMARKS),
    st.tuples(st.just("failed"), LINES, REMARKS, st.sampled_from(["Error", "NotAvailable", "Other"])),
    st.tuples(st.just("shipped"), UNITS),
    st.tuples(st.just("cancelled"), UNITS, REMARKS),
)


def happened(what: tuple[Any, ...], number: int, minute: int) -> AnyEvent:
    own: dict[str, Any] = {"id": f"e-{number}", "minute": minute}
    match what:
        case ("backordered" | "failed" as name, lines, message, *status):
            data = {"order_id": ORDER_ID, "message": message, "status": status[0] if status else None}
            refs = lines and [{"line_id": line_id} for line_id in lines]
            return event(f"order.{name}", {**data, "lines": refs}, **own)
        case ("shipped", units):
            return shipped(units, **own)
        case ("cancelled", units, reason):
            return cancelled(units, reason=reason, **own)
        case _:
            return accepted(**own)


@given(
    st.lists(st.tuples(HAPPENINGS, st.integers(0, 5)), max_size=7),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.randoms(),
)
def test_events_that_are_valid_in_every_order_end_in_the_same_lines(
    happenings: list[tuple[tuple[Any, ...], int]], spare: tuple[int, int], random: Any
) -> None:
    # An acceptance and a back-order of one moment are the one pair whose arrival counts: their minutes differ.
    events = [
        happened(what, number, 2 * minute + (what[0] == "accepted"))
        for number, (what, minute) in enumerate(happenings)
    ]
    moved = [what[1] for what, _ in happenings if what[0] in ("shipped", "cancelled")]
    lines = [
        {
            "line_id": line_id,
            "sku": line_id,
            "quantity": sum(n for name, n in moved if name == line_id) + more or 1,
        }
        for line_id, more in zip(("L1", "L2"), spare, strict=True)
    ]

    one, other = after(new(lines=lines), events), after(new(lines=lines), random.sample(events, len(events)))

    assert one.lines == other.lines


def test_an_event_that_says_nothing_about_the_state_changes_nothing() -> None:
    order = after(new(), [shipped(("L1", 1))])

    same, applied = apply(
        order,
        event(
            "order.ship_date_estimated", {"order_id": ORDER_ID, "estimated_ship_date": "2026-06-01T00:00:00Z"}
        ),
    )

    assert same == order
    assert applied.rest == "partially_shipped"
    assert applied.packages == ()


def test_the_order_knows_its_lines_and_their_packages() -> None:
    order = after(new(), [shipped(("L1", 1)), shipped(("L2", 1), id="s-2")])

    assert [package.event_id for package in order.packages_by_line()["L2"]] == ["s-2"]
    with pytest.raises(KeyError):
        order.line("L3")
