"""Named leases, one holder at a time, as SQL operations (see ``LeaseStore``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, bindparam, delete, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from hub.errors import LeaseHeld
from hub.models.types import utc_text
from hub.state.engine.transaction_clock import now
from hub.state.engine.upsert import insert_into
from hub.state.process_identity import describe
from hub.state.schema import Moment, leases
from hub.state.sql.processes import is_free


def acquire_lease(connection: Connection, name: str, holder: str, lease: timedelta) -> None:
    """Take or renew a lease; raises ``LeaseHeld`` if somebody else who may be alive holds it."""
    moment = now(connection)
    row = {"name": name, "holder": holder, "until": moment + lease}
    if connection.execute(_acquire(connection.dialect.name), {**row, "now": moment}).first() is not None:
        return
    found = connection.execute(select(leases.c.holder, leases.c.until).where(leases.c.name == name)).one()
    if is_free(connection, found.holder, found.until, by=holder):
        connection.execute(
            update(leases).where(leases.c.name == name).values(holder=holder, until=moment + lease)
        )
        return
    raise LeaseHeld(_held(name, found.holder, found.until, moment), holder=found.holder)


def _held(name: str, holder: str, until: datetime, moment: datetime) -> str:
    """Say who holds a lease, and until when."""
    left = max(0, round((until - moment).total_seconds()))
    return (
        f"expected the lease {name!r} to be free, {describe(holder)} holds it "
        f"until {utc_text(until.replace(microsecond=0))} ({left} s left)"
    )


def release_lease(connection: Connection, name: str, holder: str) -> None:
    """Release a lease; nothing happens if it is not ours."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def all_leases(connection: Connection) -> Mapping[str, tuple[str, datetime]]:
    """Return all leases with holder and end."""
    rows = connection.execute(select(leases.c.name, leases.c.holder, leases.c.until))
    return {row.name: (row.holder, row.until) for row in rows}


@cache
def _acquire(dialect: str) -> ReturningInsert[str]:
    insert = insert_into(leases, dialect)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[leases.c.name],
        set_={"holder": new.holder, "until": new.until},
        where=or_(leases.c.until <= bindparam("now", type_=Moment()), leases.c.holder == new.holder),
    ).returning(leases.c.name)
