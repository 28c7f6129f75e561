"""What people report of order connectors, tried on the order that all updates are computed from.

- mollie/PrestaShop #1195: after one unit was cancelled, the rest of the line cannot ship.
- SAP/spartacus #6047, #6097: the cancellation of one unit cancels the whole order.
- vendurehq/vendure #2608: a line can be cancelled in part only once.
- rfjakob/gocryptfs #992, lidge-jun/aside-codemode #30: one accent is spelt in two ways, and nothing matches.
- litespeedtech/lscache_prestashop #28, lucivpav/cwg #64: a code brings invisible characters from the page it was copied from.
- nozzlegear/ShopifySharp #919, Shopify/shopify-api-js #916: one notification comes twice, at the same moment.
"""

import pytest

from hub.errors import InvalidMessage
from hub.models.events import OrderCancelled
from hub.models.order import Order
from hub.models.order_transitions import apply, loose_matches
from hub.partners.retailops.translate import parse_date_submit
from tests.reports.test_json import plain, shipment
from tests.state.orders import NOON, cancelled, created, event, shipped

PARCEL = {"carrier": "UPS", "tracking_number": "1Z999"}


def an_order(*lines: tuple[str, str, int]) -> Order:
    rows = [{"line_id": line_id, "sku": sku, "quantity": quantity} for line_id, sku, quantity in lines]
    return Order.new(created(lines=rows).data)


def test_the_rest_of_a_line_ships_after_a_part_was_cancelled() -> None:
    order = an_order(("L1", "RED", 2), ("L2", "BLUE", 1))

    for one in (cancelled(("L1", 1)), shipped(("L1", 1), ("L2", 1), id="s-2")):
        order, _ = apply(order, one)

    assert [(line.shipped, line.cancelled, line.left) for line in order.lines] == [(1, 1, 0), (1, 0, 0)]
    assert order.finished


def test_a_line_is_cancelled_in_as_many_parts_as_it_has_units() -> None:
    order = an_order(("L1", "RED", 3), ("L2", "BLUE", 1))

    for number in range(3):
        order, _ = apply(order, cancelled(("L1", 1), id=f"c-{number}"))

    assert [(line.cancelled, line.left) for line in order.lines] == [(3, 0), (0, 1)]
    assert not order.finished


def test_an_empty_list_of_lines_is_never_the_whole_order() -> None:
    with pytest.raises(ValueError, match="lines"):
        OrderCancelled.model_validate({"order_id": "retailops:27:PO-1", "lines": []})


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("CAFE\u0301-1", "CAFÉ-1"),
        ("CAFÉ-1", "cafe\u0301-1"),
        ("RED\u200b", "RED"),
        ("\ufeffRED", "red"),
        ("RED", "RED\u200e"),
    ],
)
def test_a_sku_matches_however_its_characters_are_spelt(said: str, known: str) -> None:
    order = an_order(("L1", known, 1), ("L2", "BLUE", 1))
    parcel = {**PARCEL, "items": [{"sku": said, "quantity": 1}]}
    event_ = event("order.shipped", {"order_id": "retailops:27:PO-1", "packages": [parcel]})

    after, _ = apply(order, event_)

    assert [line.shipped for line in after.lines] == [1, 0]
    assert [line.line_id for _, line in loose_matches(order, event_)] == ["L1"]


def test_two_skus_that_look_alike_are_never_guessed_between() -> None:
    order = an_order(("L1", "RED\u200b", 1), ("L2", "RED\u200c", 1))
    parcel = {**PARCEL, "items": [{"sku": "red", "quantity": 1}]}

    with pytest.raises(ValueError, match="ambiguous"):
        apply(order, event("order.shipped", {"order_id": "retailops:27:PO-1", "packages": [parcel]}))


def test_one_notification_twice_has_one_id() -> None:
    assert plain(shipment()).id == plain(shipment()).id
    assert plain(shipment()).id != plain(shipment(parcel=',"service":"Ground"')).id


def test_a_po_of_a_leap_second_is_due_the_second_before() -> None:
    due = parse_date_submit("2016-12-31T23:59:60Z")

    assert due == NOON.replace(2016, 12, 31, 23, 59, 59)


def test_a_quantity_of_nothing_is_refused_with_its_field() -> None:
    with pytest.raises(InvalidMessage, match="quantity"):
        plain(shipment(parcel=',"items":[{"sku":"A","quantity":0}]'))
