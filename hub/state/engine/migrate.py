"""Bring the schema to the newest version at start, however many processes start at once.

The versions are Alembic scripts in ``hub/state/migrations``, found next to this module however it was installed. All
steps run in one write transaction (one process at a time), so that a process that is killed half-way leaves the schema as it was.
The store itself says which schema a hub has to know at least to work on it, so that an older one goes on beside a newer one.
"""

from __future__ import annotations

import threading
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from hub.errors import ConfigError, StoreUnavailable
from hub.state.engine.database import Database
from hub.state.engine.upsert import insert_into
from hub.state.schema import installation

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parents[1] / "migrations"
_NOTES = table("alembic_version", column("version_num"))
# Begins the name of a row of the table installation, which ends with a version: the schema that a hub has to know at least to
# work on that version.
_WORKS_FROM = "works_from:"
FIRST = "0001"
"""The schema that a step works from if it does not say: all steps so far only add."""

# Alembic keeps the running migration in module globals; two stores of one process must take turns.
_one_at_a_time = threading.Lock()


async def migrate(database: Database) -> None:
    """Bring the schema to head; does not write if it is there already, or beyond and made for this hub as well.

    Raises:
        ConfigError: the schema is newer, and this hub cannot work on it.
        StoreUnavailable: the database does not answer, or another process holds it for too long.
    """
    if not await database.read(partial(_is_current, where=database.where)):
        _load()
        await database.write(partial(_upgrade, where=database.where))


def refuse_unless_migrated(connection: Connection) -> None:
    """Raise ``StoreUnavailable`` if this hub cannot work on the schema."""
    found = schema_of(connection)
    if found == head():
        return
    if found is None or found in _known():
        raise StoreUnavailable(
            f"expected the state store to have schema {head()}, got {found or 'an empty database'}; restart the hub"
        )
    if head() < (oldest := _oldest(connection, found)):
        raise StoreUnavailable(
            f"expected a state store on which a hub of schema {head()} can work, got schema {found}, which takes a hub of"
            f" schema {oldest} or newer: a newer hub has migrated the store; stop this process and start the newer version"
        )


@cache
def head() -> str:
    """Return the newest schema version that this hub knows."""
    return max(_known())


def schema_of(connection: Connection) -> str | None:
    """Return the schema version of the store, which Alembic notes in a table of its own; None where there is none yet."""
    if not inspect(connection).has_table(_NOTES.name):
        return None
    found: str | None = connection.scalar(select(_NOTES.c.version_num))
    return found


def _is_current(connection: Connection, where: str) -> bool:
    found = schema_of(connection)
    if found is None or found in _known():
        return found == head()
    if head() < (oldest := _oldest(connection, found)):
        raise ConfigError(
            f"expected a state store with a schema up to {head()}, {where} has {found}: it was migrated by a newer hub,"
            f" and takes a hub of schema {oldest} or newer; run that version, or restore a backup from before"
        )
    return True


def _oldest(connection: Connection, found: str) -> str:
    """Return the oldest schema whose hub can work on the schema ``found``; itself where the store does not say."""
    if not inspect(connection).has_table(installation.name):
        return found
    noted = select(installation.c.value).where(installation.c.name == _WORKS_FROM + found)
    oldest: str | None = connection.scalar(noted)
    return oldest or found


def _note_oldest(connection: Connection, oldest: str) -> None:
    insert = insert_into(installation, connection.dialect.name)
    noted = insert.on_conflict_do_update(
        index_elements=[installation.c.name], set_={"value": insert.excluded.value}
    )
    connection.execute(noted, {"name": _WORKS_FROM + head(), "value": oldest})


def _load() -> None:
    """Load Alembic: seconds on a busy machine, and not while the processes that are at work wait for the write lock."""
    for name in ("alembic.command", "alembic.config", "alembic.script"):
        import_module(name)


def _upgrade(connection: Connection, where: str) -> None:
    # Again under the write lock: another process may have been faster.
    if _is_current(connection, where):
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")
        scripts = ScriptDirectory.from_config(config).walk_revisions()
    # A step says so if it takes something away: each hub that knows the oldest schema of them all can work on the last.
    _note_oldest(connection, max(getattr(step.module, "works_from", FIRST) for step in scripts))


@cache
def _known() -> frozenset[str]:
    """Return the versions of the scripts, whose files are called by them."""
    versions = frozenset(file.name[:4] for file in (_SCRIPTS / "versions").glob("[0-9]*.py"))
    assert versions, "the package was built without hub/state/migrations/versions"
    return versions


def _config() -> Config:
    # Only here: loading Alembic takes longer than all else that a start on a migrated store does with the database.
    from alembic.config import Config

    config = Config()
    # "%" would be read as an interpolation by the config parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
