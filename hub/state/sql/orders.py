"""Orders with lines and packages, as SQL operations (see ``OrderStore``): recorded, loaded and found.

What happens to them later is written by ``sql_apply``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, or_, select, union

from hub.errors import InvalidMessage, UnknownOrder
from hub.models.events import AnyEvent, OrderCreated
from hub.models.order import Hold, Line, Order, Package
from hub.models.types import OrderId
from hub.state.engine.bulk_insert import insert_rows
from hub.state.engine.upsert import in_lists
from hub.state.schema import order_lines, orders, packages

# What fulfillment events change of a line; columns and fields have the same names.
STATUS = (
    "shipped",
    "cancelled",
    "hold",
    "hold_message",
    "status_at",
    "accepted_at",
    "reason",
    "reason_at",
)
_ORDER_COLUMNS = (orders.c.order_id, orders.c.details, orders.c.changed_at)
_LINE_COLUMNS = (
    order_lines.c.order_id,
    order_lines.c.line_id,
    order_lines.c.sku,
    order_lines.c.quantity,
    order_lines.c.catalog_id,
    order_lines.c.unit_price_cents,
    *(order_lines.c[name] for name in STATUS),
)

# Built once: SQLAlchemy's cache spares compiling a statement, not building it.
_ORDERS = select(*_ORDER_COLUMNS).where(orders.c.order_id.in_(bindparam("of_orders", expanding=True)))
_LINES = (
    select(*_LINE_COLUMNS)
    .where(order_lines.c.order_id.in_(bindparam("of_orders", expanding=True)))
    .order_by(order_lines.c.position)
)
_PACKAGES = (
    select(packages)
    .where(packages.c.order_id.in_(bindparam("of_orders", expanding=True)))
    .order_by(packages.c.position)
)
_RECORDED_BY = select(orders.c.order_id, orders.c.created_by_event).where(
    orders.c.order_id.in_(bindparam("of_orders", expanding=True))
)
_RECORD = insert(orders)
_RECORDED = (
    *("order_id", "source", "account", "source_order_id", "created_by_event"),
    *("order_number", "po_reference", "created_at", "recorded_at", "details"),
)
ADD_LINES = insert(order_lines)
_NEW_LINE = (
    *("order_id", "position", "line_id", "sku", "catalog_id", "quantity", "unit_price_cents"),
    *("shipped", "cancelled"),
)
_NEWEST_FIRST: tuple[ColumnElement[Any], ...] = (
    orders.c.recorded_at.desc(),
    orders.c.created_at.desc(),
    orders.c.order_id.desc(),
)


def record_orders(connection: Connection, events: Sequence[AnyEvent]) -> frozenset[str]:
    """Insert the orders that are not there yet, and give the events whose order another event had recorded."""
    first: dict[str, AnyEvent] = {}
    for event in events:
        first.setdefault(_created(event).order_id, event)
    if not first:
        return frozenset()
    # What is read here stays true until the commit: one process at a time writes.
    recorded_by: dict[str, str] = {}
    for part in in_lists(list(first)):
        rows = connection.execute(_RECORDED_BY, {"of_orders": list(part)})
        recorded_by.update((row.order_id, row.created_by_event) for row in rows)
    new = {order_id: event for order_id, event in first.items() if order_id not in recorded_by}
    now = datetime.now(UTC)
    insert_rows(
        connection, _RECORD, _RECORDED, [_order_row(_created(event), event.id, now) for event in new.values()]
    )
    insert_rows(
        connection,
        ADD_LINES,
        _NEW_LINE,
        [row for event in new.values() for row in _new_lines(_created(event))],
    )
    recorded_by.update((order_id, event.id) for order_id, event in new.items())
    return frozenset(event.id for event in events if recorded_by[_created(event).order_id] != event.id)


def load_order(connection: Connection, order_id: str) -> Order:
    """Return an order; raises ``UnknownOrder`` if no producer has recorded it."""
    found = load_orders(connection, [order_id])
    if not found:
        raise unknown(order_id)
    return found[order_id]


def load_orders(connection: Connection, order_ids: Sequence[str]) -> dict[str, Order]:
    """Return those of these orders that are recorded, by id."""
    rows = [
        row for part in in_lists(order_ids) for row in connection.execute(_ORDERS, {"of_orders": list(part)})
    ]
    return {order.order_id: order for order in _with_parts(connection, rows)}


def known_orders(connection: Connection, order_ids: Sequence[str]) -> frozenset[str]:
    """Return those of ``order_ids`` whose order is recorded."""
    known: set[str] = set()
    for part in in_lists(order_ids):
        known.update(connection.scalars(select(orders.c.order_id).where(orders.c.order_id.in_(part))))
    return frozenset(known)


def find_orders(connection: Connection, text: str, limit: int) -> Sequence[Order]:
    """Find orders by hub id, PO, printable id, tracking number or SKU, each as a whole; newest first."""
    # A union of index look-ups: with OR the planner may walk all orders by age instead.
    ids = union(
        select(orders.c.order_id).where(
            or_(
                orders.c.order_id == text,
                orders.c.source_order_id == text,
                orders.c.order_number == text,
                orders.c.po_reference == text,
            )
        ),
        select(packages.c.order_id).where(packages.c.tracking_number == text),
        select(order_lines.c.order_id).where(order_lines.c.sku == text),
    ).subquery()
    rows = connection.execute(
        select(*_ORDER_COLUMNS)
        .where(orders.c.order_id.in_(select(ids.c.order_id)))
        .order_by(*_NEWEST_FIRST)
        .limit(limit)
    )
    return _with_parts(connection, rows.all())


def newest_orders(connection: Connection, limit: int) -> Sequence[Order]:
    """Return the orders recorded last, newest first."""
    rows = connection.execute(select(*_ORDER_COLUMNS).order_by(*_NEWEST_FIRST).limit(limit))
    return _with_parts(connection, rows.all())


def unknown(order_id: str) -> UnknownOrder:
    """Return the error for an order that is not there."""
    return UnknownOrder(
        f"expected an order that a producer of this hub has recorded, got {order_id!r}", field="order_id"
    )


def _created(event: AnyEvent) -> OrderCreated:
    if not isinstance(event.data, OrderCreated):
        raise InvalidMessage(f"expected an order.created event, got {event.type}", field="type")
    return event.data


def _order_row(details: OrderCreated, event_id: str, now: datetime) -> tuple[Any, ...]:
    return (
        details.order_id,
        details.source,
        # Of the id, since that account chooses the partner client for whatever comes later.
        OrderId.parse(details.order_id).account,
        details.source_order_id,
        event_id,
        details.order_number,
        details.po_reference,
        details.created_at,
        now,
        _as_json(details),
    )


def _new_lines(details: OrderCreated) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the lines of an order of which nothing is shipped or cancelled."""
    for position, line in enumerate(details.lines, start=1):
        yield (
            details.order_id,
            position,
            line.line_id,
            line.sku,
            line.catalog_id,
            line.quantity,
            line.unit_price_cents,
            0,
            0,
        )


