"""Bring the schema to the newest version at start, however many processes start at once.

The versions are Alembic scripts in ``hub/state/migrations``, found next to this module however it was installed. All
steps run in one write transaction (one process at a time), so that a process that is killed half-way leaves the schema as it was.
"""

from __future__ import annotations

import threading
from functools import cache, partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hub.errors import ConfigError, StoreUnavailable
from hub.state.database import Database

_SCRIPTS = Path(__file__).with_name("migrations")

# Alembic keeps the running migration in module globals; two stores of one process must take turns.
_one_at_a_time = threading.Lock()


async def migrate(database: Database) -> None:
    """Bring the schema to head; does not write if it is there already.

    Raises:
        ConfigError: the schema is newer than this hub.
        StoreUnavailable: the database does not answer, or another process holds it for too long.
    """
    if not await database.read(partial(_is_current, where=database.where)):
        await database.write(partial(_upgrade, where=database.where))


def refuse_unless_migrated(connection: Connection) -> None:
    """Raise ``StoreUnavailable`` if the schema is not the one that this hub was written for."""
    found = _version(connection)
    if found != head():
        raise StoreUnavailable(
            f"expected the state store to have schema {head()}, got {found or 'an empty database'}; restart the hub"
        )


@cache
def head() -> str:
    """Give the newest schema version that this hub knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None, "the package was built without hub/state/migrations/versions"
    return newest


def _is_current(connection: Connection, where: str) -> bool:
    found = _version(connection)
    if found is not None and found not in _known():
        raise ConfigError(
            f"expected a state store with a schema up to {head()}, {where} has {found}: "
            "it was migrated by a newer hub; run that version, or restore a backup from before"
        )
    return found == head()


def _upgrade(connection: Connection, where: str) -> None:
    # Again under the write lock: another process may have been faster.
    if _is_current(connection, where):
        return
    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    # "%" would be read as an interpolation by the config parser.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
