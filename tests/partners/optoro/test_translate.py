"""From events to webhooks: every value, where it comes from, and what is said when it is missing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from hub.config.webhooks import WebhookClient
from hub.errors import InvalidMessage
from hub.models.events import AnyEvent
from hub.models.order import Order
from hub.partners.optoro.translate import IncompleteWebhooks, Kind, Webhook, webhooks
from tests.partners.optoro.samples import (
    ORDER,
    PARCEL,
    SECOND_PARCEL,
    a_client,
    a_client_with_defaults,
    an_event,
    an_order,
    applied_in_turn,
    cancelled,
    disposition_changed,
    shipped,
)

# The closed lists of the documents, by the path of the object, written out by hand.
ADDRESS = {
    "name", "company", "telephone_number", "street", "street2", "city", "state", "zip_code", "country",
    "id", "created_at", "updated_at",
}  # fmt: skip
CLOSED_LISTS = {
    Kind.CONFIRMATION: {
        "": {"shipment"},
        "shipment": {
            "id", "client_identifier", "channel", "carrier", "shipping_method", "tracking_number", "billed_weight",
            "shipping_cost_cents", "packing_slip_identifier", "shipment_items", "created_at", "updated_at",
        },
        "shipment.shipment_items": {"id", "client_identifier", "quantity", "created_at", "updated_at"},
    },
    Kind.CANCELLATION: {
        "": {"order"},
        "order": {
            "id", "client_identifier", "billing_address", "shipping_address", "brand", "shipping_method", "status",
            "price_cents", "tax_cents", "processing_fee_cents", "shipping_cost_cents", "shipping_tax_cents", "comments",
            "expected_delivery_date", "signature_required", "packing_slip_identifier", "reject_reason", "order_items",
            "created_at", "updated_at",
        },
        "order.billing_address": ADDRESS,
        "order.shipping_address": ADDRESS,
        "order.order_items": {
            "id", "client_identifier", "sku", "brand", "condition", "quantity", "price_cents", "tax_cents",
            "shipping_cost_cents", "shipping_tax_cents", "status", "comments",
        },
    },
    Kind.PARTIAL_CANCELLATION: {
        "": {"order"},
        "order": {"id", "client_identifier", "status", "order_items"},
        "order.order_items": {"id", "client_identifier", "status", "quantity", "cancelled_quantity"},
    },
    Kind.DISPOSITION: {
        "": {
            "from_disposition", "to_disposition", "timestamp", "location_identifier", "warehouse_identifier",
            "optiturn_lp", "program_identifier", "upc", "from_condition", "to_condition", "from_sku", "to_sku", "sku",
            "reference_unit_identifier", "store_identifier", "user_login",
        },
    },
}  # fmt: skip


def every_webhook(client: WebhookClient, order: Order, *events: AnyEvent) -> list[tuple[Webhook, ...]]:
    return [
        webhooks(event, after, applied, client) for event, after, applied in applied_in_turn(order, *events)
    ]


def the_body(client: WebhookClient, order: Order, *events: AnyEvent) -> Any:
    """The body of the only webhook that the last event makes."""
    (webhook,) = every_webhook(client, order, *events)[-1]
    return json.loads(webhook.body)


def objects(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, list):
        for each in value:
            yield from objects(each, path)
    elif isinstance(value, dict):
        yield path, value
        for key, each in value.items():
            yield from objects(each, f"{path}.{key}".lstrip("."))


# --- confirmation ------------------------------------------------------------------------------------------


def test_a_confirmation_holds_what_the_document_asks_for() -> None:
    body = the_body(a_client(), an_order(), shipped())

    assert body == {
        "shipment": {
            "client_identifier": "7a0e5d1c",
            "channel": "rts_drop_ship",
            "carrier": "UPS",
            "shipping_method": "UPS Ground",
            "tracking_number": "1Z863YY60392796356",
            "billed_weight": 2.4,
            "shipping_cost_cents": 912,
            "packing_slip_identifier": "KW88IN1042",
            "shipment_items": [
                {
                    "client_identifier": "line-case",
                    "quantity": 2,
                    "created_at": "2024-05-15T14:20:05Z",
                    "updated_at": "2024-05-15T14:20:05Z",
                }
            ],
            "created_at": "2024-05-15T14:20:05Z",
            "updated_at": "2024-05-15T14:20:05Z",
        }
    }


def test_two_parcels_make_two_confirmations() -> None:
    """Edge case 35: one confirmation per parcel, each with its own tracking number, items and effect key."""
    (made,) = every_webhook(a_client(), an_order(), shipped(PARCEL, SECOND_PARCEL))

    shipments = [json.loads(webhook.body)["shipment"] for webhook in made]
    assert [each["tracking_number"] for each in shipments] == ["1Z863YY60392796356", "1Z863YY60392796357"]
    assert [each["shipment_items"][0]["client_identifier"] for each in shipments] == ["line-case", "line-chg"]
    assert [webhook.effect_key for webhook in made] == [
        "webhook:acme:confirmation:FUL-1:PKG-1",
        "webhook:acme:confirmation:FUL-1:PKG-2",
    ]


def test_no_two_ids_of_events_and_parcels_make_one_effect() -> None:
    keys = [
        the_key(event_id, package_id)
        for event_id in ("X", "X:X", "X:X%3A1", "X%3AX", "X:1")
        for package_id in ("1", "X:1", "X%3A1", "1:1", "%")
    ]

    assert len(set(keys)) == len(keys)


def test_a_key_without_colons_in_the_parcel_is_the_one_of_before() -> None:
    (made,) = every_webhook(a_client(), an_order(), shipped({**PARCEL, "package_id": "X:1"}))
    (webhook,) = made

    assert (webhook.effect_key, webhook.key_before) == (
        "webhook:acme:confirmation:FUL-1:X%3A1",
        "webhook:acme:confirmation:FUL-1:X:1",
    )
    assert the_key("wh:1:3", "PKG-1") == "webhook:acme:confirmation:wh:1:3:PKG-1"


def the_key(event_id: str, package_id: str) -> str:
    event = replace(shipped({**PARCEL, "package_id": package_id}), id=event_id)
    ((webhook,),) = every_webhook(a_client(), an_order(), event)
    return webhook.effect_key


def test_a_numeric_tracking_number_stays_a_text() -> None:
    body = the_body(a_client(), an_order(), shipped({**PARCEL, "tracking_number": 9400110200881}))

    assert body["shipment"]["tracking_number"] == "9400110200881"


@pytest.mark.parametrize(
    ("parcel", "order", "expected"),
    [
        ({"carrier": "UPS", "service": "Ground"}, {}, "UPS Ground"),
        ({"carrier": "UPS", "service": "UPS Ground"}, {}, "UPS Ground"),
        ({"carrier": "UPS", "service": "Upside Air"}, {}, "UPS Upside Air"),
        ({"carrier": "UPS", "service": None}, {}, "EXPRESS"),
        ({"carrier": "UPS", "service": None}, {"shipping_method_code": "7"}, "STANDARD"),
    ],
)
def test_the_shipping_method_is_the_service_else_configured_by_code_else_the_default(
    parcel: dict[str, Any], order: dict[str, Any], expected: str
) -> None:
    body = the_body(a_client(), an_order(**order), shipped({**PARCEL, **parcel}))

    assert body["shipment"]["shipping_method"] == expected


def test_a_parcel_without_a_cost_takes_the_default() -> None:
    client = a_client_with_defaults(package_cost_cents=500)

    body = the_body(client, an_order(), shipped({**PARCEL, "shipping_cost_cents": None}))

    assert body["shipment"]["shipping_cost_cents"] == 500


def test_a_cost_and_a_weight_of_zero_are_values() -> None:
    client = a_client_with_defaults(package_cost_cents=500)

    body = the_body(client, an_order(), shipped({**PARCEL, "shipping_cost_cents": 0, "weight_lb": 0}))

    assert body["shipment"]["shipping_cost_cents"] == 0
    assert body["shipment"]["billed_weight"] == 0


def test_orders_can_be_identified_by_their_number() -> None:
    body = the_body(a_client(identify_orders_by="order_number"), an_order(), shipped())

    assert body["shipment"]["client_identifier"] == "KW88IN1042"


def test_a_missing_value_is_a_fault_that_names_every_field_and_where_it_could_come_from() -> None:
    bare = a_client(defaults={}, shipping_methods={}, identify_orders_by="order_number")
    parcel = {"package_id": "PKG-1", "carrier": "UPS", "tracking_number": "1Z863YY60392796356"}

    with pytest.raises(InvalidMessage) as raised:
        every_webhook(bare, an_order(order_number=None), shipped(parcel))

    text = str(raised.value)
    for path, source in {
        "shipment.client_identifier": "order_number of order.created",
        "shipment.channel": "channel in [webhooks.defaults]",
        "shipment.shipping_method": "packages.0.service of order.shipped",
        "shipment.billed_weight": "packages.0.weight_lb of order.shipped",
        "shipment.shipping_cost_cents": "package_cost_cents in [webhooks.defaults]",
    }.items():
        assert path in text
        assert source in text
    assert raised.value.field == "shipment.client_identifier"
    assert "1Z863YY60392796356" not in text


def test_the_parcels_that_are_complete_are_built_beside_those_that_are_not() -> None:
    event = shipped(PARCEL, {**SECOND_PARCEL, "weight_lb": None})

    with pytest.raises(IncompleteWebhooks, match=r"packages\.1\.weight_lb") as raised:
        every_webhook(a_client(), an_order(), event)

    assert [webhook.effect_key for webhook in raised.value.complete] == [
        "webhook:acme:confirmation:FUL-1:PKG-1"
    ]


# --- cancellation ------------------------------------------------------------------------------------------


def test_a_cancellation_holds_what_the_document_asks_for() -> None:
    event = cancelled(reason="Inventory damaged", charges={"tax_cents": 600, "processing_fee_cents": 99})

    body = the_body(a_client(), an_order(), event)

    address = {
        "name": "Dana Whitfield",
        "telephone_number": "208-555-0143",
        "street": "914 W Fort St",
        "city": "Boise",
        "state": "ID",
        "zip_code": "83702",
        "country": "US",
    }
    items = [
        {
            "client_identifier": line_id,
            "sku": sku,
            "brand": "northfork",
            "condition": "N",
            "quantity": quantity,
            "price_cents": price,
            "tax_cents": 0,
            "shipping_cost_cents": 0,
            "shipping_tax_cents": 0,
            "status": "cancelled",
            "comments": "Inventory damaged",
        }
        for line_id, sku, quantity, price in (
            ("line-case", "NF-CASE-GRA", 2, 7998),
            ("line-chg", "NF-CHG-30", 1, 2450),
        )
    ]
    assert body == {
        "order": {
            "client_identifier": "7a0e5d1c",
            "billing_address": address,
            "shipping_address": address,
            "brand": "northfork",
            "shipping_method": "EXPRESS",
            "status": "cancelled",
            "price_cents": 10448,
            "tax_cents": 600,
            "processing_fee_cents": 99,
            "shipping_cost_cents": 0,
            "shipping_tax_cents": 0,
            "comments": "Inventory damaged",
            "packing_slip_identifier": "KW88IN1042",
            "reject_reason": "Inventory damaged",
            "order_items": items,
            "created_at": "2024-05-14T16:02:09Z",
            "updated_at": "2024-05-15T14:20:05Z",
        }
    }


def test_the_price_of_a_line_is_the_unit_price_times_the_quantity() -> None:
    """Edge case 39: ``price_cents`` of a line is for its whole quantity, and the order's is the sum."""
    lines = [{"line_id": "a", "sku": "A", "quantity": 7, "unit_price_cents": 1999, "line_total_cents": 1}]

    body = the_body(a_client(), an_order(lines=lines), cancelled())

    assert body["order"]["order_items"][0]["price_cents"] == 7 * 1999
    assert body["order"]["price_cents"] == 7 * 1999


