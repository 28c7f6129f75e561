"""Orders and events to feed stores with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hub.models.events import EVENT_TYPES, AnyEvent, Event

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)


def event(
    type: str, data: dict[str, Any], *, id: str = "e-1", minute: int = 0, source: str = "/test"
) -> AnyEvent:
    payload = EVENT_TYPES[type].payload.model_validate(data)
    subject = str(data.get("order_id", ""))
    return Event(id, type, source, subject, NOON + timedelta(minutes=minute), payload)


def created(order_id: str = "retailops:27:PO-1", *, id: str | None = None, **changes: Any) -> AnyEvent:
    data = {
        "order_id": order_id,
        "source": order_id.split(":")[0],
        "source_account": order_id.split(":")[1],
        "source_order_id": order_id.split(":", 2)[2],
        "source_event_id": "1",
        "created_at": "2026-05-14T11:00:00+02:00",
        "lines": [
            {"line_id": "L1", "sku": "RED", "quantity": 3, "unit_price_cents": 1999},
            {"line_id": "L2", "sku": "BLUE", "quantity": 2, "catalog_id": "C-2"},
        ],
        **changes,
    }
    return event("order.created", data, id=id or f"created:{order_id}")


def changed(lines: list[dict[str, Any]], *, id: str = "o-1", minute: int = 60, **changes: Any) -> AnyEvent:
    announced = created().data.model_dump()
    return event("order.changed", {**announced, "lines": lines, **changes}, id=id, minute=minute)


def shipped(
    *items: tuple[str, int],
    order_id: str = "retailops:27:PO-1",
    id: str = "s-1",
    minute: int = 1,
    **package: Any,
) -> AnyEvent:
    parcel: dict[str, Any] = {"carrier": "UPS", "tracking_number": f"1Z-{id}", **package}
    if items:
        parcel["items"] = [{"line_id": line_id, "quantity": quantity} for line_id, quantity in items]
    return event("order.shipped", {"order_id": order_id, "packages": [parcel]}, id=id, minute=minute)


def cancelled(
    *lines: tuple[str, int],
    order_id: str = "retailops:27:PO-1",
    id: str = "c-1",
    minute: int = 1,
    **more: Any,
) -> AnyEvent:
    data: dict[str, Any] = {"order_id": order_id, **more}
    if lines:
        data["lines"] = [{"line_id": line_id, "quantity": quantity} for line_id, quantity in lines]
    return event("order.cancelled", data, id=id, minute=minute)


def backordered(
    *, order_id: str = "retailops:27:PO-1", id: str = "b-1", minute: int = 1, **more: Any
) -> AnyEvent:
    return event("order.backordered", {"order_id": order_id, **more}, id=id, minute=minute)
