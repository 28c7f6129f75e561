"""An order, what happens to it, and a client that hears of it: the material of the webhook tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hub.config.webhooks import WebhookClient
from hub.models.events import (
    EVENT_TYPES,
    AnyEvent,
    Event,
    OrderCreated,
)
from hub.models.order import Applied, Order
from hub.models.order_transitions import apply

ORDER_ID = "iqmetrix:71204:7a0e5d1c"
AT = datetime(2024, 5, 15, 14, 20, 5, tzinfo=UTC)

CLIENT: Mapping[str, Any] = {
    "name": "acme",
    "confirmation_url": "https://acme.example/hooks/drop_shipment_confirmation",
    "cancellation_url": "https://acme.example/hooks/drop_shipment_cancellation",
    "partial_cancellation_url": "https://acme.example/hooks/drop_shipment_partial_cancellation",
    "disposition_url": "https://acme.example/hooks/dispositions",
    "shipping_methods": {"350": "EXPRESS"},
    "defaults": {
        "channel": "rts_drop_ship",
        "brand": "northfork",
        "condition": "N",
        "shipping_method": "STANDARD",
    },
}

ORDER: Mapping[str, Any] = {
    "order_id": ORDER_ID,
    "source": "iqmetrix",
    "source_account": "71204",
    "source_order_id": "7a0e5d1c",
    "source_event_id": "urn:uuid:0b8c1c0e",
    "order_number": "KW88IN1042",
    "created_at": "2024-05-14T16:02:09Z",
    "shipping_method_code": "350",
    "ship_to": {
        "name": "Dana Whitfield",
        "phone": "208-555-0143",
        "street1": "914 W Fort St",
        "city": "Boise",
        "region": "Idaho",
        "region_code": "ID",
        "postal_code": "83702",
        "country": "United States",
        "country_code": "US",
        "address_type": "Home",
    },
    "lines": [
        {"line_id": "line-case", "sku": "NF-CASE-GRA", "quantity": 2, "unit_price_cents": 3999},
        {"line_id": "line-chg", "sku": "NF-CHG-30", "quantity": 1, "unit_price_cents": 2450},
    ],
}

PARCEL: Mapping[str, Any] = {
    "package_id": "PKG-1",
    "carrier": "UPS",
    "service": "Ground",
    "tracking_number": "1Z863YY60392796356",
    "weight_lb": 2.4,
    "shipping_cost_cents": 912,
    "items": [{"line_id": "line-case", "quantity": 2}],
}

SECOND_PARCEL: Mapping[str, Any] = {
    **PARCEL,
    "package_id": "PKG-2",
    "tracking_number": "1Z863YY60392796357",
    "items": [{"line_id": "line-chg", "quantity": 1}],
}

UNIT: Mapping[str, Any] = {
    "from_disposition": "rtv",
    "to_disposition": "rts_drop_ship",
    "timestamp": "2024-05-16T11:03:27Z",
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


def a_client(**changes: Any) -> WebhookClient:
    return WebhookClient.model_validate({**CLIENT, **changes})


def a_client_with_defaults(**changes: Any) -> WebhookClient:
    return a_client(defaults={**CLIENT["defaults"], **changes})


def an_order(**changes: Any) -> Order:
    return Order.new(OrderCreated.model_validate({**ORDER, **changes}))


def an_event(type_: str, data: Mapping[str, Any], *, id_: str = "FUL-1", at: datetime = AT) -> AnyEvent:
    payload = EVENT_TYPES[type_].payload.model_validate(data)
    return Event(id_, type_, "/warehouse", str(data.get("order_id", "")), at, payload)


def shipped(*parcels: Mapping[str, Any], id_: str = "FUL-1") -> AnyEvent:
    return an_event("order.shipped", {"order_id": ORDER_ID, "packages": parcels or (PARCEL,)}, id_=id_)


def cancelled(*lines: Mapping[str, Any], id_: str = "FUL-2", **data: Any) -> AnyEvent:
    of_lines = {"lines": lines} if lines else {}
    return an_event("order.cancelled", {"order_id": ORDER_ID, **of_lines, **data}, id_=id_)


def disposition_changed(**changes: Any) -> AnyEvent:
    return an_event("unit.disposition_changed", {**UNIT, **changes}, id_="UNIT-1")


def applied_in_turn(order: Order, *events: AnyEvent) -> list[tuple[AnyEvent, Order, Applied]]:
    """Give each event with the order after it and what it did."""
    steps = []
    for event in events:
        order, applied = apply(order, event)
        steps.append((event, order, applied))
    return steps