def test_an_order_without_prices_takes_the_default_price() -> None:
    lines = [{"line_id": "a", "sku": "A", "quantity": 7}, {"line_id": "b", "sku": "B", "quantity": 1}]

    body = the_body(a_client_with_defaults(price_cents=0), an_order(lines=lines), cancelled())

    assert [item["price_cents"] for item in body["order"]["order_items"]] == [0, 0]
    assert body["order"]["price_cents"] == 0


def test_the_price_of_a_retailops_line_is_nothing_unless_told() -> None:
    """RetailOps names no price, so a cancellation of its orders must not wait for one."""
    lines = [{"line_id": "a", "sku": "A", "quantity": 7}]
    order = an_order(source="retailops", lines=lines)

    assert the_body(a_client(), order, cancelled())["order"]["price_cents"] == 0
    priced = the_body(a_client_with_defaults(price_cents=5), order, cancelled())
    assert priced["order"]["price_cents"] == 5


def test_an_unknown_address_is_an_empty_object() -> None:
    body = the_body(a_client(), an_order(ship_to=None), cancelled())

    assert body["order"]["billing_address"] == {}
    assert body["order"]["shipping_address"] == {}


def test_charges_of_lines_go_to_the_lines_and_add_up_for_the_order() -> None:
    charges = {"lines": {"line-case": {"tax_cents": 480}, "line-chg": {"tax_cents": 147}}}

    body = the_body(a_client(), an_order(), cancelled(charges=charges))

    assert [item["tax_cents"] for item in body["order"]["order_items"]] == [480, 147]
    assert body["order"]["tax_cents"] == 627


