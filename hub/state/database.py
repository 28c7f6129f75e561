"""The two databases the hub can keep its state in, behind one small door: ``read`` and ``write`` of a function.

An operation is a plain function of a SQLAlchemy ``Connection``: it runs its statements and returns a value, and knows
neither threads nor asyncio. How it gets its connection and its transaction is decided here.

* SQLite: the driver is the standard library's, in threads of ours. A whole transaction is one hop to a thread; with
  aiosqlite each *statement* costs several hops (measured: 540 µs instead of 90 µs), and a canceled caller leaves a
  connection in an unknown state. Writes have one connection and one thread; reads have their own.
* PostgreSQL: asyncpg; the same functions run through SQLAlchemy's ``run_sync``. An advisory lock lets one process
  write at a time, as SQLite's file lock does: groups of two replicas that apply the same events to the same orders
  would otherwise meet in deadlocks all day.

Transactions on SQLite are begun by us: the driver is set to autocommit (``isolation_level=None``), since its own
``BEGIN`` comes late and deferred, and two deferred transactions that both want to write end in SQLITE_BUSY at once,
without regard to the busy timeout.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from hub.errors import ConfigError, StoreUnavailable
from hub.state.clock import set_time
from hub.state.wall import wall

T = TypeVar("T")
Operation = Callable[[Connection], T]
"""Statements of one transaction and what they give; it may be tried again on a new connection by its caller."""

# Reads are short; two threads keep a long search from delaying the others, more would only fight for the interpreter.
_READERS = 2

# How often to look again while another process turns a new file into WAL mode; SQLite's busy timeout has no say there.
_WAL_RETRY_SECONDS = 0.02

# PostgreSQL's advisory lock of whoever writes; any number that nobody else locks in this database: "hub" in ASCII.
# What stands in a list is computed from left to right: the time is that of the lock.
_TAKE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({0x687562}), clock_timestamp() AS moment"


class Database(Protocol):
    """A place for the state: runs operations, translates what the driver raises."""

    where: str
    """The file or the host, without credentials, for messages."""

    async def prepare(self) -> None:
        """Make ready what can be made without the tables; called once, before anything else."""

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation on one snapshot; it must not write. Raises ``StoreUnavailable``."""

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction that is durable on return. Raises ``StoreUnavailable``.

        One process at a time writes, on either database: what an operation has read stays true until its commit.
        """

    def wall(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""

    async def check(self) -> None:
        """Raise ``StoreUnavailable`` if what is connected is not the configured place any more."""

    async def close(self) -> None:
        """Close all connections."""


def connect(url: str, *, busy_timeout: timedelta) -> Database:
    """Give the database that ``url`` names, without touching it yet.

    Raises:
        ConfigError: the URL is no URL, or names a database that the hub does not know.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without the cause: a port that is no number may be a part of the password.
        raise ConfigError(
            "state.url: expected sqlite+aiosqlite:///<file> or postgresql+asyncpg://user:password@host:5432/database, "
            "got no URL"
        ) from None
    if "@" in (parsed.host or ""):
        raise ConfigError(
            "state.url: expected one @, between password and host; write %40 for those in the password"
        )
    match parsed.get_backend_name():
        case "sqlite":
            return SqliteDatabase(parsed, busy_timeout)
        case "postgresql":
            return PostgresDatabase(parsed, busy_timeout)
        case other:
            raise ConfigError(f"state.url: expected a sqlite or postgresql URL, got {other!r}")


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


_JSON: Final[dict[str, Any]] = {
    "json_serializer": _to_json,
    "json_deserializer": orjson.loads,
    # A statement's parameters may be personal data and must not reach a log through an error's text.
    "hide_parameters": True,
}


