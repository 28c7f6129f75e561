"""PostgreSQL: asyncpg; the same functions run through SQLAlchemy's ``run_sync``.

An advisory lock lets one process write at a time, as SQLite's file lock does: groups of two replicas that apply the same
events to the same orders would otherwise meet in deadlocks all day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from hub.errors import ConfigError
from hub.state.engine.database import JSON, READERS, Operation, T, closed
from hub.state.engine.error_translation import translate_errors
from hub.state.engine.transaction_clock import set_time

# PostgreSQL's advisory lock of whoever writes; any number that nobody else locks in this database: "hub" in ASCII.
# What stands in a list is computed from left to right: the time is that of the lock.
_TAKE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({0x687562}), clock_timestamp() AS moment"

# read_only_sql_transaction, admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped
_NOT_THE_PRIMARY = frozenset({"25006", "57P01", "57P02", "57P03", "57P04"})

# How it refuses what sets the limits of a session, and what becomes of statements that are prepared in one.
_SAID_BY_PGBOUNCER = ("unsupported startup parameter",)


class PostgresDatabase:
    """A PostgreSQL database through asyncpg, which the operator installs next to the hub."""

    def __init__(self, url: URL, busy_timeout: timedelta) -> None:
        self.where = f"{url.host or 'localhost'}/{url.database or ''}"
        self._busy_timeout = busy_timeout
        self._closed = False
        # Only here: it brings the whole of SQLAlchemy's ORM along, which nothing else uses.
        from sqlalchemy.ext.asyncio import create_async_engine

        # What the server ends: a wait for the lock, and the transaction of a replica whose host vanished in it.
        self._limits = {
            "idle_in_transaction_session_timeout": f"{2 * busy_timeout // timedelta(milliseconds=1)}",
            "lock_timeout": f"{busy_timeout // timedelta(milliseconds=1)}",
        }
        pooled = _is_pooled(url)
        self._take_lock = _TAKE_WRITE_LOCK
        connect: dict[str, Any] = {"command_timeout": busy_timeout.total_seconds()}
        if pooled:
            # Each transaction may have another server process: nothing of a session lasts, neither limits nor statements.
            limits = ", ".join(
                f"set_config('{name}', '{value}', true)" for name, value in self._limits.items()
            )
            self._take_lock = _TAKE_WRITE_LOCK.replace("SELECT ", f"SELECT {limits}, ", 1)
            connect |= {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                # The unnamed one, which the next one replaces; named ones would pile up in the server.
                "prepared_statement_name_func": str,
            }
        else:
            connect["server_settings"] = self._limits
        try:
            self._engine = create_async_engine(
                url.set(drivername="postgresql+asyncpg").difference_update_query(["pgbouncer"]),
                # A connection that the server closed meanwhile is replaced before it is used. Of pgbouncer it is found
                # closed when it is used; a ping would be a transaction of its own.
                pool_pre_ping=not pooled,
                # One for the writer, the rest for reads.
                pool_size=1 + READERS,
                pool_timeout=busy_timeout.total_seconds(),
                connect_args=connect,
                **JSON,
            )
        except ModuleNotFoundError:
            raise ConfigError(
                "state.url: expected the driver of postgresql to be there; pip install asyncpg"
            ) from None
        # One snapshot for the several statements that load an order.
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")

    def translate_errors(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""
        return translate_errors(self.where, self._busy_timeout)

    async def prepare(self) -> None:
        """Connect; a PostgreSQL database and its user are made by its administrator.

        Raises:
            ConfigError: a pgbouncer is in between, and the address does not say so.
        """
        with self.translate_errors():
            try:
                async with self._engine.connect():
                    return
            except DBAPIError as error:
                if not any(text in str(error) for text in _SAID_BY_PGBOUNCER):
                    raise
        raise ConfigError(
            f"state.url: {self.where} is a pgbouncer: add ?pgbouncer=true to the address, so that the hub keeps nothing"
            " in a session (pool_mode transaction or session)"
        )

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation on one snapshot."""
        if self._closed:
            raise closed(self.where)
        with self.translate_errors():
            async with self._replacing(), self._snapshots.connect() as connection:
                return await connection.run_sync(operation)

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in one transaction, after those of the other processes."""
        if self._closed:
            raise closed(self.where)
        with self.translate_errors():
            async with self._replacing(), self._engine.begin() as connection:
                moment = (await connection.exec_driver_sql(self._take_lock)).mappings().one()["moment"]
                return await connection.run_sync(_at(moment, operation))

    @asynccontextmanager
    async def _replacing(self) -> AsyncIterator[None]:
        """Replace all connections where the error says that they lead to a server that is the primary no more.

        After a switchover the old primary stays up and answers reads, so a ping finds nothing wrong with it.
        """
        try:
            yield
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _NOT_THE_PRIMARY:
                await self._engine.dispose()
            raise

    async def check(self) -> None:
        """Do nothing: every read already asks the server."""

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._engine.dispose()


def _is_pooled(url: URL) -> bool:
    given = url.query.get("pgbouncer", "false")
    if given not in ("true", "false"):
        raise ConfigError("state.url: pgbouncer: expected true or false, got something else")
    return given == "true"


def _at(moment: datetime, operation: Operation[T]) -> Operation[T]:
    def run(connection: Connection) -> T:
        set_time(connection, moment)
        return operation(connection)

    return run
