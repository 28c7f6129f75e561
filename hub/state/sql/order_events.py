"""Apply events to their orders, as an SQL operation (see ``OrderStore.apply``), many with the same statements.

What an event does to an order is decided by ``hub.models.order_transitions.apply``; here the orders are loaded, and only what
changed is written back, in a write transaction (one process at a time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from hub.errors import HubError, InvalidMessage
from hub.models.events import AnyEvent
from hub.models.order import Applied, Order, Package
from hub.models.order_transitions import FieldError
from hub.models.order_transitions import apply as apply_to
from hub.state.engine.upsert import in_lists
from hub.state.event_identity import AppliedBefore, may_be, recorded_ids, refuse_another
from hub.state.protocols import TimelineEntry, duplicate_notes, match_notes
from hub.state.schema import order_events, order_lines, orders, packages
from hub.state.sql.orders import ADD_LINES, STATUS, details_row, line_rows, load_orders, status_row, unknown
from hub.state.sql.timeline import add_to_timeline

# Built once: SQLAlchemy's cache spares compiling a statement, not building it.
_EVENTS = select(
    order_events.c.event_id,
    order_events.c.order_id,
    order_events.c.type,
    order_events.c.source,
    order_events.c.applied,
    order_events.c.content,
).where(order_events.c.event_id.in_(bindparam("of_events", expanding=True)))
_ADD_PACKAGES = insert(packages)
_ADD_EVENTS = insert(order_events)
_CHANGE_ORDER = update(orders).where(orders.c.order_id == bindparam("of_order"))
_DROP_LINES = delete(order_lines).where(order_lines.c.order_id == bindparam("of_order"))
_CHANGE_LINES = (
    update(order_lines)
    .where(
        order_lines.c.order_id == bindparam("of_order"), order_lines.c.position == bindparam("of_position")
    )
    .values(
        {name: bindparam(name) for name in STATUS},
    )
)


@dataclass(slots=True)
class _Batch:
    """The orders that some events are about, and what came of these events so far."""

    before: dict[str, Order]
    now: dict[str, Order]
    known: dict[str, tuple[AppliedBefore, Applied]]
    """What every event that was ever applied did, by what it is recorded under."""
    event_rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[TimelineEntry] = field(default_factory=list)

    def outcome(self, event: AnyEvent) -> tuple[Order, Applied] | HubError:
        """Apply one, or give why it is refused: those that are applied with it do not have to begin anew for that."""
        try:
            return self._apply(event)
        except HubError as error:
            return error

    def _apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        """Apply one, unless it was applied before; gives the order after it."""
        order_id = _order_id(event)
        order = self.now.get(order_id)
        if order is None:
            raise unknown(order_id)
        for recorded_id in recorded_ids(event):
            before, applied = self.known.get(recorded_id, (None, None))
            if before is not None and applied is not None and may_be(event, recorded_id, before):
                refuse_another(event, before)
                return order, applied
        try:
            after, applied = apply_to(order, event)
        except FieldError as fault:
            raise InvalidMessage(str(fault), field=fault.field) from None
        self.now[order_id] = after
        recorded = AppliedBefore.of(event, order_id)
        self.known[recorded_ids(event)[0]] = recorded, applied
        self.event_rows.append(_event_row(event, recorded, applied))
        self.notes += duplicate_notes(event, order, applied)
        self.notes += match_notes(event, order)
        return after, applied


def apply_events(
    connection: Connection, events: Sequence[AnyEvent]
) -> Sequence[tuple[Order, Applied] | HubError]:
    """Apply each event once; gives for each its order after it and what it did, or why it is refused."""
    found = load_orders(
        connection, sorted({event.order_id for event in events if event.order_id is not None})
    )
    batch = _Batch(
        found,
        dict(found),
        _known(connection, sorted({each for event in events for each in recorded_ids(event)})),
    )
    results = [batch.outcome(event) for event in events]
    _write_changes(connection, [(batch.before[order_id], order) for order_id, order in batch.now.items()])
    if batch.event_rows:
        connection.execute(_ADD_EVENTS, batch.event_rows)
    if batch.notes:
        add_to_timeline(connection, batch.notes)
    return results


def _order_id(event: AnyEvent) -> str:
    if event.order_id is None:
        raise InvalidMessage(f"expected an event about an order, got {event.type}", field="order_id")
    return event.order_id


def _known(connection: Connection, event_ids: Sequence[str]) -> dict[str, tuple[AppliedBefore, Applied]]:
    return {
        row.event_id: (
            AppliedBefore(row.order_id, row.type, row.source, row.content),
            Applied.model_validate(row.applied),
        )
        for part in in_lists(event_ids)
        for row in connection.execute(_EVENTS, {"of_events": list(part)})
    }


def _event_row(event: AnyEvent, recorded: AppliedBefore, applied: Applied) -> dict[str, Any]:
    return {
        "event_id": recorded_ids(event)[0],
        "source": event.source,
        "order_id": recorded.order_id,
        "type": event.type,
        "happened_at": event.time,
        "applied_at": datetime.now(UTC),
        "applied": applied.model_dump(mode="json", exclude_defaults=True),
        "content": recorded.content,
    }


def _write_changes(connection: Connection, changes: Sequence[tuple[Order, Order]]) -> None:
    lines: list[dict[str, Any]] = []
    parcels: list[dict[str, Any]] = []
    for before, after in changes:
        # Another object, be it equal: of two changes the second may undo the first, and lines were kept in between.
        if after.details is not before.details:
            _write_order(connection, after)
        else:
            lines += _changed_lines(before, after)
        parcels += _added_packages(before, after)
    if lines:
        connection.execute(_CHANGE_LINES, lines)
    if parcels:
        connection.execute(_ADD_PACKAGES, parcels)


def _write_order(connection: Connection, order: Order) -> None:
    """Write what is ordered anew: lines come, go and move, so none of them keeps its row."""
    key = {"of_order": order.order_id}
    connection.execute(_CHANGE_ORDER.values(changed_at=order.changed_at, **details_row(order.details)), key)
    connection.execute(_DROP_LINES, key)
    connection.execute(ADD_LINES, line_rows(order))


def _changed_lines(before: Order, after: Order) -> list[dict[str, Any]]:
    return [
        {"of_order": after.order_id, "of_position": position, **status_row(line)}
        for position, (old, line) in enumerate(zip(before.lines, after.lines, strict=True), start=1)
        if line != old
    ]


def _added_packages(before: Order, after: Order) -> list[dict[str, Any]]:
    return [
        {"order_id": after.order_id, "position": position, **_package_row(package)}
        for position, package in enumerate(after.packages, start=1)
        if position > len(before.packages)
    ]


def _package_row(package: Package) -> dict[str, Any]:
    # Not model_dump(mode="json"): shipped_at stays a datetime for its column.
    row = {name: getattr(package, name) for name in Package.model_fields if name != "items"}
    return {**row, "items": [item.model_dump() for item in package.items]}
