"""What happened to each order, for people, as SQL operations (see ``Timeline``)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from hub.state.engine.bulk_insert import insert_rows
from hub.state.protocols import TimelineEntry
from hub.state.schema import timeline

_APPEND = insert(timeline)


def add_to_timeline(connection: Connection, entries: Sequence[TimelineEntry]) -> None:
    """Append entries."""
    rows = [(entry.order_id, entry.at, entry.what, dict(entry.facts)) for entry in entries]
    insert_rows(connection, _APPEND, ("order_id", "at", "what", "facts"), rows)


def timeline_of(connection: Connection, order_id: str) -> Sequence[TimelineEntry]:
    """Return an order's entries, oldest first; those of the same moment in the order they were added."""
    rows = connection.execute(
        select(timeline.c.at, timeline.c.what, timeline.c.facts)
        .where(timeline.c.order_id == order_id)
        .order_by(timeline.c.at, timeline.c.id)
    )
    return [TimelineEntry(order_id, row.at, row.what, row.facts) for row in rows]
