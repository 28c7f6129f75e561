"""The stores that a suite runs on: the double, SQLite, and the session's PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.state.protocols import Store
from hub.state.store import open_store
from tests.fakes import MemoryStore

KINDS = ("memory", "sqlite", "postgresql")


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store of the kind that the fixture's parameter names."""
    match request.param:
        case "memory":
            yield MemoryStore()
        case "sqlite":
            store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
            try:
                yield store
            finally:
                await store.close()
        case _:
            async with request.getfixturevalue("postgres").database() as url:
                store = await open_store(url)
                try:
                    yield store
                finally:
                    await store.close()
