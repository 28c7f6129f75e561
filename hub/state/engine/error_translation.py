"""Where the database's exceptions end: every one becomes an error of ours that says what to do.

SQLAlchemy's own texts hold statements and parameters, which may be personal data. Only the driver's message passes.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hub.errors import HubError, InvalidMessage, StatementRejected, StoreUnavailable
from hub.observability.metrics import STORE_FAILURES

# What a driver's message contains, in lower case, and what the operator can do about it; the first match counts.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        "locked",
        "another process is writing to it for too long: find it (`fuser` names it) and let it finish or end it",
    ),
    (
        "busy",
        "another process is writing to it for too long: find it (`fuser` names it) and let it finish or end it",
    ),
    ("full", "make room on the disk it is on; nothing was recorded"),
    ("no space", "make room on the disk it is on; nothing was recorded"),
    ("too large", "raise the file size limit (`ulimit -f`); nothing was recorded"),
    ("disk i/o", "check the disk, its free space and the file size limit; nothing was recorded"),
    (
        "read-only transaction",
        "the server is a standby, or was switched to read-only: the hub connects anew and goes on by itself once the"
        " address leads to the primary",
    ),
    ("readonly", "give this user the right to write to the file and its folder"),
    ("read-only", "give this user the right to write to the file and its folder"),
    ("permission", "give this user the right to write to the file and its folder"),
    ("unable to open", "give this user the right to write to the file and its folder"),
    ("malformed", "the file is damaged: stop the hub and restore a backup"),
    ("not a database", "the file is damaged or is something else: check the path, or restore a backup"),
    ("no such table", "the file was replaced while the hub was running: restart the hub"),
    ("password", "check the user and the password in [state] url"),
)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\([^()]*\)")
_NO_REMEDY = "check that the database runs and can be reached; the hub goes on by itself once it answers"

# What the drivers say about a value that no retry makes storable; the rest of such a message may be personal data.
_REFUSED_VALUES = ("for query argument", "invalid byte sequence", "index row ")


def unavailable(where: str, busy_timeout: timedelta, error: BaseException) -> StoreUnavailable:
    """Return the error that tells what the database said, which database it is, and what to do."""
    said = (str(error.orig) if isinstance(error, DBAPIError) else str(error)) or type(error).__name__
    said = said.splitlines()[0]
    if isinstance(error, DBAPIError) and not isinstance(error, OperationalError | InterfaceError):
        # What a statement was refused for may be a value, which the driver quotes.
        said = _QUOTED.sub("…", said)
    remedy = next((remedy for text, remedy in _REMEDIES if text in said.lower()), _NO_REMEDY)
    waited = f" (waited {busy_timeout.total_seconds():g} s)" if "locked" in said else ""
    if isinstance(error, IntegrityError | ProgrammingError):
        return StatementRejected(
            f"expected the state store {where} to take a statement, got {said!r}: a fault of ours"
        )
    return StoreUnavailable(f"expected the state store {where} to answer, got {said!r}{waited}; {remedy}")


def _is_refused_value(error: BaseException) -> bool:
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return True
    return isinstance(error, DataError) or any(text in str(error) for text in _REFUSED_VALUES)


@contextmanager
def translate_errors(where: str, busy_timeout: timedelta) -> Iterator[None]:
    """Turn the errors of drivers into our own.

    Raises:
        StoreUnavailable: the database is away, locked, full or damaged.
        StatementRejected: it refuses the statement.
        InvalidMessage: a value is one that the database cannot hold (on PostgreSQL a NUL in a text, or a text too long for
            its index), or that is refused before it gets there (a moment without a zone, what is no JSON).
    """
    try:
        yield
    except HubError:
        raise
    except (StatementError, PendingRollbackError, PoolTimeoutError, sqlite3.Error, OSError) as error:
        if _is_refused_value(error):
            # Without the cause: its text may hold the value.
            raise InvalidMessage(
                "expected values that the state store can hold, got a text or a number it refuses"
            ) from None
        STORE_FAILURES.inc()
        raise unavailable(where, busy_timeout, error) from error
