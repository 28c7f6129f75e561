"""A store that answers and takes no write is said, and left for the primary as soon as the address leads there."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from hub.errors import StoreUnavailable
from hub.state.store import open_store


async def administer(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_connections_to_an_old_primary_are_replaced_and_told_as_read_only(postgresql_url: str) -> None:
    database = postgresql_url.rpartition("/")[2]
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    store = await open_store(postgresql_url)
    try:
        await store.check()
        # What connects now meets the old primary, which answers and is read-only.
        await administer(
            postgresql_url, f"ALTER DATABASE {database} SET default_transaction_read_only = on", cut
        )
        with pytest.raises(StoreUnavailable, match=r"read-only transaction.*leads to the primary"):
            await store.check()
        with pytest.raises(StoreUnavailable):
            await store.tell("test", "switchover", {"told": 1})

        # The address leads to the new one; connections that are open still lead to the old one.
        await administer(
            postgresql_url,
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {database} RESET default_transaction_read_only",
        )
        await store.tell("test", "switchover", {"told": 2})
        await store.check()

        assert await store.told("test", "switchover") == {"told": 2}
    finally:
        await store.close()


@contextmanager
def no_file_may_grow_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_store_whose_disk_takes_nothing_fails_its_check_until_it_does(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
    try:
        await store.check()
        with no_file_may_grow_beyond(size_of(tmp_path / "hub.db-wal")), pytest.raises(StoreUnavailable):
            await store.check()
        await store.check()
    finally:
        await store.close()


def size_of(file: Path) -> int:
    return os.stat(file).st_size


async def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
    try:
        await store.check()

        assert await store.is_empty()
    finally:
        await store.close()
