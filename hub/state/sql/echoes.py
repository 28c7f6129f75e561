"""Which reports the feed of a partner has not shown yet, as SQL operations (see ``EchoStore``).

The index of ``told`` has the reports that wait alone, so a look costs what waits and not what was ever reported.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update

from hub.state.protocols import Unechoed
from hub.state.schema import told

_OF_ORDER = (told.c.partner == bindparam("of_partner"), told.c.order_id == bindparam("of_order"))
_SINCE = select(told.c.echo_awaited_since).where(*_OF_ORDER)
_END = (
    update(told)
    .where(*_OF_ORDER, told.c.echo_awaited_since == bindparam("reported_at", type_=told.c.at.type))
    .values(echo_awaited_since=None)
)


def awaits_echo_since(connection: Connection, partner: str, order_id: str) -> datetime | None:
    """Return since when an order's last report waits; None: it does not."""
    found: datetime | None = connection.scalar(_SINCE, {"of_partner": partner, "of_order": order_id})
    return found


def end_wait_for_echo(connection: Connection, partner: str, order_id: str, *, reported_at: datetime) -> None:
    """Record that the feed shows the report of that moment."""
    connection.execute(_END, {"of_partner": partner, "of_order": order_id, "reported_at": reported_at})


def unechoed(
    connection: Connection,
    partner: str,
    account: str,
    *,
    reported_after: datetime,
    reported_before: datetime,
    limit: int,
) -> Unechoed:
    """Count the reports that wait and return the orders of the oldest."""
    since, prefix = told.c.echo_awaited_since, f"{partner}:{account}:"
    waiting = (
        told.c.partner == partner,
        # Said by itself, since the planners use a partial index only where they can prove its condition.
        since.is_not(None),
        since >= reported_after,
        since < reported_before,
        # No LIKE, in which an account may have a meaning of its own.
        func.substr(told.c.order_id, 1, len(prefix)) == prefix,
    )
    count = connection.scalar(select(func.count()).select_from(told).where(*waiting)) or 0
    oldest = select(told.c.order_id).where(*waiting).order_by(since, told.c.order_id).limit(limit)
    return Unechoed(count, tuple(connection.scalars(oldest)) if count else ())
