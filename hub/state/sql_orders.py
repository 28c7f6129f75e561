"""Orders with lines and packages, as SQL operations (see ``OrderStore``).

What an event does to an order is decided by ``hub.models.fulfillment.apply``; here the order is loaded, and only what
changed is written back, in a write transaction (one process at a time).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, insert, or_, select, union, update
from sqlalchemy.sql.dml import ReturningInsert

from hub.errors import InvalidMessage, UnknownOrder
from hub.models.events import AnyEvent, OrderCreated
from hub.models.fulfillment import FieldError
from hub.models.fulfillment import apply as apply_to
from hub.models.order import Applied, Hold, Line, Order, Package
from hub.models.values import OrderId
from hub.state.identity import AppliedBefore, refuse_another
from hub.state.tables import order_events, order_lines, orders, packages
from hub.state.upsert import in_lists, insert_into

# What fulfillment events change of a line; columns and fields have the same names.
_STATUS = (
    "shipped",
    "cancelled",
    "hold",
    "hold_message",
    "status_at",
    "accepted_at",
    "reason",
    "reason_at",
)
# What of it a new order's line has; the rest is NULL, and binding that is a good part of what an order costs.
_STATUS_OF_NEW = ("shipped", "cancelled")
_ORDER_COLUMNS = (orders.c.order_id, orders.c.details, orders.c.changed_at)
_LINE_COLUMNS = (
    order_lines.c.order_id,
    order_lines.c.line_id,
    order_lines.c.sku,
    order_lines.c.quantity,
    order_lines.c.catalog_id,
    order_lines.c.unit_price_cents,
    *(order_lines.c[name] for name in _STATUS),
)

# Built once: SQLAlchemy's cache spares compiling a statement, not building it.
_ORDER = select(*_ORDER_COLUMNS).where(orders.c.order_id == bindparam("of_order"))
_LINES = (
    select(*_LINE_COLUMNS)
    .where(order_lines.c.order_id == bindparam("of_order"))
    .order_by(order_lines.c.position)
)
_PACKAGES = select(packages).where(packages.c.order_id == bindparam("of_order")).order_by(packages.c.position)
_EVENT = select(
    order_events.c.order_id, order_events.c.type, order_events.c.source, order_events.c.applied
).where(order_events.c.event_id == bindparam("of_event"))
_ADD_LINES = insert(order_lines)
_ADD_PACKAGES = insert(packages)
_ADD_EVENT = insert(order_events)
_CHANGE_ORDER = update(orders).where(orders.c.order_id == bindparam("of_order"))
_DROP_LINES = delete(order_lines).where(order_lines.c.order_id == bindparam("of_order"))
_CHANGE_LINES = (
    update(order_lines)
    .where(
        order_lines.c.order_id == bindparam("of_order"), order_lines.c.position == bindparam("of_position")
    )
    .values(
        {name: bindparam(name) for name in _STATUS},
    )
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
    now = datetime.now(UTC)
    inserted = set(
        connection.scalars(
            _record(connection.dialect.name),
            [_order_row(_created(event), event.id, now) for event in first.values()],
        )
    )
    lines = [
        row
        for order_id in inserted
        for row in _line_rows(Order.new(_created(first[order_id])), _STATUS_OF_NEW)
    ]
    if lines:
        connection.execute(_ADD_LINES, lines)
    recorded_by = {order_id: first[order_id].id for order_id in inserted}
    for part in in_lists([order_id for order_id in first if order_id not in inserted]):
        known = select(orders.c.order_id, orders.c.created_by_event).where(orders.c.order_id.in_(part))
        recorded_by.update((row.order_id, row.created_by_event) for row in connection.execute(known))
    return frozenset(event.id for event in events if recorded_by[_created(event).order_id] != event.id)


def load_order(connection: Connection, order_id: str) -> Order:
    """Give an order; raises ``UnknownOrder`` if no producer has recorded it."""
    found = connection.execute(_ORDER, {"of_order": order_id}).first()
    if found is None:
        raise unknown(order_id)
    return _with_its_parts(connection, found)


def known_orders(connection: Connection, order_ids: Sequence[str]) -> frozenset[str]:
    """Give those of ``order_ids`` whose order is recorded."""
    known: set[str] = set()
    for part in in_lists(order_ids):
        known.update(connection.scalars(select(orders.c.order_id).where(orders.c.order_id.in_(part))))
    return frozenset(known)


def apply(connection: Connection, event: AnyEvent) -> tuple[Order, Applied]:
    """Apply an event once; see ``OrderStore.apply``."""
    order_id = event.order_id
    if order_id is None:
        raise InvalidMessage(f"expected an event about an order, got {event.type}", field="order_id")
    found = connection.execute(_ORDER, {"of_order": order_id}).first()
    if found is None:
        raise unknown(order_id)
    known = connection.execute(_EVENT, {"of_event": event.id}).first()
    order = _with_its_parts(connection, found)
    if known is not None:
        refuse_another(event, AppliedBefore(known.order_id, known.type, known.source))
        return order, Applied.model_validate(known.applied)
    try:
        after, applied = apply_to(order, event)
    except FieldError as fault:
        raise InvalidMessage(str(fault), field=fault.field) from None
    _write_changes(connection, order, after)
    connection.execute(
        _ADD_EVENT,
        {
            "event_id": event.id,
            "source": event.source,
            "order_id": order_id,
            "type": event.type,
            "happened_at": event.time,
            "applied_at": datetime.now(UTC),
            "applied": applied.model_dump(mode="json", exclude_defaults=True),
        },
    )
    return after, applied


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
    """Give the orders recorded last, newest first."""
    rows = connection.execute(select(*_ORDER_COLUMNS).order_by(*_NEWEST_FIRST).limit(limit))
    return _with_parts(connection, rows.all())


def unknown(order_id: str) -> UnknownOrder:
    """Give the error for an order that is not there."""
    return UnknownOrder(
        f"expected an order that a producer of this hub has recorded, got {order_id!r}", field="order_id"
    )


def _created(event: AnyEvent) -> OrderCreated:
    if not isinstance(event.data, OrderCreated):
        raise InvalidMessage(f"expected an order.created event, got {event.type}", field="type")
    return event.data


def _order_row(details: OrderCreated, event_id: str, now: datetime) -> dict[str, Any]:
    return {
        "order_id": details.order_id,
        # Of the id, since that account chooses the partner client for whatever comes later.
        "account": OrderId.parse(details.order_id).account,
        "created_by_event": event_id,
        "recorded_at": now,
        **_details_row(details),
    }


def _details_row(details: OrderCreated) -> dict[str, Any]:
    return {
        "source": details.source,
        "source_order_id": details.source_order_id,
        "order_number": details.order_number,
        "po_reference": details.po_reference,
        "created_at": details.created_at,
        "details": details.model_dump(mode="json", exclude_none=True),
    }


def _line_rows(order: Order, status: Sequence[str] = _STATUS) -> list[dict[str, Any]]:
    return [
        {
            "order_id": order.order_id,
            "position": position,
            "line_id": line.line_id,
            "sku": line.sku,
            "catalog_id": line.catalog_id,
            "quantity": line.quantity,
            "unit_price_cents": line.unit_price_cents,
            **_status(line, status),
        }
        for position, line in enumerate(order.lines, start=1)
    ]


def _status(line: Line, names: Sequence[str] = _STATUS) -> dict[str, Any]:
    return {name: getattr(line, name) for name in names}


def _write_changes(connection: Connection, before: Order, after: Order) -> None:
    # The details too: a second change of the same moment is applied and leaves changed_at as it was.
    if (after.changed_at, after.details) != (before.changed_at, before.details):
        _write_order(connection, after)
    else:
        _write_line_status(connection, before, after)
    added = [
        {"order_id": after.order_id, "position": position, **_package_row(package)}
        for position, package in enumerate(after.packages, start=1)
        if position > len(before.packages)
    ]
    if added:
        connection.execute(_ADD_PACKAGES, added)


def _write_order(connection: Connection, order: Order) -> None:
    """Write what is ordered anew: lines come, go and move, so none of them keeps its row."""
    key = {"of_order": order.order_id}
    connection.execute(_CHANGE_ORDER.values(changed_at=order.changed_at, **_details_row(order.details)), key)
    connection.execute(_DROP_LINES, key)
    connection.execute(_ADD_LINES, _line_rows(order))


def _write_line_status(connection: Connection, before: Order, after: Order) -> None:
    changed = [
        {"of_order": after.order_id, "of_position": position, **_status(line)}
        for position, (old, line) in enumerate(zip(before.lines, after.lines, strict=True), start=1)
        if line != old
    ]
    if changed:
        connection.execute(_CHANGE_LINES, changed)


def _package_row(package: Package) -> dict[str, Any]:
    # Not model_dump(mode="json"): shipped_at stays a datetime for its column.
    row = {name: getattr(package, name) for name in Package.model_fields if name != "items"}
    return {**row, "items": [item.model_dump() for item in package.items]}


def _with_its_parts(connection: Connection, row: Row[*tuple[Any, ...]]) -> Order:
    key = {"of_order": row.order_id}
    return _order(
        row,
        [_line(line) for line in connection.execute(_LINES, key)],
        [_package(package) for package in connection.execute(_PACKAGES, key)],
    )


def _with_parts(connection: Connection, found: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Order]:
    lines: dict[str, list[Line]] = {row.order_id: [] for row in found}
    parcels: dict[str, list[Package]] = {row.order_id: [] for row in found}
    for part in in_lists(list(lines)):
        for row in connection.execute(
            select(*_LINE_COLUMNS).where(order_lines.c.order_id.in_(part)).order_by(order_lines.c.position)
        ):
            lines[row.order_id].append(_line(row))
        for row in connection.execute(
            select(packages).where(packages.c.order_id.in_(part)).order_by(packages.c.position)
        ):
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


@cache
def _record(dialect: str) -> ReturningInsert[str]:
    return insert_into(orders, dialect).on_conflict_do_nothing().returning(orders.c.order_id)
