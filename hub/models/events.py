"""The canonical events: one pydantic model per type, and the table that names them.

Events are in the past tense. The envelope is CloudEvents 1.0; how it becomes bytes is ``hub.amqp.codec``.
Unknown fields are ignored, so that publishers may be newer than the hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hub.models.values import AnyText, OrderKey, Remark, Text, Timestamp

Quantity = Annotated[int, Field(ge=1, le=1_000_000_000)]
Cents = Annotated[int, Field(ge=0, le=10**12)]


class Payload(BaseModel):
    """What an event says; the ``data`` of the CloudEvent."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class OrderPayload(Payload):
    """A payload about one order."""

    order_id: OrderKey


# --- what producers tell the world -------------------------------------------------------------------------


class Address(Payload):
    """Where an order goes. Personal: never logged."""

    name: AnyText | None = None
    company: AnyText | None = None
    phone: AnyText | None = None
    street1: AnyText | None = None
    street2: AnyText | None = None
    city: AnyText | None = None
    region: AnyText | None = None
    region_code: AnyText | None = None
    postal_code: AnyText | None = None
    country: AnyText | None = None
    country_code: AnyText | None = None
    address_type: AnyText | None = None


class Customer(Payload):
    """Who receives an order. Personal: never logged."""

    id: AnyText | None = None
    first_name: AnyText | None = None
    middle_name: AnyText | None = None
    last_name: AnyText | None = None
    title: AnyText | None = None
    alternate_name: AnyText | None = None


class Seller(Payload):
    """The retailer's company and store."""

    company_id: AnyText | None = None
    location_id: AnyText | None = None


class OrderLine(Payload):
    """One ordered article; prices are in cents of the order's currency."""

    line_id: Text
    sku: Text
    catalog_id: AnyText | None = None
    source_item_id: AnyText | None = None
    description: AnyText | None = None
    quantity: Quantity
    unit_price_cents: Cents | None = None
    line_total_cents: Cents | None = None


class OrderCreated(OrderPayload):
    """A new order from a partner."""

    source: Literal["iqmetrix", "retailops"] | AnyText
    source_account: Text
    source_order_id: Text
    source_event_id: Text
    order_number: AnyText | None = None
    po_reference: AnyText | None = None
    seller: Seller | None = None
    created_at: Timestamp
    submit_after: Timestamp | None = None
    ship_to_store: bool = False
    shipping_method_code: AnyText | None = None
    ship_to: Address | None = None
    customer: Customer | None = None
    notes: tuple[AnyText, ...] = ()
    currency: AnyText | None = None
    lines: Annotated[tuple[OrderLine, ...], Field(min_length=1)]


class OrderChanged(OrderCreated):
    """The lines of a known order differ from what was seen before."""


class StatusLine(Payload):
    """One line of an ``order.status_updated`` event, in the partner's own status names."""

    sku: AnyText | None = None
    catalog_id: AnyText | None = None
    status: AnyText
    quantity: int | None = None
    tracking_number: AnyText | None = None
    carrier: AnyText | None = None
    message: AnyText | None = None


class OrderStatusUpdated(OrderPayload):
    """The partner's feed shows that an update was applied."""

    lines: tuple[StatusLine, ...] = ()


# --- what the world tells the hub --------------------------------------------------------------------------


class LineRef(Payload):
    """Names a line by ``line_id``, or by a ``sku`` that only one line of the order has."""

    line_id: Text | None = None
    sku: Text | None = None

    @model_validator(mode="after")
    def _names_a_line(self) -> LineRef:
        if self.line_id is None and self.sku is None:
            raise ValueError("expected line_id or sku, got neither")
        return self


class LineQuantity(LineRef):
    """A line and how many units of it."""

    quantity: Quantity


class ShippedPackage(Payload):
    """One parcel; weights in pounds, costs in cents. ``items`` absent in the only package: all that is left."""

    package_id: Text | None = None
    carrier: Text
    service: Text | None = None
    tracking_number: Text
    weight_lb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    shipping_cost_cents: Cents | None = None
    items: tuple[LineQuantity, ...] | None = None


class OrderAccepted(OrderPayload):
    """The supplier commits to the order."""


