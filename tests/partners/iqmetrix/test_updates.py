"""What iQmetrix is told, from the recorded state of an order and what it was told before."""

from itertools import permutations
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from hub.models.events import AnyEvent
from hub.models.order import Order
from hub.models.order_transitions import apply
from hub.partners.iqmetrix.updates import Update, View, next_update
from hub.partners.iqmetrix.wire import ItemInformation, OrderStatusUpdate, Status
from tests.partners.iqmetrix.samples import (
    SOURCE_ORDER_ID,
    accepted,
    backordered,
    cancelled,
    details,
    failed,
    settings,
    shipped,
)


class Story:
    """An order, what happens to it, and what iQmetrix is told each time."""

    def __init__(self, *quantities: int) -> None:
        self.order = Order.new(details(*quantities))
        self.told: View | None = None

    def happens(self, *events: AnyEvent) -> "Story":
        for event in events:
            self.order, _ = apply(self.order, event)
        return self

    def tells(self, *, picked_up: bool = False) -> Any:
        """Give what is to be told as (kind, body), and take it as told."""
        update = self.update(picked_up=picked_up)
        if update is None:
            return None
        self.told = View.from_json(orjson.loads(orjson.dumps(update.view.to_json())))
        body = orjson.loads(update.body.encode())
        assert body.pop("Id") == SOURCE_ORDER_ID
        return (update.kind, body if update.kind == "order" else body["ItemInformation"])

    def update(self, *, picked_up: bool = False) -> Update | None:
        return next_update(self.order, self.told, picked_up=picked_up, settings=settings())


def item(letter: str, status: str, **values: Any) -> dict[str, Any]:
    return {"Sku": f"SKU-{letter}", "CatalogId": f"cat-{letter}", "Status": status, **values}


UPS = {"ShippingProvider": "UPS", "Info": "www.ups.com"}
ORDERED = ("order", {"Status": "Ordered", "Message": "Received by supplier"})


def parcel(tracking: str, *items: tuple[str, int], carrier: str = "UPS") -> dict[str, Any]:
    return {
        "package_id": f"PKG-{tracking}",
        "carrier": carrier,
        "tracking_number": tracking,
        "items": [{"line_id": line, "quantity": quantity} for line, quantity in items] or None,
    }


def test_a_picked_up_order_is_ordered_once() -> None:
    story = Story(2, 1)

    assert story.tells(picked_up=True) == ORDERED
    assert story.tells(picked_up=True) is None


def test_nothing_is_told_before_anything_happened() -> None:
    assert Story(2).tells() is None


def test_a_whole_shipment_is_told_for_the_order_with_all_tracking_numbers() -> None:
    story = Story(2, 1).happens(
        shipped(parcel("1Z2", ("A", 2)), parcel("1Z1", ("B", 1))),
    )

    assert story.tells() == ("order", {"Status": "Shipped", "TrackingInfo": "1Z2,1Z1", **UPS})


def test_a_repeated_shipment_is_not_told_again() -> None:
    """Edge case 20: repeated fulfilment message: no second Shipped."""
    story = Story(1).happens(shipped(parcel("1Z1")))
    story.tells()

    assert story.tells() is None


def test_the_site_of_a_carrier_is_found_in_any_case() -> None:
    told = Story(1).happens(shipped(parcel("1Z1", carrier="ups"))).tells()

    assert told is not None
    assert told[1]["Info"] == "www.ups.com"


def test_a_tracking_number_that_looks_like_a_number_is_text() -> None:
    """Edge case 17: tracking number that looks numeric is sent as a JSON string."""
    story = Story(2, 1).happens(shipped(parcel("9400111899223", ("A", 2))))

    update = story.update()

    assert update is not None
    assert b'"TrackingInfo":"9400111899223"' in update.body.encode()
    with pytest.raises(ValidationError):
        ItemInformation(Sku="a", Status=Status.SHIPPED, TrackingInfo=9400111899223)  # type: ignore[arg-type]


def test_there_is_no_update_without_a_status() -> None:
    """Edge case 19: no update without Status."""
    for model, values in ((OrderStatusUpdate, {"Id": "a"}), (ItemInformation, {"Sku": "a"})):
        with pytest.raises(ValidationError, match="Status"):
            model.model_validate(values)