class SqliteDatabase:
    """One SQLite file in WAL mode: one writing connection, a few reading ones, each in its own thread."""

    def __init__(self, url: URL, busy_timeout: timedelta) -> None:
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ConfigError(
                f"state.url: expected a path to a file after sqlite+aiosqlite:///, got {url.database!r}"
            )
        self.path = Path(url.database).absolute()
        self.where = str(self.path)
        self._busy_timeout = busy_timeout
        self._inode: int | None = None
        self._closed = False
        self._writer = self._engine("BEGIN IMMEDIATE", connections=1)
        self._readers = self._engine("BEGIN", connections=_READERS, query_only=True)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="hub-state-write")
        self._read_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="hub-state-read")

    def wall(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""
        return wall(self.where, self._busy_timeout)

    async def prepare(self) -> None:
        """Create the folder (0700) and the file (0600) if they are missing, and turn on WAL mode.

        Raises:
            StoreUnavailable: the file cannot be made or opened, or is no database.
            ConfigError: the file system cannot do what WAL mode needs.
        """
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._prepare)

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation on one snapshot; SQLite itself refuses writes."""
        return await self._run(self._read_threads, self._readers, operation)

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation between BEGIN IMMEDIATE and COMMIT; on disk on return (``synchronous=FULL``)."""
        return await self._run(self._write_thread, self._writer, operation)

    async def check(self) -> None:
        """Raise ``StoreUnavailable`` if the file was removed or replaced: an open file lives on without its name."""
        with self.wall():
            if self.path.stat().st_ino != self._inode:
                raise OSError(
                    "unable to open the file that was there before: it was replaced; restart the hub"
                )

    async def close(self) -> None:
        """Let running operations end, then close."""
        self._closed = True
        await asyncio.to_thread(self._close)

    async def _run(self, threads: ThreadPoolExecutor, engine: Engine, operation: Operation[T]) -> T:
        if self._closed:
            raise _closed(self.where)
        return await asyncio.get_running_loop().run_in_executor(
            threads, partial(self._transact, engine, operation)
        )

    def _transact(self, engine: Engine, operation: Operation[T]) -> T:
        with self.wall(), engine.begin() as connection:
            return operation(connection)

    def _close(self) -> None:
        self._write_thread.shutdown(wait=True)
        self._read_threads.shutdown(wait=True)
        self._readers.dispose()
        self._writer.dispose()

    def _create_file(self) -> None:
        # Orders hold names and addresses: the folder and the file (and its -wal and -shm after it) are ours alone.
        if not self.path.parent.exists():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _engine(self, begin: str, *, connections: int, query_only: bool = False) -> Engine:
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(self.path)),
            connect_args={
                "timeout": self._busy_timeout.total_seconds(),
                "isolation_level": None,
                "check_same_thread": False,
                "cached_statements": 512,
            },
            pool_size=connections,
            max_overflow=0,
            **_JSON,
        )

        def prepare(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=FULL")
            if query_only:
                connection.execute("PRAGMA query_only=ON")

        def begin_now(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", begin_now)
        return engine

    def _prepare(self) -> None:
        with self.wall():
            self._create_file()
            self._inode = self.path.stat().st_ino
        self._use_wal()

    def _use_wal(self) -> None:
        # WAL mode: readers and the writer do not wait for each other. The file stays in it.
        with self.wall():
            mode = self._set_wal()
        if mode != "wal":
            raise ConfigError(
                f"state.url: expected a local disk that SQLite can use in WAL mode for {self.where}, "
                f"got journal mode {mode!r}; network file systems do not work"
            )

    def _set_wal(self) -> str:
        deadline = time.monotonic() + self._busy_timeout.total_seconds()
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout.total_seconds(), isolation_level=None
        )
        try:
            while True:
                try:
                    return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(_WAL_RETRY_SECONDS)
        finally:
            connection.close()


class PostgresDatabase:
    """A PostgreSQL database through asyncpg, which the operator installs next to the hub."""

    def __init__(self, url: URL, busy_timeout: timedelta) -> None:
        self.where = f"{url.host or 'localhost'}/{url.database or ''}"
        self._busy_timeout = busy_timeout
        self._closed = False
        # Only here: it brings the whole of SQLAlchemy's ORM along, which nothing else uses.
        from sqlalchemy.ext.asyncio import create_async_engine

        try:
            self._engine = create_async_engine(
                url.set(drivername="postgresql+asyncpg"),
                # A connection that the server closed meanwhile is replaced before it is used.
                pool_pre_ping=True,
                # One for the writer, the rest for reads.
                pool_size=1 + _READERS,
                pool_timeout=busy_timeout.total_seconds(),
                connect_args={
                    "command_timeout": busy_timeout.total_seconds(),
                    "server_settings": {
                        # A replica whose host vanished in a transaction must not keep the write lock.
                        "idle_in_transaction_session_timeout": f"{2 * busy_timeout // timedelta(milliseconds=1)}",
                        "lock_timeout": f"{busy_timeout // timedelta(milliseconds=1)}",
                    },
                },
                **_JSON,
            )
        except ModuleNotFoundError:
            raise ConfigError(
                "state.url: expected the driver of postgresql to be there; pip install asyncpg"
            ) from None
        # One snapshot for the several statements that load an order.
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")

    def wall(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""
        return wall(self.where, self._busy_timeout)

    async def prepare(self) -> None:
        """Do nothing: a PostgreSQL database and its user are made by its administrator."""

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation on one snapshot."""
        if self._closed:
            raise _closed(self.where)
        with self.wall():
            async with self._snapshots.connect() as connection:
                return await connection.run_sync(operation)

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in one transaction, after those of the other processes."""
        if self._closed:
            raise _closed(self.where)
        with self.wall():
            async with self._engine.begin() as connection:
                moment = (await connection.exec_driver_sql(_TAKE_WRITE_LOCK)).mappings().one()["moment"]
                return await connection.run_sync(_at(moment, operation))

    async def check(self) -> None:
        """Do nothing: every read already asks the server."""

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._engine.dispose()


def _at(moment: datetime, operation: Operation[T]) -> Operation[T]:
    def run(connection: Connection) -> T:
        set_time(connection, moment)
        return operation(connection)

    return run


def _closed(where: str) -> StoreUnavailable:
    return StoreUnavailable(f"expected an open state store, {where} was closed")