def test_a_cancellation_without_values_names_every_field() -> None:
    bare = a_client(defaults={"tax_cents": None}, shipping_methods={})
    lines = [{"line_id": "a", "sku": "A", "quantity": 1}]

    # A TOML file cannot say null, but the model of the settings can.
    with pytest.raises(InvalidMessage) as raised:
        every_webhook(bare, an_order(lines=lines), cancelled())

    for path in (
        "order.brand",
        "order.shipping_method",
        "order.price_cents",
        "order.tax_cents",
        "order.order_items.0.brand",
        "order.order_items.0.condition",
        "order.order_items.0.price_cents",
        "order.order_items.0.tax_cents",
    ):
        assert path in str(raised.value)


def test_what_many_lines_lack_is_named_once_and_before_any_remedy() -> None:
    lines = [{"line_id": f"line-{n}", "sku": f"SKU-{n}", "quantity": 1} for n in range(125)]

    with pytest.raises(InvalidMessage) as raised:
        every_webhook(a_client(defaults={}, shipping_methods={}), an_order(lines=lines), cancelled())

    # As much of a reason as a letter's header holds.
    reason = str(raised.value)[:500]
    for path in (
        "order.brand",
        "order.shipping_method",
        "order.price_cents",
        "order.order_items.*.brand",
        "order.order_items.*.condition",
        "order.order_items.*.price_cents",
    ):
        assert path in reason