def test_parts_are_told_by_item_with_all_so_far_and_only_what_changed() -> None:
    story = Story(3, 1)
    story.tells(picked_up=True)

    first = story.happens(shipped(parcel("1Z1", ("A", 1)), event_id="1")).tells()
    second = story.happens(shipped(parcel("1Z2", ("A", 2)), event_id="2")).tells()
    third = story.happens(shipped(parcel("1Z3", ("B", 1)), event_id="3")).tells()

    assert first == ("items", [item("A", "PartiallyShipped", Quantity=1, TrackingInfo="1Z1", **UPS)])
    assert second == ("items", [item("A", "Shipped", Quantity=3, TrackingInfo="1Z1,1Z2", **UPS)])
    assert third == ("items", [item("B", "Shipped", Quantity=1, TrackingInfo="1Z3", **UPS)])
    assert story.tells() is None


def test_another_parcel_of_a_line_is_told_while_its_status_stays() -> None:
    story = Story(3).happens(shipped(parcel("1Z1", ("A", 1)), event_id="1"))
    story.tells()

    told = story.happens(shipped(parcel("1Z2", ("A", 1)), event_id="2")).tells()

    assert told == ("items", [item("A", "PartiallyShipped", Quantity=2, TrackingInfo="1Z1,1Z2", **UPS)])


def test_several_carriers_are_told_by_item() -> None:
    story = Story(1, 1).happens(
        shipped(parcel("1Z1", ("A", 1)), parcel("77", ("B", 1), carrier="FedEx")),
    )

    assert story.tells() == (
        "items",
        [
            item("A", "Shipped", Quantity=1, TrackingInfo="1Z1", **UPS),
            item("B", "Shipped", Quantity=1, TrackingInfo="77", ShippingProvider="FedEx"),
        ],
    )


def test_one_tracking_number_of_several_lines_is_told_once() -> None:
    story = Story(1, 1).happens(
        shipped(parcel("1Z1", ("A", 1)), {**parcel("1Z1", ("B", 1)), "package_id": "second"})
    )

    assert story.tells() == ("order", {"Status": "Shipped", "TrackingInfo": "1Z1", **UPS})


def test_a_cancelled_order_is_told_with_its_reason() -> None:
    story = Story(2, 1)
    story.tells(picked_up=True)

    told = story.happens(cancelled(reason="Not found")).tells()

    assert told == ("order", {"Status": "Cancelled", "Message": "Not found"})


def test_shipped_and_cancelled_lines_are_told_by_item() -> None:
    story = Story(2, 1).happens(
        shipped(parcel("1Z1", ("A", 2))), cancelled({"line_id": "B", "reason": "Not found"})
    )

    assert story.tells() == (
        "items",
        [
            item("A", "Shipped", Quantity=2, TrackingInfo="1Z1", **UPS),
            item("B", "Cancelled", Quantity=1, Message="Not found"),
        ],
    )


def test_a_part_cancelled_line_says_nothing_until_it_is_resolved() -> None:
    story = Story(3)
    story.tells(picked_up=True)

    before = story.happens(cancelled({"line_id": "A", "quantity": 1})).tells()
    after = story.happens(shipped(parcel("1Z1"))).tells()

    assert before is None
    assert after == (
        "items",
        [item("A", "Shipped", Quantity=2, TrackingInfo="1Z1", Message="1 of 3 cancelled", **UPS)],
    )


def test_a_part_shipped_line_whose_rest_is_cancelled_is_shipped() -> None:
    story = Story(3).happens(shipped(parcel("1Z1", ("A", 2))))
    story.tells()

    told = story.happens(cancelled(reason="Lost")).tells()

    assert told == (
        "items",
        [item("A", "Shipped", Quantity=2, TrackingInfo="1Z1", Message="1 of 3 cancelled: Lost", **UPS)],
    )


def test_a_back_order_of_all_lines_is_told_for_the_order() -> None:
    story = Story(2, 1)
    story.tells(picked_up=True)

    told = story.happens(backordered(message="Two weeks")).tells()

    assert told == ("order", {"Status": "BackOrdered", "Message": "Two weeks"})


