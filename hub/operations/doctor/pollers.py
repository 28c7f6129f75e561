"""The pollers' part of ``hub doctor``: what the last poll failed of, and which poller has never succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.config.settings import Settings
from hub.errors import ConfigError, StoreUnavailable
from hub.observability.health_checks import Diagnosis, fault, well
from hub.service.flows import poller_names
from hub.state.engine.factory import connect
from hub.state.engine.migrate import refuse_unless_migrated
from hub.state.engine.sqlite import SqliteDatabase
from hub.state.poller_notes import PollerNotes
from hub.state.store import SqlStore


async def examine_pollers(settings: Settings) -> list[Diagnosis]:
    """Look at what each poller has noted; nothing where no hub of this version has run yet."""
    database = connect(settings.state.url, busy_timeout=settings.state.busy_timeout)
    try:
        if isinstance(database, SqliteDatabase) and not database.path.exists():
            return []
        await database.prepare()
        await database.read(refuse_unless_migrated)
        return await _examine(settings, SqlStore(database))
    except (StoreUnavailable, ConfigError):
        # Said by the examination of the state store.
        return []
    finally:
        await database.close()


async def _examine(settings: Settings, store: SqlStore) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    cursors = await store.cursors()
    for name in poller_names(settings, store):
        failure = await PollerNotes(store, name).failure()
        if failure:
            found.append(_failing(name, failure, succeeded=name in cursors))
        elif name in cursors:
            found.append(well(f"poller {name}", f"last moved at {cursors[name][1]:%Y-%m-%d %H:%M} UTC"))
    return found


def _failing(name: str, failure: Mapping[str, Any], *, succeeded: bool) -> Diagnosis:
    never = "" if succeeded else "has never succeeded; "
    status = f", status {failure['status']}" if failure.get("status") else ""
    got = f"{never}fails since {failure['since']} ({failure['code']}{status}): {failure['reason']}"
    return fault(
        f"poller {name}", expected="a poll that succeeds", got=got, remedy=f"check {failure['check']}"
    )
