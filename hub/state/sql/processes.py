"""Which processes are there, as SQL operations (see ``ProcessStore``), and whether what one of them holds is free.

A claim or a lease lapses by itself, which for a long partner call takes minutes. That of a process that is gone must not:
a process of this host is asked for by its id, at once; any other is gone when it has not renewed its presence.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, case, delete, select
from sqlalchemy.dialects.sqlite import Insert

from hub.state.engine.transaction_clock import now
from hub.state.engine.upsert import insert_into
from hub.state.process_identity import is_gone, process_of
from hub.state.protocols import PRESENCE
from hub.state.schema import holders

# No claim lasts as long, so nobody asks any more for a process that has been silent since.
_FORGOTTEN_AFTER = timedelta(days=2)
# No process has such a name, and nobody ever sees the row.
_PROBE = "probe"


def renew_presence(connection: Connection, holder: str, presence: timedelta) -> None:
    """Say that a process is there; ``since`` starts anew when it was silent in between."""
    moment = now(connection)
    row = {"holder": process_of(holder), "since": moment, "until": moment + presence}
    connection.execute(_renew(connection.dialect.name), row)


def end_presence(connection: Connection, holder: str) -> None:
    """Say that a process ends: what it still holds is free for whoever has watched; forget who ended long ago."""
    moment = now(connection)
    ours = holders.c.holder == process_of(holder)
    connection.execute(holders.update().where(ours).values(until=moment))
    connection.execute(delete(holders).where(holders.c.until < moment - _FORGOTTEN_AFTER))


def prove_writable(connection: Connection) -> None:
    """Write a row and take it away again, in one transaction: a lock or an empty one is had on a standby as well."""
    moment = now(connection)
    connection.execute(holders.insert().values(holder=_PROBE, since=moment, until=moment))
    connection.execute(delete(holders).where(holders.c.holder == _PROBE))


def is_free(connection: Connection, holder: str, until: datetime, *, by: str) -> bool:
    """Whether what ``holder`` holds until then may be taken over by ``by``: it has lapsed, or its process is gone."""
    return until <= now(connection) or is_gone_or_silent(connection, holder, by=by)


def is_gone_or_silent(connection: Connection, holder: str, *, by: str) -> bool:
    """Whether the process of ``holder`` has ended, as far as ``by`` can tell."""
    return is_gone(holder) or _is_silent(connection, holder, by=by)


def _is_silent(connection: Connection, holder: str, *, by: str) -> bool:
    """Whether a process has not renewed its presence while ``by`` did without a break.

    After the database was away nobody has renewed anything; only who has been there since for as long as a presence
    lasts can tell the dead from those that could not say that they are alive.
    """
    theirs, ours = process_of(holder), process_of(by)
    found = connection.execute(select(holders).where(holders.c.holder.in_((theirs, ours)))).all()
    rows = {row.holder: row for row in found}
    if theirs == ours or len(rows) < 2:
        return False
    moment = now(connection)
    watched: bool = rows[ours].until > moment and rows[ours].since <= moment - PRESENCE
    silent: bool = rows[theirs].until <= moment
    return watched and silent


@cache
def _renew(dialect: str) -> Insert:
    insert = insert_into(holders, dialect)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[holders.c.holder],
        set_={
            # "since" of the new row is now.
            "since": case((holders.c.until > new.since, holders.c.since), else_=new.since),
            "until": new.until,
        },
    )
