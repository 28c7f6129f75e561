"""Bring the schema to the newest version at start, however many processes start at once.

The versions are Alembic scripts in ``hub/state/migrations``, found next to this module however it was installed. All
steps run in one write transaction (one process at a time), so that a process that is killed half-way leaves the schema as it was.
"""

from __future__ import annotations

import threading
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from hub.errors import ConfigError, StoreUnavailable
from hub.state.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).with_name("migrations")
_NOTES = table("alembic_version", column("version_num"))

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
    return max(_known())


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
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    """Read what Alembic noted in its own table."""
    if not inspect(connection).has_table(_NOTES.name):
        return None
    found: str | None = connection.scalar(select(_NOTES.c.version_num))
    return found


@cache
def _known() -> frozenset[str]:
    """Give the versions of the scripts, whose files are called by them."""
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
