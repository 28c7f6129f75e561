"""The canonical events: their envelope, and the table that names each type with its model and its exchange.

Events are in the past tense. The envelope is CloudEvents 1.0; how it becomes bytes is ``hub.messaging.cloudevents``. The
payloads are written down in ``published`` (what the hub tells) and ``reported`` (what the hub is told); everyone
else takes them from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

from hub.models.frozen import value
from hub.models.fulfillment_events import (
    CancelledLine,
    Charges,
    Condition,
    InventoryCounted,
    LineQuantity,
    LineRef,
    OrderAccepted,
    OrderBackordered,
    OrderCancelled,
    OrderFailed,
    OrderShipDateEstimated,
    OrderShipped,
    ShippedPackage,
    StockCount,
    UnitDispositionChanged,
)
from hub.models.input.quoting import digest
from hub.models.order_events import (
    Address,
    Customer,
    OrderChanged,
    OrderCreated,
    OrderLine,
    OrderStatusUpdated,
    Seller,
    StatusLine,
)
from hub.models.payload import Cents, OrderPayload, Payload, Quantity

__all__ = [
    "DEFAULT_SOURCE",
    "EVENT_TYPES",
    "FULFILLMENT",
    "ORDERS",
    "Address",
    "AnyEvent",
    "CancelledLine",
    "Cents",
    "Charges",
    "Condition",
    "Customer",
    "Event",
    "EventType",
    "InventoryCounted",
    "LineQuantity",
    "LineRef",
    "OrderAccepted",
    "OrderBackordered",
    "OrderCancelled",
    "OrderChanged",
    "OrderCreated",
    "OrderFailed",
    "OrderLine",
    "OrderPayload",
    "OrderShipDateEstimated",
    "OrderShipped",
    "OrderStatusUpdated",
    "Payload",
    "Quantity",
    "Seller",
    "ShippedPackage",
    "StatusLine",
    "StockCount",
    "UnitDispositionChanged",
    "order_of",
    "shown_type",
]

P = TypeVar("P", bound=Payload, covariant=True)


def order_of(payload: Payload) -> str | None:
    """Return the order that a payload is about; asking a model for a field that it lacks costs more than its validation."""
    return payload.order_id if isinstance(payload, OrderPayload) else None


@value(frozen=True, slots=True)
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
    corrected: bool = False
    """Whether an operator has edited it: under its id it may say something else than before."""

    @property
    def order_id(self) -> str | None:
        """The order it is about, if it is about one."""
        return order_of(self.data)


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
        """Return the key to publish under; ``source`` is appended when given and the type has sources."""
        return f"{self.name}.{source}" if source and self.by_source else self.name

    def routing_keys(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Return every key that the type is published under; on ``hub.orders`` each of them ends in a source."""
        with_source = tuple(self.routing_key(source) for source in sources) if self.by_source else ()
        return with_source if self.exchange == ORDERS else (self.name, *with_source)


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

# Types of the hub's own messages that are no events.
_STORED_TYPES = frozenset(
    {
        "webhook.confirmation", "webhook.cancellation", "webhook.partial_cancellation", "webhook.disposition",
        "iqmetrix.entry", "retailops.po",
    }
)  # fmt: skip
_SOURCES = ("iqmetrix", "retailops")


@lru_cache(maxsize=256)
def shown_type(text: str) -> str:
    """Return a message type or routing key as a log line, table or trace shows it: the hub's own, else a digest."""
    if text in EVENT_TYPES or text in _STORED_TYPES or not text:
        return text
    name, _, source = text.rpartition(".")
    return text if name in EVENT_TYPES and source in _SOURCES else digest(text)
