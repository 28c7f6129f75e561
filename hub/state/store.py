"""The state store in SQL: every protocol of ``hub.state.protocols``, on SQLite or PostgreSQL.

The statements are plain functions in ``hub/state/sql/``; this file says which of them read and which write. Writes go
through the group commit of ``hub.state.engine.group_commit`` and are durable on return; reads have connections of their own.
Every method raises ``StoreUnavailable`` as the protocols promise; ``hub.state.engine.error_translation`` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, exists, select

from hub.errors import ConfigError
from hub.models.events import AnyEvent
from hub.models.order import Applied, Order
from hub.state.engine.database import Database, Operation
from hub.state.engine.factory import connect
from hub.state.engine.group_commit import Mergeable, Writer
from hub.state.engine.migrate import migrate, refuse_unless_migrated
from hub.state.engine.sqlite import SqliteDatabase
from hub.state.protocols import (
    PRESENCE,
    Claim,
    Cursor,
    RefusedMessage,
    Signing,
    Suspicion,
    TimelineEntry,
    Unechoed,
)
from hub.state.schema import effects, orders, pollers, seen_keys, timeline, told
from hub.state.sql import cursors as sql_cursors
from hub.state.sql import echoes as sql_echoes
from hub.state.sql import effects as sql_effects
from hub.state.sql import installation as sql_installation
from hub.state.sql import leases as sql_leases
from hub.state.sql import order_events as sql_apply
from hub.state.sql import orders as sql_orders
from hub.state.sql import processes as sql_holders
from hub.state.sql import pruning as sql_prune
from hub.state.sql import refused as sql_refused
from hub.state.sql import suspects as sql_suspects
from hub.state.sql import timeline as sql_timeline

K = TypeVar("K")

# How long to wait for another process that writes to the same file, before the caller is told that it is locked.
BUSY_TIMEOUT = timedelta(seconds=10)


async def open_store(url: str, *, busy_timeout: timedelta = BUSY_TIMEOUT, create: bool = True) -> SqlStore:
    """Open the store that ``url`` names (``[state] url``), creating the file and bringing the schema to head.

    Args:
        url: of the store.
        busy_timeout: how long to wait for a locked SQLite file.
        create: whether a SQLite file that does not exist is made.

    Raises:
        ConfigError: the URL is wrong, the schema is newer than this hub, or there is no file and none may be made.
        StoreUnavailable: the database does not answer or cannot be written.
    """
    database = connect(url, busy_timeout=busy_timeout)
    if not create and isinstance(database, SqliteDatabase) and not database.path.exists():
        await database.close()
        raise ConfigError(
            f"state.url: expected the state store of a hub that has run, got no file at {database.path.absolute()};"
            " see [state] url, the working directory, and HUB_CONFIG"
        )
    try:
        await database.prepare()
        await migrate(database)
    except BaseException:
        await database.close()
        raise
    return SqlStore(database)


class SqlStore:
    """``hub.state.protocols.Store`` on a migrated database; made by ``open_store``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = Writer(database)

    # --- cursors

    async def cursor(self, poller: str) -> Cursor | None:
        """Return the cursor of a poller, or None before its first commit."""
        return await self._database.read(partial(sql_cursors.cursor, poller=poller))

    async def cursors(self) -> Mapping[str, tuple[Cursor, datetime]]:
        """Return all cursors with the time of their last commit."""
        return await self._database.read(sql_cursors.cursors)

    async def unseen(self, poller: str, keys: Sequence[str]) -> frozenset[str]:
        """Return those of ``keys`` that the poller has not taken in yet."""
        if not keys:
            return frozenset()
        return await self._database.read(partial(sql_cursors.unseen, poller=poller, keys=keys))

    async def commit(self, poller: str, cursor: Cursor, keys: Sequence[str], *, holder: str) -> None:
        """Record keys and cursor in one transaction; raises ``LeaseHeld`` if the lease is not the holder's."""
        await self._writer.write(
            partial(sql_cursors.commit, poller=poller, cursor=cursor, keys=tuple(keys), holder=holder)
        )

    async def reset(self, poller: str, *, forget_keys: bool = False) -> None:
        """Delete a cursor, and the keys if asked to."""
        await self._writer.write(partial(sql_cursors.reset, poller=poller, forget_keys=forget_keys))

    # --- orders

    async def record_orders(self, events: Sequence[AnyEvent]) -> frozenset[str]:
        """Insert orders that are not there; gives the ids of events whose order another event had recorded."""
        if not events:
            return frozenset()
        return await self._writer.write(partial(sql_orders.record_orders, events=tuple(events)))

    async def load_order(self, order_id: str) -> Order:
        """Return an order; raises ``UnknownOrder`` if no producer has recorded it."""
        return await self._database.read(partial(sql_orders.load_order, order_id=order_id))

    async def known_orders(self, order_ids: Sequence[str]) -> frozenset[str]:
        """Return those of ``order_ids`` whose order is recorded."""
        if not order_ids:
            return frozenset()
        return await self._database.read(partial(sql_orders.known_orders, order_ids=tuple(order_ids)))

    async def apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        """Apply an event about an order once; raises ``UnknownOrder`` or ``InvalidMessage``."""
        return await self._writer.write(Mergeable(sql_apply.apply_events, event))

    async def find_orders(self, text: str, *, limit: int = 20) -> Sequence[Order]:
        """Find orders by hub id, PO, printable id, tracking number or SKU; newest first."""
        return await self._database.read(partial(sql_orders.find_orders, text=text.strip(), limit=limit))

    async def newest_orders(self, *, limit: int = 20) -> Sequence[Order]:
        """Return the orders recorded last, newest first."""
        return await self._database.read(partial(sql_orders.newest_orders, limit=limit))

    # --- effects, and what partners were told

    async def claim_effect(
        self,
        key: str,
        *,
        holder: str,
        lease: timedelta,
        apart_from: Sequence[str] = (),
        carried: bool = False,
        key_before: str = "",
        content: str | None = None,
    ) -> Claim:
        """Take the right to make a call once."""
        claiming = sql_effects.Claiming(key, holder, lease, tuple(apart_from), carried, key_before, content)
        return await self._writer.write(Mergeable(sql_effects.claim_effects, claiming))

    async def record_effect(self, key: str, note: str = "") -> None:
        """Record that the effect is there; what was recorded first stays."""
        await self._writer.write(Mergeable(sql_effects.record_effects, (key, note)))

    async def release_effect(self, key: str, *, holder: str) -> None:
        """Release a claim after a failed attempt."""
        await self._writer.write(partial(sql_effects.release_effect, key=key, holder=holder))

    async def delegate_effect(self, key: str) -> None:
        """Record that a stored copy carries the effect on."""
        await self._writer.write(partial(sql_effects.delegate_effect, key=key))

    async def told(self, partner: str, order_id: str) -> Mapping[str, Any] | None:
        """Return what was recorded last, or None."""
        return await self._database.read(partial(sql_effects.told_about, partner=partner, order_id=order_id))

    async def tell(
        self, partner: str, order_id: str, view: Mapping[str, Any], *, awaits_echo: bool = False
    ) -> None:
        """Record what the partner was told."""
        await self._writer.write(
            partial(sql_effects.tell, partner=partner, order_id=order_id, view=view, awaits_echo=awaits_echo)
        )

    async def awaits_echo_since(self, partner: str, order_id: str) -> datetime | None:
        """Return when the last report about an order was recorded, if the feed has not shown it; else None."""
        return await self._database.read(
            partial(sql_echoes.awaits_echo_since, partner=partner, order_id=order_id)
        )

    async def end_wait_for_echo(self, partner: str, order_id: str, *, reported_at: datetime) -> None:
        """Record that the feed shows the report of that moment."""
        await self._writer.write(
            partial(sql_echoes.end_wait_for_echo, partner=partner, order_id=order_id, reported_at=reported_at)
        )

    async def unechoed(
        self,
        partner: str,
        account: str,
        *,
        reported_after: datetime,
        reported_before: datetime,
        limit: int = 20,
    ) -> Unechoed:
        """Count the reports of an account that the feed has not shown, and return some of their orders."""
        return await self._database.read(
            partial(
                sql_echoes.unechoed,
                partner=partner,
                account=account,
                reported_after=reported_after,
                reported_before=reported_before,
                limit=limit,
            )
        )

    # --- leases, and who is there to hold them

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta) -> None:
        """Take or renew a lease; raises ``LeaseHeld`` if somebody else who may be alive holds it."""
        await self._writer.write(partial(sql_leases.acquire_lease, name=name, holder=holder, lease=lease))

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Release a lease; nothing happens if it is not ours."""
        await self._writer.write(partial(sql_leases.release_lease, name=name, holder=holder))

    async def leases(self) -> Mapping[str, tuple[str, datetime]]:
        """Return all leases with holder and end."""
        return await self._database.read(sql_leases.all_leases)

    async def renew_presence(self, holder: str) -> None:
        """Say that a process is there, for the next ``PRESENCE``."""
        await self._writer.write(partial(sql_holders.renew_presence, holder=holder, presence=PRESENCE))

    async def end_presence(self, holder: str) -> None:
        """Say that a process ends."""
        await self._writer.write(partial(sql_holders.end_presence, holder=holder))

    # --- the installation

    async def signing(self) -> Signing:
        """Return the key that all processes sign with; the first call draws it."""
        found: Signing | None = await self._database.read(sql_installation.signing)
        return found if found is not None else await self._writer.write(_begin_signing)

    async def handed_on_at(self, effect_key: str) -> datetime | None:
        """Return since when a stored copy carries the effect on."""
        return await self._database.read(partial(sql_installation.handed_on_at, key=effect_key))

    async def has_recorded(self, event: AnyEvent) -> bool:
        """Whether an event of this id and type has made or changed its order."""
        return await self._database.read(partial(sql_installation.has_recorded, event=event))

    # --- timeline

    async def add_to_timeline(self, entries: Sequence[TimelineEntry]) -> None:
        """Append entries."""
        if entries:
            await self._writer.write(partial(sql_timeline.add_to_timeline, entries=tuple(entries)))

    async def timeline_of(self, order_id: str) -> Sequence[TimelineEntry]:
        """Return an order's entries, oldest first."""
        return await self._database.read(partial(sql_timeline.timeline_of, order_id=order_id))

    # --- letters that the broker refuses

    async def keep_refused(self, message: RefusedMessage) -> None:
        """Write a letter down; the same one again changes nothing."""
        await self._writer.write(partial(sql_refused.keep_refused, message=message))

    async def refused(self) -> Sequence[RefusedMessage]:
        """Return all letters that the broker refused, oldest first."""
        return await self._database.read(sql_refused.refused)

    # --- messages in hand

    async def suspect(self, queue: str, message: str, *, holder: str, take: bool = False) -> Suspicion:
        """Note that a redelivered message is in hand, unless processes have crashed with it."""
        return await self._writer.write(
            partial(sql_suspects.suspect, queue=queue, message=message, holder=holder, take=take)
        )

    async def hold_suspect(self, queue: str, message: str, *, holder: str) -> None:
        """Note that a message with crashes is in hand."""
        await self._writer.write(
            partial(sql_suspects.hold_suspect, queue=queue, message=message, holder=holder)
        )

    async def clear_suspect(self, queue: str, message: str) -> None:
        """Forget a message, since it is settled."""
        await self._writer.write(partial(sql_suspects.clear_suspect, queue=queue, message=message))

    async def clear_suspects(self, holder: str) -> None:
        """Forget all that a process has in hand."""
        await self._writer.write(partial(sql_suspects.clear_suspects, holder=holder))

    # --- the store as a whole

    async def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers, is migrated and takes a write."""
        await self._database.check()
        await self._database.read(refuse_unless_migrated)
        await self._database.write(sql_holders.prove_writable)

    async def is_empty(self) -> bool:
        """Whether nothing was ever recorded; leases and presence, which every start takes, do not count."""
        return await self._database.read(_is_empty)

    async def prune(self, older_than: datetime) -> Mapping[str, int]:
        """Remove what is old in chunks; the file of SQLite does not shrink, its room is used again."""
        entries = await self._prune(
            partial(sql_prune.old_entries, older_than=older_than), sql_prune.forget_entries
        )
        done = await self._prune(
            partial(sql_prune.old_effects, older_than=older_than),
            partial(sql_prune.forget_effects, older_than=older_than),
        )
        events = await self._prune(
            partial(sql_prune.old_events, older_than=older_than),
            partial(sql_prune.forget_events, older_than=older_than),
        )
        keys = 0
        for poller in await self.cursors():
            keys += await self._prune(
                partial(sql_prune.old_keys, poller=poller, older_than=older_than),
                partial(sql_prune.forget_keys, poller=poller, older_than=older_than),
            )
        return {"timeline": entries, "effects": done, "order_events": events, "seen_keys": keys}

    async def _prune(
        self, find: Operation[Sequence[K]], forget: Callable[[Connection, Sequence[K]], int]
    ) -> int:
        removed = 0
        while found := await self._database.read(find):
            removed += await self._writer.write(_with(forget, found))
            if len(found) < sql_prune.CHUNK:
                break
        return removed

    async def close(self) -> None:
        """Finish pending writes and close; later calls raise ``StoreUnavailable``."""
        await self._writer.close()
        await self._database.close()


def _with(forget: Callable[[Connection, Sequence[K]], int], found: Sequence[K]) -> Operation[int]:
    return lambda connection: forget(connection, found)


def _begin_signing(connection: Connection) -> Signing:
    return sql_installation.begin_signing(connection, is_new=_is_empty(connection))


def _is_empty(connection: Connection) -> bool:
    kept = (orders, effects, pollers, seen_keys, told, timeline)
    found = connection.execute(select(*(exists(select(1).select_from(table)) for table in kept))).one()
    return not any(found)