def details_row(details: OrderCreated) -> dict[str, Any]:
    """Return the columns that hold what is ordered."""
    return {
        "source": details.source,
        "source_order_id": details.source_order_id,
        "order_number": details.order_number,
        "po_reference": details.po_reference,
        "created_at": details.created_at,
        "details": _as_json(details),
    }


def _as_json(details: OrderCreated) -> orjson.Fragment:
    # Written by the model itself: as Python objects in between it takes three times as long.
    return orjson.Fragment(details.model_dump_json(exclude_none=True))


def line_rows(order: Order) -> list[dict[str, Any]]:
    """Return the rows of an order's lines."""
    return [
        {
            "order_id": order.order_id,
            "position": position,
            "line_id": line.line_id,
            "sku": line.sku,
            "catalog_id": line.catalog_id,
            "quantity": line.quantity,
            "unit_price_cents": line.unit_price_cents,
            **status_row(line),
        }
        for position, line in enumerate(order.lines, start=1)
    ]


def status_row(line: Line) -> dict[str, Any]:
    """Return the columns that fulfillment events change."""
    return {name: getattr(line, name) for name in STATUS}


def _with_parts(connection: Connection, found: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Order]:
    lines: dict[str, list[Line]] = {row.order_id: [] for row in found}
    parcels: dict[str, list[Package]] = {row.order_id: [] for row in found}
    for part in in_lists(list(lines)):
        of_orders = {"of_orders": list(part)}
        for row in connection.execute(_LINES, of_orders):
            lines[row.order_id].append(_line(row))
        for row in connection.execute(_PACKAGES, of_orders):
            parcels[row.order_id].append(_package(row))
    return [_order(row, lines[row.order_id], parcels[row.order_id]) for row in found]


def _order(row: Row[*tuple[Any, ...]], lines: Sequence[Line], parcels: Sequence[Package]) -> Order:
    return Order(
        OrderCreated.model_validate(row.details),
        lines=tuple(lines),
        packages=tuple(parcels),
        changed_at=row.changed_at,
    )


def _line(row: Row[*tuple[Any, ...]]) -> Line:
    return Line(
        line_id=row.line_id,
        sku=row.sku,
        quantity=row.quantity,
        catalog_id=row.catalog_id,
        unit_price_cents=row.unit_price_cents,
        shipped=row.shipped,
        cancelled=row.cancelled,
        hold=None if row.hold is None else Hold(row.hold),
        hold_message=row.hold_message,
        status_at=row.status_at,
        accepted_at=row.accepted_at,
        reason=row.reason,
        reason_at=row.reason_at,
    )


def _package(row: Row[*tuple[Any, ...]]) -> Package:
    return Package.model_validate({name: getattr(row, name) for name in Package.model_fields})