def test_a_back_order_of_one_line_is_told_by_item() -> None:
    story = Story(2, 1)
    story.tells(picked_up=True)

    assert story.happens(backordered("B")).tells() == ("items", [item("B", "BackOrdered")])


def test_an_accepted_back_order_is_ordered_again() -> None:
    story = Story(2, 1).happens(backordered("B"))
    story.tells()

    told = story.happens(accepted()).tells(picked_up=True)

    assert told == ("items", [item("B", "Ordered")])
    assert story.tells(picked_up=True) is None


def test_a_lifted_back_order_is_told_also_with_a_later_event() -> None:
    story = Story(2, 1).happens(backordered("B"))
    story.tells()

    told = story.happens(accepted(), shipped(parcel("1Z1", ("A", 2)))).tells()

    assert told == (
        "items",
        [item("A", "Shipped", Quantity=2, TrackingInfo="1Z1", **UPS), item("B", "Ordered")],
    )


@pytest.mark.parametrize("status", ["Error", "NotAvailable", "Other"])
def test_a_failure_is_told_with_its_message_and_may_be_left(status: str) -> None:
    story = Story(1)
    story.tells(picked_up=True)

    held = story.happens(failed(status, message="Look here")).tells()
    again = story.happens(failed(status, message="Look there", event_id="fail-2")).tells()
    accepted_then = story.happens(accepted()).tells(picked_up=True)
    then = story.happens(shipped(parcel("1Z1"))).tells()

    assert held == ("order", {"Status": status, "Message": "Look here"})
    assert again == ("order", {"Status": status, "Message": "Look there"})
    assert accepted_then is None
    assert then == ("order", {"Status": "Shipped", "TrackingInfo": "1Z1", **UPS})


def test_a_held_line_of_which_a_part_is_cancelled_stays_as_told() -> None:
    story = Story(3).happens(backordered())
    story.tells()

    assert story.happens(cancelled({"line_id": "A", "quantity": 1})).tells() is None


def test_a_line_of_which_something_shipped_is_not_held() -> None:
    story = Story(3).happens(shipped(parcel("1Z1", ("A", 1))))
    story.tells()

    assert story.happens(backordered()).tells() is None


@pytest.mark.parametrize(
    "event",
    [shipped(parcel("1Z1", ("A", 1))), backordered("A"), cancelled({"line_id": "A"}), failed("Other", "A")],
)
def test_a_late_pick_up_is_superseded_by_whatever_was_told(event: AnyEvent) -> None:
    story = Story(1, 1).happens(event)
    story.tells()

    assert story.tells(picked_up=True) is None


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_events_in_any_order_end_in_one_state_without_a_step_back(order: tuple[int, ...]) -> None:
    events = (
        shipped(parcel("1Z1", ("A", 1)), event_id="1"),
        shipped(parcel("1Z2", ("A", 2)), event_id="2"),
        cancelled({"line_id": "B"}, event_id="3"),
        accepted(event_id="4"),
    )
    story = Story(3, 1)
    told = [story.happens(events[number]).tells(picked_up=number == 3) for number in order]

    assert story.told is not None
    assert {line: view.status for line, view in story.told.lines.items()} == {
        "A": Status.SHIPPED,
        "B": Status.CANCELLED,
    }
    assert set(story.told.lines["A"].tracking) == {"1Z1", "1Z2"}
    assert b"PendingSupplier" not in orjson.dumps(told)


def test_a_note_says_what_is_told() -> None:
    whole = Story(1).update(picked_up=True)
    parts = Story(2, 1).happens(shipped(parcel("1Z1", ("A", 2))), cancelled({"line_id": "B"})).update()

    assert whole is not None
    assert parts is not None
    assert (whole.note, parts.note) == ("told Ordered", "told Shipped, Cancelled by item")


def test_every_status_is_read_by_name_and_by_number() -> None:
    for number, status in enumerate(Status):
        assert Status.read(str(number)) is Status.read(status.value) is status
        assert status.id == number
    for text in ("9", "-1", "²", "Exception", ""):
        with pytest.raises(ValueError, match="Status"):
            Status.read(text)
