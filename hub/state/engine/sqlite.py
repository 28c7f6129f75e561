"""SQLite: the driver is the standard library's, in threads of ours.

A whole transaction is one hop to a thread; with aiosqlite each *statement* costs several hops (measured: 540 µs instead of
90 µs), and a canceled caller leaves a connection in an unknown state. Writes have one connection and one thread; reads
have their own.

Transactions are begun by us: the driver is set to autocommit (``isolation_level=None``), since its own ``BEGIN`` comes
late and deferred, and two deferred transactions that both want to write end in SQLITE_BUSY at once, without regard to the
busy timeout.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event

from hub.errors import ConfigError
from hub.state.engine.database import JSON, READERS, Operation, T, closed
from hub.state.engine.error_translation import translate_errors

# How often to look again while another process turns a new file into WAL mode; SQLite's busy timeout has no say there.
_WAL_RETRY_SECONDS = 0.02
# Pages of the log before a commit moves them into the file, 32 MB. Keys of orders are random, so each page that is moved
# is another place on the disk; SQLite's 1,000 moved the same ones again and again, and the more orders the slower.
_WAL_PAGES = 8000


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
        self._readers = self._engine("BEGIN", connections=READERS, query_only=True)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="hub-state-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="hub-state-read")

    def translate_errors(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""
        return translate_errors(self.where, self._busy_timeout)

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
        with self.translate_errors():
            if self.path.stat().st_ino != self._inode:
                raise OSError(
                    "unable to open the file that was there before: it was replaced; restart the hub"
                )

    async def close(self) -> None:
        """Wait for running operations, then close."""
        self._closed = True
        await asyncio.to_thread(self._close)

    async def _run(self, threads: ThreadPoolExecutor, engine: Engine, operation: Operation[T]) -> T:
        if self._closed:
            raise closed(self.where)
        return await asyncio.get_running_loop().run_in_executor(
            threads, partial(self._transact, engine, operation)
        )

    def _transact(self, engine: Engine, operation: Operation[T]) -> T:
        with self.translate_errors(), engine.begin() as connection:
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
            **JSON,
        )

        def prepare(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            if query_only:
                connection.execute("PRAGMA query_only=ON")

        def begin_now(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", begin_now)
        return engine

    def _prepare(self) -> None:
        with self.translate_errors():
            self._create_file()
            self._inode = self.path.stat().st_ino
        self._use_wal()

    def _use_wal(self) -> None:
        # WAL mode: readers and the writer do not wait for each other. The file stays in it.
        with self.translate_errors():
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
