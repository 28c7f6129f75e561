"""What time it is in a write transaction: the database's own time, so that replicas with different clocks agree on leases.

PostgreSQL tells its time with the answer that the write lock is ours (``hub.state.engine.postgresql``). SQLite is of this
machine, and so is its time. Called by the operations that compare times which another process may have written.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

_KEY = "hub.time_of_transaction"


def set_time(connection: Connection, moment: datetime) -> None:
    """Note when the transaction that just begins on this connection got the write lock."""
    connection.info[_KEY] = moment


def now(connection: Connection) -> datetime:
    """Return the time of the running write transaction, aware, in UTC."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.info[_KEY]
    return moment