class OrderShipped(OrderPayload):
    """One or more parcels left the warehouse."""

    shipped_at: Timestamp | None = None
    packages: Annotated[tuple[ShippedPackage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _items_may_be_absent_in_the_only_package(self) -> OrderShipped:
        if len(self.packages) > 1:
            for position, package in enumerate(self.packages):
                if not package.items:
                    raise ValueError(
                        f"packages.{position}.items: expected items, since there is more than one package"
                    )
        return self


class CancelledLine(LineRef):
    """A line and how many units of it will not come; ``quantity`` absent: all that is left of the line."""

    quantity: Quantity | None = None
    reason: Remark | None = None


class Charges(Payload):
    """What was charged for a cancelled order, in cents."""

    tax_cents: Cents | None = None
    shipping_cost_cents: Cents | None = None
    shipping_tax_cents: Cents | None = None
    processing_fee_cents: Cents | None = None
    lines: Mapping[AnyText, Charges] | None = None


class OrderCancelled(OrderPayload):
    """Lines, parts of lines or (without ``lines``) all that is left will not be shipped."""

    reason: Remark | None = None
    lines: tuple[CancelledLine, ...] | None = None
    charges: Charges | None = None


class OrderBackordered(OrderPayload):
    """Lines (without ``lines``: all) are temporarily out of stock."""

    lines: tuple[LineRef, ...] | None = None
    message: Remark | None = None
    estimated_ship_date: Timestamp | None = None


class OrderShipDateEstimated(OrderPayload):
    """When lines (without ``lines``: all) are expected to leave."""

    estimated_ship_date: Timestamp
    lines: tuple[LineRef, ...] | None = None


class OrderFailed(OrderPayload):
    """Something is wrong with lines (without ``lines``: all) that a person must sort out."""

    status: Literal["Error", "NotAvailable", "Other"]
    lines: tuple[LineRef, ...] | None = None
    message: Remark | None = None


class StockCount(Payload):
    """How many units of one SKU can be sold; negative counts are read as none."""

    sku: Text
    quantity: int


class InventoryCounted(Payload):
    """New stock counts, for all sources or those listed."""

    items: Annotated[tuple[StockCount, ...], Field(min_length=1)]
    sources: tuple[AnyText, ...] | None = None


Condition = Literal["N", "TT", "R", "A", "B", "C", "X"]


class UnitDispositionChanged(Payload):
    """One unit moved from one disposition to another (Optoro Disposition Update)."""

    from_disposition: Text
    to_disposition: Text
    timestamp: Timestamp | None = None
    location_identifier: Text | None = None
    warehouse_identifier: Text | None = None
    optiturn_lp: Text
    program_identifier: Text | None = None
    upc: Text
    from_condition: Condition
    to_condition: Condition
    from_sku: Text | None = None
    to_sku: Text | None = None
    reference_unit_identifier: Text | None = None
    store_identifier: Text | None = None
    user_login: Text | None = None
    clients: tuple[AnyText, ...] | None = None


# --- the envelope ------------------------------------------------------------------------------------------

P = TypeVar("P", bound=Payload, covariant=True)


@dataclass(frozen=True, slots=True)
class Event(Generic[P]):
    """A CloudEvent with a decoded payload. ``id`` is the same whenever the same thing is told again."""

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: P
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def order_id(self) -> str | None:
        """The order it is about, if it is about one."""
        return getattr(self.data, "order_id", None)


AnyEvent = Event[Any]

DEFAULT_SOURCE = "/amqp"
"""The source of an event whose message names none (plain JSON)."""

ORDERS = "hub.orders"
FULFILLMENT = "hub.fulfillment"


@dataclass(frozen=True, slots=True)
class EventType:
    """One row of the table of types: its model, and the exchange it is published on."""

    name: str
    payload: type[Payload]
    exchange: str
    by_source: bool = True
    """Whether the routing key may end in the source of the order."""

    def routing_key(self, source: str | None = None) -> str:
        """Give the key to publish under; ``source`` is appended when given and the type has sources."""
        return f"{self.name}.{source}" if source and self.by_source else self.name


EVENT_TYPES: Mapping[str, EventType] = {
    row.name: row
    for row in (
        EventType("order.created", OrderCreated, ORDERS),
        EventType("order.changed", OrderChanged, ORDERS),
        EventType("order.status_updated", OrderStatusUpdated, ORDERS),
        EventType("order.accepted", OrderAccepted, FULFILLMENT),
        EventType("order.shipped", OrderShipped, FULFILLMENT),
        EventType("order.cancelled", OrderCancelled, FULFILLMENT),
        EventType("order.backordered", OrderBackordered, FULFILLMENT),
        EventType("order.ship_date_estimated", OrderShipDateEstimated, FULFILLMENT),
        EventType("order.failed", OrderFailed, FULFILLMENT),
        EventType("inventory.counted", InventoryCounted, FULFILLMENT, by_source=False),
        EventType("unit.disposition_changed", UnitDispositionChanged, FULFILLMENT, by_source=False),
    )
}
