"""Removing what nobody will ask for again, as SQL operations (see ``Store.prune``).

For each table one operation finds the primary keys of some old rows, and another deletes them. Finding runs on a
snapshot and may walk a whole table without delaying anybody; only the deletion, of few rows by their keys, takes the
write lock. It looks at the rows again, since they may have changed in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Delete, delete, exists, select

from hub.state.protocols import KEPT_BEHIND_COMMIT
from hub.state.schema import effects, order_events, order_lines, pollers, seen_keys, timeline
from hub.state.sql.effects import DONE, TRAVELLING

_ENDED = (DONE, TRAVELLING)

# Rows in one transaction: some tens of milliseconds on a disk; must fit into one IN list (see upsert.in_lists).
CHUNK = 5_000


def old_entries(connection: Connection, older_than: datetime) -> Sequence[int]:
    """Find timeline entries of what happened before ``older_than``."""
    found = select(timeline.c.id).where(timeline.c.at < older_than)
    return connection.scalars(found.limit(CHUNK)).all()


def forget_entries(connection: Connection, found: Sequence[int]) -> int:
    """Delete timeline entries; they never change, so nothing is looked at again."""
    return _count(connection, delete(timeline).where(timeline.c.id.in_(found)))


def old_effects(connection: Connection, older_than: datetime) -> Sequence[str]:
    """Find effects that were recorded as done or handed on before ``older_than``; claims stay."""
    found = select(effects.c.key).where(effects.c.state.in_(_ENDED), effects.c.at < older_than)
    return connection.scalars(found.limit(CHUNK)).all()


def forget_effects(connection: Connection, found: Sequence[str], older_than: datetime) -> int:
    """Delete effects, unless they were removed and recorded again meanwhile."""
    return _count(
        connection,
        delete(effects).where(
            effects.c.key.in_(found), effects.c.state.in_(_ENDED), effects.c.at < older_than
        ),
    )


def old_events(connection: Connection, older_than: datetime) -> Sequence[str]:
    """Find events of orders that are finished and about which nothing was recorded since ``older_than``."""
    found = select(order_events.c.event_id).where(*_of_a_finished_order(older_than))
    return connection.scalars(found.limit(CHUNK)).all()


def forget_events(connection: Connection, found: Sequence[str], older_than: datetime) -> int:
    """Delete events, unless something was recorded about their order meanwhile."""
    return _count(
        connection,
        delete(order_events).where(order_events.c.event_id.in_(found), *_of_a_finished_order(older_than)),
    )


def _of_a_finished_order(older_than: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for events of an order that has nothing left to ship or cancel, and no event since."""
    newer = order_events.alias("newer")
    left = order_lines.c.quantity - order_lines.c.shipped - order_lines.c.cancelled
    return (
        order_events.c.applied_at < older_than,
        ~exists().where(order_lines.c.order_id == order_events.c.order_id, left != 0),
        ~exists().where(newer.c.order_id == order_events.c.order_id, newer.c.applied_at >= older_than),
    )


def old_keys(connection: Connection, poller: str, older_than: datetime) -> Sequence[str]:
    """Find keys of a poller that its cursor has left behind; none after a reset, when it reads all of them again."""
    limit = _limit(connection, poller, older_than)
    if limit is None:
        return ()
    found = select(seen_keys.c.key).where(seen_keys.c.poller == poller, seen_keys.c.seen_at < limit)
    return connection.scalars(found.limit(CHUNK)).all()


def forget_keys(connection: Connection, found: Sequence[str], poller: str, older_than: datetime) -> int:
    """Delete keys of a poller, unless its cursor was reset meanwhile."""
    limit = _limit(connection, poller, older_than)
    if limit is None:
        return 0
    return _count(
        connection,
        delete(seen_keys).where(
            seen_keys.c.poller == poller, seen_keys.c.key.in_(found), seen_keys.c.seen_at < limit
        ),
    )


def _limit(connection: Connection, poller: str, older_than: datetime) -> datetime | None:
    committed: datetime | None = connection.scalar(
        select(pollers.c.committed_at).where(pollers.c.poller == poller)
    )
    return None if committed is None else min(older_than, committed - KEPT_BEHIND_COMMIT)


def _count(connection: Connection, statement: Delete) -> int:
    return connection.execute(statement).rowcount
