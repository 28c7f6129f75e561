"""The state store's part of ``hub doctor``: there, ours, of this hub's schema, writable, with room to grow."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

from hub.config.settings import State
from hub.config.types import shown_url
from hub.errors import ConfigError, StoreUnavailable
from hub.observability.health_checks import Diagnosis, fault, well
from hub.state.engine.database import Database
from hub.state.engine.factory import connect
from hub.state.engine.migrate import head, refuse_unless_migrated, schema_of
from hub.state.engine.sqlite import SqliteDatabase
from hub.state.sql.processes import prove_writable
from hub.state.sql.refused import count_refused

# Bytes. A year of orders takes less; below it something else is filling the disk.
LEAST_FREE = 512 * 1024**2
# A doctor does not wait as long for a locked file as the service does.
_PATIENCE = timedelta(seconds=5)
_MIB = 1024**2


async def examine_store(settings: State, *, least_free: int = LEAST_FREE) -> list[Diagnosis]:
    """Open the store and write a row that is gone again; creates nothing."""
    try:
        database = connect(settings.url, busy_timeout=min(settings.busy_timeout, _PATIENCE))
    except ConfigError as error:
        remedy = "correct [state] url"
        return [fault("state store", expected="an address of a database", got=str(error), remedy=remedy)]
    try:
        if not isinstance(database, SqliteDatabase):
            return [await _opened(database, shown_url(settings.url))]
        room = _room(database.path, least_free)
        if not database.path.exists():
            return [_not_there_yet(database.path), room]
        return [await _opened(database, shown_url(settings.url)), room]
    finally:
        await database.close()


async def _opened(database: Database, shown: str) -> Diagnosis:
    try:
        await database.prepare()
        await database.read(refuse_unless_migrated)
        await database.write(prove_writable)
        kept = await database.read(count_refused)
        schema = await database.read(schema_of)
    except (StoreUnavailable, ConfigError) as error:
        return fault(
            "state store",
            expected=f"{shown} with schema {head()}, writable",
            got=str(error),
            remedy="the hub migrates at its start; a schema from a newer hub needs that version, or a backup from before",
        )
    if kept:
        return fault(
            "state store",
            expected="no letters that the broker refused",
            got=f"{kept} in the table refused_messages of {shown}",
            remedy="hub letters refused list has the broker's words: correct right or limit, publish the body again, delete the row",
        )
    newer = "" if schema == head() else f", of a newer hub beside this one (schema {head()})"
    return well("state store", f"{shown}, schema {schema}{newer}, writable")


def _not_there_yet(path: Path) -> Diagnosis:
    folder = _nearest(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        return fault(
            "state store",
            expected=f"a folder for {path} that can be written",
            got=f"no right to write to {folder}",
            remedy="give the hub's user that right, or set [state] url to another place",
        )
    return well("state store", f"{path} is not there yet; the hub makes it at its first start")


def _room(path: Path, least_free: int) -> Diagnosis:
    folder = _nearest(path)
    free = shutil.disk_usage(folder).free
    if free < least_free:
        return fault(
            "disk of the state store",
            expected=f"at least {least_free // _MIB} MiB free",
            got=f"{free // _MIB} MiB free at {folder}",
            remedy="make room: with a full disk nothing is recorded, and all work waits",
        )
    return well("disk of the state store", f"{free // _MIB} MiB free")


def _nearest(path: Path) -> Path:
    """Return the nearest folder above that is there."""
    return next(folder for folder in path.parents if folder.is_dir())
