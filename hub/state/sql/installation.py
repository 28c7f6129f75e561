"""What an installation keeps of itself, as SQL operations (see ``InstallationStore``)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from hub.models.events import AnyEvent
from hub.models.types import utc_text
from hub.state.engine.transaction_clock import now
from hub.state.engine.upsert import insert_into
from hub.state.event_identity import recorded_ids
from hub.state.protocols import SIGNING_KEY_BYTES, Signing
from hub.state.schema import effects, installation, order_events, orders

_KEY, _SINCE = "signing_key", "signing_since"
# Nothing that is not signed was written by an installation that has signed from its first day.
_FROM_THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_VALUES = select(installation.c.name, installation.c.value).where(installation.c.name.in_((_KEY, _SINCE)))
_HANDED_ON = select(effects.c.travels_since).where(effects.c.key == bindparam("of_key"))
_CREATED = select(orders.c.order_id).where(
    orders.c.order_id == bindparam("of_order"), orders.c.created_by_event == bindparam("of_event")
)
_APPLIED = select(order_events.c.event_id).where(
    order_events.c.event_id.in_(bindparam("of_events", expanding=True)),
    order_events.c.order_id == bindparam("of_order"),
    order_events.c.type == bindparam("of_type"),
)


def signing(connection: Connection) -> Signing | None:
    """Return the key and since when it is used; None before the first call of ``begin_signing``."""
    found = {row.name: row.value for row in connection.execute(_VALUES)}
    if _KEY not in found or _SINCE not in found:
        return None
    return Signing(bytes.fromhex(found[_KEY]), datetime.fromisoformat(found[_SINCE]))


def begin_signing(connection: Connection, *, is_new: bool) -> Signing:
    """Draw a key unless there is one, and return the one that is there; in a write transaction, one process at a time."""
    since = _FROM_THE_BEGINNING if is_new else now(connection)
    rows = [
        {"name": _KEY, "value": secrets.token_bytes(SIGNING_KEY_BYTES).hex()},
        {"name": _SINCE, "value": utc_text(since)},
    ]
    if signing(connection) is None:
        connection.execute(insert_into(installation, connection.dialect.name).on_conflict_do_nothing(), rows)
    found = signing(connection)
    assert found is not None
    return found


def handed_on_at(connection: Connection, key: str) -> datetime | None:
    """Return since when a stored copy carries the effect of this key on; None if none does."""
    found: datetime | None = connection.scalar(_HANDED_ON, {"of_key": key})
    return found


def has_recorded(connection: Connection, event: AnyEvent) -> bool:
    """Whether an event of this id and type has made or changed its order."""
    if event.type == "order.created":
        values: dict[str, Any] = {"of_event": event.id, "of_order": event.order_id}
        return connection.scalar(_CREATED, values) is not None
    values = {"of_events": recorded_ids(event), "of_order": event.order_id, "of_type": event.type}
    return connection.scalar(_APPLIED, values) is not None