def test_an_amount_beyond_what_json_readers_can_hold_is_a_fault_and_no_crash() -> None:
    lines = [{"line_id": "a", "sku": "A", "quantity": 10**9, "unit_price_cents": 10**12}]

    with pytest.raises(InvalidMessage, match=r"order\.order_items\.0\.price_cents"):
        every_webhook(a_client(), an_order(lines=lines), cancelled())


# --- partial cancellation ----------------------------------------------------------------------------------


def test_a_partial_cancellation_lists_only_the_lines_with_something_cancelled() -> None:
    body = the_body(a_client(), an_order(), shipped(), cancelled({"line_id": "line-chg", "quantity": 1}))

    assert body == {
        "order": {
            "client_identifier": "7a0e5d1c",
            "status": "shipped",
            "order_items": [
                {
                    "client_identifier": "line-chg",
                    "status": "cancelled",
                    "quantity": 1,
                    "cancelled_quantity": 1,
                }
            ],
        }
    }


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ((), "accepted"),
        ((shipped({**PARCEL, "items": [{"line_id": "line-case", "quantity": 1}]}),), "partially_shipped"),
        ((shipped(),), "shipped"),
    ],
)
def test_the_status_of_a_partial_cancellation_is_that_of_the_rest(
    before: tuple[AnyEvent, ...], status: str
) -> None:
    body = the_body(a_client(), an_order(), *before, cancelled({"sku": "NF-CHG-30"}))

    assert body["order"]["status"] == status


def test_an_order_cancelled_step_by_step_ends_in_its_cancellation() -> None:
    """Edge case 36: a partial cancellation for each step, and the whole-order cancellation in place of the last."""
    first = cancelled({"line_id": "line-case", "quantity": 1}, id_="FUL-1")
    second = cancelled({"line_id": "line-case", "quantity": 1}, id_="FUL-2")
    last = cancelled({"line_id": "line-chg"}, id_="FUL-3")

    steps = every_webhook(a_client(), an_order(), first, second, last)

    made = [webhook for step in steps for webhook in step]
    assert [webhook.kind for webhook in made] == [
        Kind.PARTIAL_CANCELLATION,
        Kind.PARTIAL_CANCELLATION,
        Kind.CANCELLATION,
    ]
    (item,) = json.loads(made[1].body)["order"]["order_items"]
    assert (item["quantity"], item["cancelled_quantity"]) == (2, 2)
    assert [item["quantity"] for item in json.loads(made[2].body)["order"]["order_items"]] == [2, 1]


def test_the_last_step_stays_partial_if_something_was_shipped() -> None:
    """Edge case 36, the other side: what is left of a shipped order never becomes a whole-order cancellation."""
    steps = every_webhook(a_client(), an_order(), shipped(), cancelled())

    (webhook,) = steps[-1]
    assert webhook.kind is Kind.PARTIAL_CANCELLATION


# --- disposition -------------------------------------------------------------------------------------------


