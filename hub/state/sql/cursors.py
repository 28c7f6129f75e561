"""Pollers' cursors and the keys of what they have taken in, as SQL operations (see ``CursorStore``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import Insert

from hub.errors import LeaseHeld
from hub.state.engine.bulk_insert import insert_rows
from hub.state.engine.upsert import in_lists, insert_into
from hub.state.process_identity import describe
from hub.state.protocols import Cursor
from hub.state.schema import leases, pollers, seen_keys

# Built once: SQLAlchemy's cache spares compiling a statement, not building it.
_CURSOR = select(pollers.c.cursor).where(pollers.c.poller == bindparam("of_poller"))
_SEEN = select(seen_keys.c.key).where(
    seen_keys.c.poller == bindparam("of_poller"), seen_keys.c.key.in_(bindparam("of_keys", expanding=True))
)
# Bytes of a key beside the poller's name in an index of PostgreSQL, whose rows hold 2704.
_LONGEST_KEY = 2000
_SURROGATE = re.compile("[\ud800-\udfff]")
_HOLDER = select(leases.c.holder).where(leases.c.name == bindparam("of_poller"))


def cursor(connection: Connection, poller: str) -> Cursor | None:
    """Return the cursor of a poller, or None before its first commit."""
    found: Cursor | None = connection.scalar(_CURSOR, {"of_poller": poller})
    return found


def cursors(connection: Connection) -> Mapping[str, tuple[Cursor, datetime]]:
    """Return all cursors with the time of their last commit."""
    rows = connection.execute(select(pollers.c.poller, pollers.c.cursor, pollers.c.committed_at))
    return {row.poller: (row.cursor, row.committed_at) for row in rows}


def unseen(connection: Connection, poller: str, keys: Sequence[str]) -> frozenset[str]:
    """Return those of ``keys`` that the poller has not taken in yet."""
    held = {key: _held(key) for key in keys}
    seen: set[str] = set()
    for part in in_lists(list(held.values())):
        seen.update(connection.scalars(_SEEN, {"of_poller": poller, "of_keys": list(part)}))
    return frozenset(key for key, stands_as in held.items() if stands_as not in seen)


def commit(connection: Connection, poller: str, cursor: Cursor, keys: Sequence[str], holder: str) -> None:
    """Record the keys and move the cursor, if nobody else took the lease.

    A lease that has lapsed and that nobody took is still ours, and stays so until the commit: one process at a time writes.

    Raises:
        LeaseHeld: the lease named ``poller`` is another's, or nobody's.
    """
    now = datetime.now(UTC)
    found = connection.scalar(_HOLDER, {"of_poller": poller})
    if found != holder:
        by = f"{describe(found)} holds it" if found else "it was given back"
        raise LeaseHeld(
            f"expected to hold the lease {poller!r}, {by}; nothing was recorded, the poll starts over"
        )
    rows = [(poller, _held(key), now) for key in keys]
    insert_rows(connection, _remember(connection.dialect.name), ("poller", "key", "seen_at"), rows)
    connection.execute(
        _move(connection.dialect.name), {"poller": poller, "cursor": dict(cursor), "committed_at": now}
    )


def reset(connection: Connection, poller: str, forget_keys: bool) -> None:
    """Delete a cursor and, if asked to, the keys."""
    connection.execute(delete(pollers).where(pollers.c.poller == poller))
    if forget_keys:
        connection.execute(delete(seen_keys).where(seen_keys.c.poller == poller))


def _held(key: str) -> str:
    """Return what a key stands as: itself, or its hash where not every database holds it (NUL, half a surrogate, length).

    A key is made of what a partner sends, and is asked for before anything of it is checked.
    """
    if key.isascii():
        size, fits = len(key), "\0" not in key
    else:
        encoded = key.encode("utf-8", "surrogatepass")
        size, fits = len(encoded), "\0" not in key and not _SURROGATE.search(key)
    if fits and size <= _LONGEST_KEY:
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


@cache
def _remember(dialect: str) -> Insert:
    return insert_into(seen_keys, dialect).on_conflict_do_nothing()


@cache
def _move(dialect: str) -> Insert:
    insert = insert_into(pollers, dialect)
    return insert.on_conflict_do_update(
        index_elements=[pollers.c.poller],
        set_={"cursor": insert.excluded.cursor, "committed_at": insert.excluded.committed_at},
    )
