"""Messages in the hands of processes that may crash over them, as SQL operations (see ``SuspectStore``)."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, select

from hub.state.engine.transaction_clock import now
from hub.state.process_identity import process_of
from hub.state.protocols import Suspicion
from hub.state.schema import suspects
from hub.state.sql.processes import is_gone_or_silent


def suspect(connection: Connection, queue: str, message: str, *, holder: str, take: bool) -> Suspicion:
    """Note that a process takes a redelivered message in hand, unless others have crashed with it."""
    ours = process_of(holder)
    this = and_(suspects.c.queue == queue, suspects.c.message == message)
    row = connection.execute(select(suspects).where(this).with_for_update()).one_or_none()
    if row is None:
        values = {"queue": queue, "message": message, "holder": ours, "crashes": 0, "at": now(connection)}
        connection.execute(suspects.insert().values(values))
        return Suspicion(0)
    if row.holder in (None, ours):
        return Suspicion(row.crashes)
    if is_gone_or_silent(connection, row.holder, by=holder):
        changed = {"holder": None, "crashes": row.crashes + 1, "at": now(connection)}
        connection.execute(suspects.update().where(this).values(changed))
        return Suspicion(row.crashes + 1)
    if not take:
        return Suspicion(row.crashes, held_elsewhere=True)
    connection.execute(suspects.update().where(this).values(holder=ours))
    return Suspicion(row.crashes)


def hold_suspect(connection: Connection, queue: str, message: str, *, holder: str) -> None:
    """Note that a message whose turn has come is in hand."""
    this = and_(suspects.c.queue == queue, suspects.c.message == message)
    connection.execute(suspects.update().where(this).values(holder=process_of(holder)))


def clear_suspect(connection: Connection, queue: str, message: str) -> None:
    """Forget a message that is settled."""
    connection.execute(delete(suspects).where(suspects.c.queue == queue, suspects.c.message == message))


def clear_suspects(connection: Connection, holder: str) -> None:
    """Forget what a process has in hand, since it ends in order."""
    connection.execute(delete(suspects).where(suspects.c.holder == process_of(holder)))
