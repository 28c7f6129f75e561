"""Doubles for protocols. The conformance suites run on these and on the real ones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from hub.errors import InvalidMessage, LeaseHeld, StoreUnavailable, UnknownOrder
from hub.models.events import AnyEvent, OrderCreated
from hub.models.order import Applied, Order
from hub.models.order_transitions import FieldError, apply
from hub.state.event_identity import AppliedBefore, is_other_content, may_be, recorded_ids, refuse_another
from hub.state.process_identity import describe, is_gone, process_of
from hub.state.protocols import (
    KEPT_BEHIND_COMMIT,
    PRESENCE,
    Claim,
    ClaimState,
    Cursor,
    RefusedMessage,
    Signing,
    Suspicion,
    TimelineEntry,
    Unechoed,
    duplicate_notes,
    match_notes,
)


class MemoryStore:
    """`hub.state.protocols.Store` in plain dicts, for unit tests; nothing survives the object.

    Set `away` to a text to have every call raise `StoreUnavailable` with it, until it is emptied again.
    """

    def __init__(self) -> None:
        self.away = ""
        self._cursors: dict[str, tuple[Cursor, datetime]] = {}
        self._seen: dict[tuple[str, str], datetime] = {}
        self._orders: dict[str, Order] = {}
        self._created_by: dict[str, str] = {}
        self._recorded_at: dict[str, datetime] = {}
        self._events: dict[str, tuple[AppliedBefore, Applied]] = {}
        self._applied_at: dict[str, datetime] = {}
        self._claims: dict[str, tuple[str, datetime]] = {}
        self._travelling: dict[str, datetime] = {}
        self._contents: dict[str, str | None] = {}
        self._handed_on: dict[str, datetime] = {}
        self._done: dict[str, tuple[str, datetime]] = {}
        self._told: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._unechoed: dict[tuple[str, str], datetime] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._holders: dict[str, tuple[datetime, datetime]] = {}
        self._timeline: list[TimelineEntry] = []
        self._refused: dict[str, RefusedMessage] = {}
        self._signing: Signing | None = None
        self._suspects: dict[tuple[str, str], tuple[str | None, int]] = {}

    # --- cursors

    async def cursor(self, poller: str) -> Cursor | None:
        self._answer()
        found = self._cursors.get(poller)
        return found[0] if found else None

    async def cursors(self) -> Mapping[str, tuple[Cursor, datetime]]:
        self._answer()
        return dict(self._cursors)

    async def unseen(self, poller: str, keys: Sequence[str]) -> frozenset[str]:
        self._answer()
        return frozenset(key for key in keys if (poller, key) not in self._seen)

    async def commit(self, poller: str, cursor: Cursor, keys: Sequence[str], *, holder: str) -> None:
        self._answer()
        held = self._leases.get(poller)
        if held is None or held[0] != holder:
            by = f"{describe(held[0])} holds it" if held else "it was given back"
            raise LeaseHeld(f"expected to hold the lease {poller!r}, {by}")
        now = datetime.now(UTC)
        for key in keys:
            self._seen.setdefault((poller, key), now)
        self._cursors[poller] = _through_json(cursor), now

    async def reset(self, poller: str, *, forget_keys: bool = False) -> None:
        self._answer()
        self._cursors.pop(poller, None)
        if forget_keys:
            self._seen = {seen: at for seen, at in self._seen.items() if seen[0] != poller}

    # --- orders

    async def record_orders(self, events: Sequence[AnyEvent]) -> frozenset[str]:
        self._answer()
        for event in events:
            if not isinstance(event.data, OrderCreated):
                raise InvalidMessage(f"expected an order.created event, got {event.type}", field="type")
        now = datetime.now(UTC)
        for event in events:
            order_id = event.data.order_id
            if order_id not in self._orders:
                self._orders[order_id] = Order.new(event.data)
                self._created_by[order_id] = event.id
                self._recorded_at[order_id] = now
        return frozenset(event.id for event in events if self._created_by[event.data.order_id] != event.id)

    async def load_order(self, order_id: str) -> Order:
        self._answer()
        return self._order(order_id)

    async def known_orders(self, order_ids: Sequence[str]) -> frozenset[str]:
        self._answer()
        return frozenset(order_id for order_id in order_ids if order_id in self._orders)

    async def apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        self._answer()
        order_id = event.order_id
        if order_id is None:
            raise InvalidMessage(f"expected an event about an order, got {event.type}", field="order_id")
        order = self._order(order_id)
        for recorded_id in recorded_ids(event):
            known = self._events.get(recorded_id)
            if known is not None and may_be(event, recorded_id, known[0]):
                refuse_another(event, known[0])
                return order, known[1]
        try:
            after, applied = apply(order, event)
        except FieldError as fault:
            raise InvalidMessage(str(fault), field=fault.field) from None
        self._orders[order_id] = after
        self._events[recorded_ids(event)[0]] = AppliedBefore.of(event, order_id), applied
        self._applied_at[recorded_ids(event)[0]] = datetime.now(UTC)
        self._timeline.extend(duplicate_notes(event, order, applied))
        self._timeline.extend(match_notes(event, order))
        return after, applied

    async def find_orders(self, text: str, *, limit: int = 20) -> Sequence[Order]:
        wanted = text.strip()
        return [
            order for order in await self.newest_orders(limit=len(self._orders)) if wanted in _names(order)
        ][:limit]

    async def newest_orders(self, *, limit: int = 20) -> Sequence[Order]:
        self._answer()

        def age(order: Order) -> tuple[datetime, datetime, str]:
            return self._recorded_at[order.order_id], order.details.created_at, order.order_id

        return sorted(self._orders.values(), key=age, reverse=True)[:limit]

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
        self._answer()
        for other in apart_from:
            if other in self._claims and not self._free(*self._claims[other], by=holder):
                return Claim(ClaimState.BUSY, until=self._claims[other][1])
        if is_other_content(content, self._contents.get(key)):
            return Claim(ClaimState.OTHER)
        if key in self._done:
            return Claim(ClaimState.DONE, note=self._done[key][0])
        if key in self._travelling and not carried:
            return Claim(ClaimState.TRAVELLING)
        until = datetime.now(UTC) + lease
        if key in self._claims and not self._free(*self._claims[key], by=holder):
            return Claim(ClaimState.BUSY, until=self._claims[key][1])
        self._claims[key] = holder, until
        self._contents.setdefault(key, content)
        return Claim(ClaimState.GRANTED, until=until)

    async def record_effect(self, key: str, note: str = "") -> None:
        self._answer()
        self._claims.pop(key, None)
        self._travelling.pop(key, None)
        self._done.setdefault(key, (note, datetime.now(UTC)))

    async def release_effect(self, key: str, *, holder: str) -> None:
        self._answer()
        if key in self._claims and self._claims[key][0] == holder:
            del self._claims[key]
            if key in self._travelling:
                self._travelling[key] = datetime.now(UTC)
            else:
                self._contents.pop(key, None)

    async def delegate_effect(self, key: str) -> None:
        self._answer()
        if key not in self._done:
            self._travelling.setdefault(key, datetime.now(UTC))
            self._handed_on.setdefault(key, datetime.now(UTC))

    async def told(self, partner: str, order_id: str) -> Mapping[str, Any] | None:
        self._answer()
        return self._told.get((partner, order_id))

    async def tell(
        self, partner: str, order_id: str, view: Mapping[str, Any], *, awaits_echo: bool = False
    ) -> None:
        self._answer()
        self._told[partner, order_id] = _through_json(view)
        self._unechoed.pop((partner, order_id), None)
        if awaits_echo:
            self._unechoed[partner, order_id] = datetime.now(UTC)

    async def awaits_echo_since(self, partner: str, order_id: str) -> datetime | None:
        self._answer()
        return self._unechoed.get((partner, order_id))

    async def end_wait_for_echo(self, partner: str, order_id: str, *, reported_at: datetime) -> None:
        self._answer()
        if self._unechoed.get((partner, order_id)) == reported_at:
            del self._unechoed[partner, order_id]

    async def unechoed(
        self,
        partner: str,
        account: str,
        *,
        reported_after: datetime,
        reported_before: datetime,
        limit: int = 20,
    ) -> Unechoed:
        self._answer()
        waiting = sorted(
            (at, order_id)
            for (to, order_id), at in self._unechoed.items()
            if to == partner
            and order_id.startswith(f"{partner}:{account}:")
            and reported_after <= at < reported_before
        )
        return Unechoed(len(waiting), tuple(order_id for _, order_id in waiting[:limit]))

    # --- leases

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta) -> None:
        self._answer()
        other, until = self._leases.get(name, (holder, datetime.now(UTC)))
        if other != holder and not self._free(other, until, by=holder):
            raise LeaseHeld(
                f"expected the lease {name!r} to be free, {describe(other)} holds it until {until:%H:%M:%S}",
                holder=other,
            )
        self._leases[name] = holder, datetime.now(UTC) + lease

    async def release_lease(self, name: str, *, holder: str) -> None:
        self._answer()
        if name in self._leases and self._leases[name][0] == holder:
            del self._leases[name]

    async def leases(self) -> Mapping[str, tuple[str, datetime]]:
        self._answer()
        return dict(self._leases)

    async def renew_presence(self, holder: str) -> None:
        self._answer()
        now = datetime.now(UTC)
        since, until = self._holders.get(process_of(holder), (now, now))
        self._holders[process_of(holder)] = since if until > now else now, now + PRESENCE

    async def end_presence(self, holder: str) -> None:
        self._answer()
        if process_of(holder) in self._holders:
            self._holders[process_of(holder)] = self._holders[process_of(holder)][0], datetime.now(UTC)

    # --- timeline

    async def add_to_timeline(self, entries: Sequence[TimelineEntry]) -> None:
        self._answer()
        self._timeline.extend(
            TimelineEntry(entry.order_id, entry.at, entry.what, _through_json(entry.facts))
            for entry in entries
        )

    async def timeline_of(self, order_id: str) -> Sequence[TimelineEntry]:
        self._answer()
        return sorted(
            (entry for entry in self._timeline if entry.order_id == order_id), key=lambda entry: entry.at
        )

    # --- the store as a whole

    async def keep_refused(self, message: RefusedMessage) -> None:
        self._answer()
        self._refused.setdefault(message.id, message)

    async def refused(self) -> Sequence[RefusedMessage]:
        self._answer()
        return sorted(self._refused.values(), key=lambda message: message.at)

    async def signing(self) -> Signing:
        self._answer()
        if self._signing is None:
            since = datetime(1970, 1, 1, tzinfo=UTC) if await self.is_empty() else datetime.now(UTC)
            self._signing = Signing(secrets.token_bytes(32), since)
        return self._signing

    async def handed_on_at(self, effect_key: str) -> datetime | None:
        self._answer()
        return self._handed_on.get(effect_key)

    async def has_recorded(self, event: AnyEvent) -> bool:
        self._answer()
        if event.type == "order.created":
            return self._created_by.get(event.order_id or "") == event.id
        found = [
            self._events[recorded_id][0] for recorded_id in recorded_ids(event) if recorded_id in self._events
        ]
        return any((before.order_id, before.type) == (event.order_id, event.type) for before in found)

    async def suspect(self, queue: str, message: str, *, holder: str, take: bool = False) -> Suspicion:
        self._answer()
        by, crashes = self._suspects.setdefault((queue, message), (process_of(holder), 0))
        if by is not None and by != process_of(holder):
            if is_gone(by) or self._silent(by, holder):
                by, crashes = None, crashes + 1
            elif not take:
                return Suspicion(crashes, held_elsewhere=True)
            else:
                by = process_of(holder)
            self._suspects[queue, message] = by, crashes
        return Suspicion(crashes)

    async def hold_suspect(self, queue: str, message: str, *, holder: str) -> None:
        self._answer()
        _, crashes = self._suspects.get((queue, message), (None, 0))
        self._suspects[queue, message] = process_of(holder), crashes

    async def clear_suspect(self, queue: str, message: str) -> None:
        self._answer()
        self._suspects.pop((queue, message), None)

    async def clear_suspects(self, holder: str) -> None:
        self._answer()
        self._suspects = {
            key: (by, crashes) for key, (by, crashes) in self._suspects.items() if by != process_of(holder)
        }

    async def check(self) -> None:
        self._answer()

    async def is_empty(self) -> bool:
        self._answer()
        effects = {**self._claims, **self._travelling, **self._done}
        kept = (self._cursors, self._seen, self._orders, effects, self._told, self._timeline)
        return not any(kept)

    async def prune(self, older_than: datetime) -> Mapping[str, int]:
        self._answer()
        entries = [entry for entry in self._timeline if entry.at >= older_than]
        done = {key: effect for key, effect in self._done.items() if effect[1] >= older_than}
        travelling = {
            key: at for key, at in self._travelling.items() if at >= older_than or key in self._claims
        }
        seen = {
            (poller, key): at
            for (poller, key), at in self._seen.items()
            if poller not in self._cursors
            or at >= min(older_than, self._cursors[poller][1] - KEPT_BEHIND_COMMIT)
        }
        ages: dict[str, datetime] = {}
        for recorded_id, (before, _) in self._events.items():
            at = self._applied_at[recorded_id]
            ages[before.order_id] = max(at, ages.get(before.order_id, at))
        events = {
            recorded_id: known
            for recorded_id, known in self._events.items()
            if ages[known[0].order_id] >= older_than or not self._orders[known[0].order_id].finished
        }
        removed = {
            "timeline": len(self._timeline) - len(entries),
            "effects": len(self._done) - len(done) + len(self._travelling) - len(travelling),
            "order_events": len(self._events) - len(events),
            "seen_keys": len(self._seen) - len(seen),
        }
        self._events = events
        self._timeline, self._done, self._seen, self._travelling = entries, done, seen, travelling
        return removed

    async def close(self) -> None:
        self.away = "the store was closed"

    def _free(self, holder: str, until: datetime, *, by: str) -> bool:
        return until <= datetime.now(UTC) or is_gone(holder) or self._silent(holder, by)

    def _silent(self, holder: str, by: str) -> bool:
        theirs, ours = self._holders.get(process_of(holder)), self._holders.get(process_of(by))
        if theirs is None or ours is None or process_of(holder) == process_of(by):
            return False
        now = datetime.now(UTC)
        return theirs[1] <= now < ours[1] and ours[0] <= now - PRESENCE

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable(self.away)

    def _order(self, order_id: str) -> Order:
        try:
            return self._orders[order_id]
        except KeyError:
            raise UnknownOrder(
                f"expected an order that a producer of this hub has recorded, got {order_id!r}",
                field="order_id",
            ) from None


def _names(order: Order) -> set[str | None]:
    details = order.details
    return {
        order.order_id,
        details.source_order_id,
        details.order_number,
        details.po_reference,
        *(line.sku for line in order.lines),
        *(package.tracking_number for package in order.packages),
    }


def _through_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """What comes back from a real store: a copy, with lists for tuples and texts for times."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(dict(value)))
    return copy
