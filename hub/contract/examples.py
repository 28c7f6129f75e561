"""One source for every example: the documents quote them, and the tests publish them.

A name is a file name below ``schemas/examples``; the first example of a type bears the type's own. People and
addresses are invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hub.models.events import EVENT_TYPES, ORDERS, AnyEvent, Event

_IQMETRIX_ORDER = "iqmetrix:71204:7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"
_RETAILOPS_ORDER = "retailops:27:D48213"
_CASE, _CHARGER = "8f0f6c0a-0a1e-4c43-9a0b-3d5d3f2e9b10", "c1d5a1b7-2f5e-4c0a-8a66-11d2d4f0ab21"


@dataclass(frozen=True, slots=True)
class Example:
    """The data of one event, and what it shows."""

    type: str
    summary: str
    data: Mapping[str, Any] = field(repr=False)
    variant: str = ""

    @property
    def name(self) -> str:
        """The type, and the variant behind it if it is not the first of its type."""
        return f"{self.type}.{self.variant}" if self.variant else self.type

    def event(self) -> AnyEvent:
        """Return the example as an event with an envelope."""
        kind = EVENT_TYPES[self.type]
        partner = (
            "/retailops/vendors/27" if self.data.get("source") == "retailops" else "/iqmetrix/suppliers/71204"
        )
        return Event(
            id=f"example:{self.name}",
            type=self.type,
            source=partner if kind.exchange == ORDERS else "/warehouse",
            subject=self.data.get("order_id", ""),
            time=datetime(2024, 5, 15, 14, 20, 5, tzinfo=UTC),
            data=kind.payload.model_validate(self.data),
        )


_ORDER_CREATED: dict[str, Any] = {
    "order_id": _IQMETRIX_ORDER,
    "source": "iqmetrix",
    "source_account": "71204",
    "source_order_id": "7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30",
    "source_event_id": "urn:uuid:0b8c1c0e-66a1-4c1f-9f2e-8c5a2f1b7a01",
    "order_number": "KW88IN1042",
    "po_reference": "KW88IN1042",
    "seller": {"company_id": "41870", "location_id": "41902"},
    "created_at": "2024-05-14T16:02:09Z",
    "ship_to_store": False,
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
    "customer": {
        "id": "b7f2c9d4-1c33-4a5b-9f0e-7e6d5c4b3a21",
        "first_name": "Dana",
        "last_name": "Whitfield",
    },
    "notes": [],
    "currency": "USD",
    "lines": [
        {
            "line_id": _CASE,
            "sku": "NF-CASE-GRA",
            "catalog_id": _CASE,
            "description": "Rugged Case - Graphite",
            "quantity": 2,
            "unit_price_cents": 3999,
            "line_total_cents": 7998,
        },
        {
            "line_id": _CHARGER,
            "sku": "NF-CHG-30",
            "catalog_id": _CHARGER,
            "description": "USB-C Car Charger 30W",
            "quantity": 1,
            "unit_price_cents": 2450,
            "line_total_cents": 2450,
        },
    ],
}

_PURCHASE_ORDER: dict[str, Any] = {
    "order_id": _RETAILOPS_ORDER,
    "source": "retailops",
    "source_account": "27",
    "source_order_id": "D48213",
    "source_event_id": "sha256:9a0d4c",
    "order_number": "D48213",
    "po_reference": "D48213",
    "created_at": "2024-05-14T15:55:00Z",
    "submit_after": "2024-05-14T15:55:00Z",
    "ship_to_store": False,
    "notes": [],
    "lines": [
        {"line_id": "90311", "source_item_id": "90311", "sku": "NF-CASE-GRA", "quantity": 2},
        {"line_id": "90312", "source_item_id": "90312", "sku": "NF-CHG-30", "quantity": 1},
    ],
}

_PARCEL: dict[str, Any] = {
    "carrier": "UPS",
    "service": "Ground",
    "tracking_number": "1Z863YY60392796356",
    "weight_lb": 2.4,
    "shipping_cost_cents": 912,
}

EXAMPLES: tuple[Example, ...] = (
    Example("order.created", "An order from the iQmetrix feed", _ORDER_CREATED),
    Example(
        "order.created",
        "A RetailOps purchase order: no address, no prices",
        _PURCHASE_ORDER,
        "purchase-order",
    ),
    Example(
        "order.changed",
        "The retailer took a line out of the purchase order",
        _PURCHASE_ORDER | {"source_event_id": "sha256:41f7b2", "lines": _PURCHASE_ORDER["lines"][:1]},
    ),
    Example(
        "order.status_updated",
        "iQmetrix shows a line as shipped",
        {
            "order_id": _IQMETRIX_ORDER,
            "lines": [
                {
                    "sku": "NF-CASE-GRA",
                    "catalog_id": _CASE,
                    "status": "Shipped",
                    "quantity": 2,
                    "tracking_number": "1Z863YY60392796356",
                    "carrier": "UPS",
                }
            ],
        },
    ),
    Example("order.accepted", "The supplier commits to the order", {"order_id": _IQMETRIX_ORDER}),
    Example(
        "order.shipped",
        "All that is left of the order, in one parcel",
        {"order_id": _IQMETRIX_ORDER, "packages": [_PARCEL]},
    ),
    Example(
        "order.shipped",
        "Two parcels, each with what is in it",
        {
            "order_id": _RETAILOPS_ORDER,
            "shipped_at": "2024-05-15T14:20:05Z",
            "packages": [
                _PARCEL | {"package_id": "PKG-1", "items": [{"line_id": "90311", "quantity": 2}]},
                _PARCEL
                | {
                    "package_id": "PKG-2",
                    "tracking_number": "1Z863YY60392796365",
                    "items": [{"sku": "NF-CHG-30", "quantity": 1}],
                },
            ],
        },
        "two-parcels",
    ),
    Example(
        "order.cancelled",
        "One unit of one line will not come",
        {
            "order_id": _IQMETRIX_ORDER,
            "lines": [{"sku": "NF-CHG-30", "quantity": 1, "reason": "Not found in warehouse"}],
        },
    ),
    Example(
        "order.cancelled",
        "All that is left, with what was charged",
        {
            "order_id": _IQMETRIX_ORDER,
            "reason": "Customer asked for it",
            "charges": {"processing_fee_cents": 250, "lines": {_CASE: {"tax_cents": 0}}},
        },
        "whole-order",
    ),
    Example(
        "order.backordered",
        "One line is out of stock until June",
        {
            "order_id": _IQMETRIX_ORDER,
            "lines": [{"sku": "NF-CHG-30"}],
            "message": "Back in stock in June",
            "estimated_ship_date": "2024-06-03T00:00:00Z",
        },
    ),
    Example(
        "order.ship_date_estimated",
        "The whole order leaves on Friday",
        {"order_id": _RETAILOPS_ORDER, "estimated_ship_date": "2024-05-17T20:00:00Z"},
    ),
    Example(
        "order.failed",
        "One line cannot be had any more",
        {
            "order_id": _IQMETRIX_ORDER,
            "status": "NotAvailable",
            "lines": [{"line_id": _CHARGER}],
            "message": "Discontinued by the manufacturer",
        },
    ),
    Example(
        "inventory.counted",
        "Counts of two SKUs, for every partner",
        {"items": [{"sku": "NF-CASE-GRA", "quantity": 42}, {"sku": "NF-CHG-30", "quantity": 0}]},
    ),
    Example(
        "unit.disposition_changed",
        "A returned unit was received and graded",
        {
            "from_disposition": "In Transit",
            "to_disposition": "Received",
            "timestamp": "2024-05-15T14:20:05Z",
            "location_identifier": "A-01-07",
            "warehouse_identifier": "BOI-1",
            "optiturn_lp": "LPN00048213",
            "program_identifier": "returns",
            "upc": "812345678904",
            "from_condition": "N",
            "to_condition": "A",
            "from_sku": "NF-CASE-GRA",
            "to_sku": "NF-CASE-GRA-A",
        },
    ),
)


def examples_of(event_type: str) -> tuple[Example, ...]:
    """Return the examples of one type."""
    return tuple(example for example in EXAMPLES if example.type == event_type)
