"""The migrated schema is the one of the metadata; a newer one is refused unless its hub says that this one can work on it."""

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
from hub.state.engine import migrate as migrating
from hub.state.engine.database import Database
from hub.state.engine.factory import connect
from hub.state.engine.migrate import head, migrate, refuse_unless_migrated
from hub.state.protocols import ClaimState
from hub.state.schema import metadata
from hub.state.store import open_store
from tests.next_release import NEXT, migrated_by, write_next_release


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres")
            url = await stack.enter_async_context(server.database(migrated=False))
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = connect(url, busy_timeout=timedelta(seconds=5))
    await database.prepare()
    yield database
    await database.close()


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


async def test_a_process_goes_on_when_a_newer_one_adds_to_the_schema(url: str, tmp_path: Path) -> None:
    newer = write_next_release(tmp_path / "next")
    store = await open_store(url)
    lease = timedelta(seconds=30)
    await store.claim_effect("before", holder="this", lease=lease)

    await migrated_by(newer, url)

    await store.check()
    await store.record_effect("before")
    assert (await store.claim_effect("before", holder="this", lease=lease)).state is ClaimState.DONE
    assert (await store.claim_effect("after", holder="this", lease=lease)).state is ClaimState.GRANTED
    await store.close()


async def test_a_hub_starts_on_the_schema_of_a_newer_one_that_only_adds(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
    await migrated_by(write_next_release(tmp_path / "next"), url)

    store = await open_store(url)

    await store.check()
    await store.close()


async def test_a_step_that_takes_away_ends_the_work_of_an_older_hub(url: str, tmp_path: Path) -> None:
    newer = write_next_release(tmp_path / "next", works_from=NEXT)
    store = await open_store(url)

    await migrated_by(newer, url)

    with pytest.raises(StoreUnavailable, match=f"schema {NEXT} or newer: .* stop this process"):
        await store.check()
    await store.close()
    with pytest.raises(ConfigError, match=f"takes a hub of schema {NEXT} or newer"):
        await open_store(url)


async def test_a_step_may_take_away_what_this_release_uses_no_more(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
    newer = write_next_release(tmp_path / "next", works_from=head())

    await migrated_by(newer, url)

    store = await open_store(url)
    await store.check()
    await store.close()


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
