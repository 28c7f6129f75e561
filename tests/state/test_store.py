"""What SQLite has to do for the promises: durable, shared by processes, and clear about what is wrong."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.event import listen

from hub.errors import ConfigError, InvalidMessage, LeaseHeld, StoreUnavailable
from hub.state.engine.sqlite import SqliteDatabase
from hub.state.process_identity import this_process
from hub.state.protocols import ClaimState, TimelineEntry
from hub.state.store import SqlStore, open_store
from tests.eventually import eventually
from tests.state.orders import NOON, created, shipped

HOUR = timedelta(hours=1)
SHORT = timedelta(milliseconds=100)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "hub.db"


@asynccontextmanager
async def opened(path: Path, *, busy_timeout: timedelta = timedelta(seconds=10)) -> AsyncIterator[SqlStore]:
    store = await open_store(f"sqlite+aiosqlite:///{path}", busy_timeout=busy_timeout)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def another_process(path: Path, prefix: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.state.writing", path, prefix, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's write lock, as a process does that is stuck in a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Let no file of this process grow past the size that the write-ahead log has now."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(f"{path.name}-wal").stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def recorded(store: SqlStore, key: str) -> bool:
    claim = await store.claim_effect(key, holder="test", lease=timedelta(0))
    return claim.state is ClaimState.DONE


# --- durable


async def test_what_was_written_is_there_after_a_reopening(path: Path) -> None:
    async with opened(path) as store:
        await store.record_orders([created()])
        before, _ = await store.apply(shipped(("L1", 2)))
        await store.record_effect("complete", "receipt 7")
        await store.tell("iqmetrix", before.order_id, {"L1": "Shipped"})

    async with opened(path) as store:
        assert await store.load_order(before.order_id) == before
        assert await recorded(store, "complete")
        assert await store.told("iqmetrix", before.order_id) == {"L1": "Shipped"}


async def test_a_process_that_is_killed_loses_nothing_it_was_told_is_recorded(path: Path) -> None:
    async with another_process(path, "k") as process:
        assert process.stdout is not None
        acknowledged = [await process.stdout.readline() for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        acknowledged += (await process.stdout.read()).splitlines()

    async with opened(path) as store:
        lost = [key for key in acknowledged if not await recorded(store, key.decode().strip())]
    assert lost == []


async def test_pending_writes_are_finished_by_closing(path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{path}")
    writes = [asyncio.create_task(store.record_effect(f"k{number}")) for number in range(50)]
    await eventually(lambda: any(write.done() for write in writes))

    await store.close()
    await asyncio.gather(*writes)

    async with opened(path) as store:
        assert all([await recorded(store, f"k{number}") for number in range(50)])


# --- shared


async def test_two_stores_on_one_file_see_and_respect_each_other(path: Path) -> None:
    async with opened(path) as one, opened(path) as other:
        await one.acquire_lease("feed", holder="elsewhere/0/0:1:1", lease=HOUR)
        with pytest.raises(LeaseHeld):
            await other.acquire_lease("feed", holder=this_process(), lease=HOUR)
        await one.record_orders([created()])

        await asyncio.gather(
            *(store.apply(shipped(("L1", 1), id="s-1")) for store in (one, other)),
            *(store.apply(shipped(("L2", 1), id=f"s-{store is one}")) for store in (one, other)),
        )

        order = await other.load_order("retailops:27:PO-1")
        assert [line.shipped for line in order.lines] == [1, 2]


async def test_two_processes_write_to_one_file_at_once(path: Path) -> None:
    async with opened(path) as store, another_process(path, "their") as process:
        assert process.stdout is not None

        for number in range(100):
            await store.record_effect(f"our{number}")
            assert (await process.stdout.readline()).startswith(b"their")

        assert await recorded(store, "our99")
        assert await recorded(store, "their0")


async def test_many_may_open_a_new_file_at_once(path: Path) -> None:
    async with another_process(path, "a") as first, another_process(path, "b") as second:
        stores = await asyncio.gather(*(open_store(f"sqlite+aiosqlite:///{path}") for _ in range(4)))
        assert first.stdout is not None
        assert second.stdout is not None
        assert (await first.stdout.readline()).startswith(b"a")
        assert (await second.stdout.readline()).startswith(b"b")

    for store in stores:
        await store.check()
        await store.close()


# --- clear about what is wrong


async def test_a_locked_file_is_unavailable_after_the_busy_timeout_and_works_again(path: Path) -> None:
    async with opened(path, busy_timeout=SHORT) as store:
        with locked(path):
            with pytest.raises(
                StoreUnavailable, match=r"hub\.db to answer, got 'database is locked' .*0\.1 s"
            ):
                await store.record_effect("complete")
            assert not await store.cursors()

        await store.record_effect("complete")


async def test_a_file_that_is_locked_at_the_start_is_unavailable(path: Path) -> None:
    put(path, b"")

    with locked(path), pytest.raises(StoreUnavailable, match="locked"):
        await open_store(f"sqlite+aiosqlite:///{path}", busy_timeout=SHORT)


async def test_a_full_disk_is_unavailable_and_nothing_is_half_written(path: Path) -> None:
    async with opened(path) as store:
        await store.record_effect("before")

        with full_disk(path):
            answers = await asyncio.gather(
                *(store.record_effect(f"k{number}", "x" * 5000) for number in range(50)),
                return_exceptions=True,
            )
        refused = [number for number, answer in enumerate(answers) if answer is not None]

        assert refused
        assert {type(answers[number]) for number in refused} == {StoreUnavailable}
        assert "nothing was recorded" in str(answers[refused[0]])
        assert not any([await recorded(store, f"k{number}") for number in refused])
        await store.record_effect("after")
        assert await recorded(store, "before")


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    put(path, b"not a database at all" * 100)

    with pytest.raises(StoreUnavailable, match="restore a backup"):
        await open_store(f"sqlite+aiosqlite:///{path}")


async def test_a_file_that_was_removed_is_noticed(path: Path) -> None:
    async with opened(path) as store:
        await store.check()

        os.unlink(path)

        with pytest.raises(StoreUnavailable, match="No such file"):
            await store.check()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    put(tmp_path / "here" / "var", b"a file where the folder should be")

    with pytest.raises(StoreUnavailable, match="var"):
        await open_store(f"sqlite+aiosqlite:///{tmp_path}/here/var/hub/hub.db")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("no url", "expected sqlite"),
        ("mysql://localhost/hub", "'mysql'"),
        ("postgresql+asyncpg://hub:pass@hunter2@localhost/hub", "write %40"),
        ("postgresql+asyncpg://hub:hunter2", "got no URL"),
        ("sqlite+aiosqlite://", "a path to a file"),
        ("sqlite+aiosqlite:///:memory:", "a path to a file"),
    ],
)
async def test_a_url_that_cannot_be_used_is_a_fault_of_the_settings(url: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as refused:
        await open_store(url)

    assert "hunter2" not in str(refused.value)


async def test_a_value_that_no_column_can_hold_is_a_fault_of_the_message(path: Path) -> None:
    async with opened(path) as store:
        for entry in (
            TimelineEntry("a", datetime(2026, 5, 14), "no zone"),
            TimelineEntry("a", NOON, "no JSON", {"fact": object()}),
        ):
            with pytest.raises(InvalidMessage, match="values that the state store can hold"):
                await store.add_to_timeline([entry])


async def test_old_rows_are_removed_a_few_thousand_at_a_time(path: Path) -> None:
    async with opened(path) as store:
        await store.add_to_timeline([TimelineEntry("a", NOON, "old")] * 12_000)
        chunks: list[int] = []

        def count(_connection: object, cursor: sqlite3.Cursor, statement: str, *_: object) -> None:
            if statement.startswith("DELETE"):
                chunks.append(cursor.rowcount)

        assert isinstance(store._database, SqliteDatabase)
        listen(store._database._writer, "after_cursor_execute", count)
        await store.prune(NOON + HOUR)

    assert chunks == [5000, 5000, 2000]


async def test_folder_and_file_are_for_the_owner_alone(path: Path) -> None:
    async with opened(path):
        files = [path, *path.parent.iterdir()]

        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_file_is_synced_on_every_commit(path: Path) -> None:
    async with opened(path) as store:
        pragmas = await store._database.write(
            lambda connection: [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
        )

    assert pragmas == ["wal", 2, 1, 10_000]


async def test_the_log_grows_to_some_thirty_megabytes_and_no_further(path: Path) -> None:
    note = "x" * 10_000

    async with opened(path) as store:
        for turn in range(60):
            ids = [f"retailops:27:{turn}-{number}" for number in range(100)]
            await store.record_orders([created(order_id, notes=[note]) for order_id in ids])
        size = path.with_name(f"{path.name}-wal").stat().st_size

    # It is made anew at its beginning, so it is as large as it ever was.
    assert 20e6 < size < 45e6
