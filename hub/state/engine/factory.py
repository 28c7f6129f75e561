"""From the URL of the settings to a database."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from hub.errors import ConfigError
from hub.state.engine.database import Database
from hub.state.engine.postgresql import PostgresDatabase
from hub.state.engine.sqlite import SqliteDatabase


def connect(url: str, *, busy_timeout: timedelta) -> Database:
    """Return the database that ``url`` names, without touching it yet.

    Raises:
        ConfigError: the URL is no URL, or names a database that the hub does not know.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without the cause: a port that is no number may be a part of the password.
        raise ConfigError(
            "state.url: expected sqlite+aiosqlite:///<file> or postgresql+asyncpg://user:password@host:5432/database, "
            "got no URL"
        ) from None
    if "@" in (parsed.host or ""):
        raise ConfigError(
            "state.url: expected one @, between password and host; write %40 for those in the password"
        )
    match parsed.get_backend_name():
        case "sqlite":
            return SqliteDatabase(parsed, busy_timeout)
        case "postgresql":
            return PostgresDatabase(parsed, busy_timeout)
        case other:
            raise ConfigError(f"state.url: expected a sqlite or postgresql URL, got {other!r}")