def test_a_disposition_update_is_flat_and_has_a_timestamp_without_a_zone() -> None:
    (webhook,) = webhooks(disposition_changed(), None, None, a_client())

    assert json.loads(webhook.body) == {
        "from_disposition": "rtv",
        "to_disposition": "rts_drop_ship",
        "timestamp": "2024-05-16T11:03:27",
        "location_identifier": "RTS-2041",
        "warehouse_identifier": "22",
        "optiturn_lp": "LPNF0093127",
        "program_identifier": "parcel_returns",
        "from_sku": "NF-CASE-GRA",
        "to_sku": "NF-CASE-GRA",
        "upc": "0812345678905",
        "from_condition": "TT",
        "to_condition": "N",
        "reference_unit_identifier": "UNIT-77120",
        "store_identifier": "41902",
    }
    assert webhook.order_id is None
    assert webhook.effect_key == "webhook:acme:disposition:UNIT-1"


def test_an_unknown_disposition_passes_and_an_unknown_condition_does_not() -> None:
    """Edge case 38: dispositions are an open list, conditions a closed one."""
    (webhook,) = webhooks(disposition_changed(from_disposition="needs_testing"), None, None, a_client())

    assert json.loads(webhook.body)["from_disposition"] == "needs_testing"
    with pytest.raises(ValidationError, match="to_condition"):
        disposition_changed(to_condition="Z")


def test_the_place_of_a_unit_may_come_from_the_defaults_and_its_moment_from_the_event() -> None:
    client = a_client_with_defaults(
        location_identifier="L-1", warehouse_identifier="W-1", program_identifier="P-1"
    )
    event = disposition_changed(
        timestamp=None, location_identifier=None, warehouse_identifier=None, program_identifier=None
    )

    (webhook,) = webhooks(event, None, None, client)

    body = json.loads(webhook.body)
    assert (body["location_identifier"], body["warehouse_identifier"]) == ("L-1", "W-1")
    assert (body["program_identifier"], body["timestamp"]) == ("P-1", "2024-05-15T14:20:05")


def test_a_unit_without_a_place_names_every_missing_field() -> None:
    event = disposition_changed(location_identifier=None, warehouse_identifier=None, program_identifier=None)

    with pytest.raises(InvalidMessage) as raised:
        webhooks(event, None, None, a_client())

    for path in ("location_identifier", "warehouse_identifier", "program_identifier"):
        assert f"{path} of unit.disposition_changed, or in [webhooks.defaults]" in str(raised.value)


# --- all of them -------------------------------------------------------------------------------------------


def test_no_key_outside_the_closed_lists_is_in_any_body() -> None:
    """Edge case 37: every object of every body, against the lists of the documents."""
    client = a_client()
    order = an_order(ship_to={**ORDER["ship_to"], "company": "Northfork", "street2": "Suite 2"})
    steps = [
        *every_webhook(client, order, shipped(PARCEL, SECOND_PARCEL)),
        *every_webhook(client, order, cancelled(reason="Not found", charges={"processing_fee_cents": 5})),
        *every_webhook(client, order, cancelled({"line_id": "line-case", "reason": "Lost"})),
        webhooks(disposition_changed(user_login="jo", clients=["acme"]), None, None, client),
    ]

    made = [webhook for step in steps for webhook in step]

    assert {webhook.kind for webhook in made} == set(Kind)
    for webhook in made:
        for path, found in objects(json.loads(webhook.body)):
            assert found.keys() <= CLOSED_LISTS[webhook.kind][path], f"{webhook.kind}: {path}"
        assert b"null" not in webhook.body


def test_the_same_event_gives_the_same_bytes_however_late() -> None:
    order = an_order()
    ((event, after, applied),) = applied_in_turn(order, cancelled({"line_id": "line-case", "quantity": 1}))
    later = applied_in_turn(after, shipped({**PARCEL, "items": None}))[-1][1]

    assert webhooks(event, after, applied, a_client()) == webhooks(event, later, applied, a_client())


@pytest.mark.parametrize(
    ("absent", "events"),
    [
        ("confirmation_url", [shipped()]),
        ("cancellation_url", [cancelled()]),
        ("partial_cancellation_url", [shipped(), cancelled()]),
    ],
)
def test_a_webhook_without_an_address_is_not_sent(absent: str, events: list[AnyEvent]) -> None:
    steps = every_webhook(a_client(**{absent: None}), an_order(), *events)

    assert steps[-1] == ()


def test_an_event_that_concerns_no_webhook_makes_none() -> None:
    event = an_event("order.accepted", {"order_id": ORDER["order_id"]})

    assert every_webhook(a_client(), an_order(), event) == [()]
