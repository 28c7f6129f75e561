"""The migrated schema is the one of the metadata, and a newer one is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from hub.errors import ConfigError, StoreUnavailable
from hub.state import migrate as migrating
from hub.state.connect import connect
from hub.state.database import Database
from hub.state.migrate import head, migrate, refuse_unless_migrated
from hub.state.sql import open_store
from hub.state.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres")
            url = await stack.enter_async_context(server.database(migrated=False))
        database = connect(url, busy_timeout=timedelta(seconds=5))
        stack.push_async_callback(database.close)
        await database.prepare()
        yield database


async def test_the_migrated_schema_is_that_of_the_metadata(database: Database) -> None:
    await migrate(database)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await database.read(differences) == []


async def test_a_second_migration_changes_nothing(database: Database) -> None:
    await migrate(database)
    await migrate(database)

    await database.read(refuse_unless_migrated)


async def test_a_migration_that_breaks_off_leaves_the_schema_as_it_was(database: Database) -> None:
    def break_off(connection: Connection) -> None:
        migrating._upgrade(connection, database.where)
        raise OSError("killed")

    with pytest.raises(StoreUnavailable, match="killed"):
        await database.write(break_off)

    with pytest.raises(StoreUnavailable, match="an empty database"):
        await database.read(refuse_unless_migrated)
    await migrate(database)


async def test_an_empty_database_is_not_taken_for_a_migrated_one(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="an empty database"):
        await database.read(refuse_unless_migrated)


async def test_a_newer_schema_is_refused_and_named(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
    await (await open_store(url)).close()
    connection = sqlite3.connect(tmp_path / "hub.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    with pytest.raises(ConfigError, match=f"up to {head()}, .*has 9999: it was migrated by a newer hub"):
        await open_store(url)


async def test_the_tables_can_be_taken_down_again(database: Database) -> None:
    await migrate(database)

    def downgrade(connection: Connection) -> None:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    await database.write(downgrade)

    names = await database.read(lambda connection: inspect(connection).get_table_names())
    assert names == ["alembic_version"]


def test_the_newest_version_is_the_one_that_alembic_would_go_to() -> None:
    assert ScriptDirectory.from_config(migrating._config()).get_current_head() == head()
