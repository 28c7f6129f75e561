"""What the rest of the hub asks of the state store: small protocols, named by what they keep.

Every method raises ``StoreUnavailable`` when the store does not answer, is locked for too long or cannot write;
nothing is skipped silently. ``hub.state.store`` implements all of them; ``tests/fakes.py`` holds the doubles, and
one conformance suite runs on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from hub.models.events import AnyEvent
from hub.models.frozen import value
from hub.models.input.quoting import shown_id
from hub.models.order import Applied, Order
from hub.models.order_transitions import likely_duplicates, loose_matches

Cursor = Mapping[str, Any]
"""Where a poller goes on; plain JSON, its keys are the poller's own."""

KEPT_BEHIND_COMMIT = timedelta(days=1)
"""How long before a poller's last commit a key was seen that ``prune`` keeps: a poller may read a page again."""


PRESENCE = timedelta(seconds=10)
"""How long a process counts as present after it said so: short for those who take over, long for a store that blinks."""


class CursorStore(Protocol):
    """Keeps pollers' cursors, and the keys of what each poller has taken in (EIP Idempotent Receiver)."""

    async def cursor(self, poller: str) -> Cursor | None:
        """Return the cursor of a poller, or None before its first commit."""

    async def cursors(self) -> Mapping[str, tuple[Cursor, datetime]]:
        """Return all cursors with the time of their last commit."""

    async def unseen(self, poller: str, keys: Sequence[str]) -> frozenset[str]:
        """Return those of ``keys`` that the poller has not taken in yet."""

    async def commit(self, poller: str, cursor: Cursor, keys: Sequence[str], *, holder: str) -> None:
        """Record the keys as taken in and move the cursor, in one transaction.

        Raises:
            LeaseHeld: ``holder`` does not hold the lease named ``poller`` any more; nothing was written.
        """

    async def reset(self, poller: str, *, forget_keys: bool = False) -> None:
        """Delete a cursor, so that the poller starts from the beginning; keys stay unless they are to go too."""


class OrderStore(Protocol):
    """Keeps orders with lines and packages, and which events were applied to them."""

    async def record_orders(self, events: Sequence[AnyEvent]) -> frozenset[str]:
        """Insert the orders of ``order.created`` events that are not there yet.

        Returns:
            The ids of those events whose order was recorded by *another* event before: duplicates to drop.
            An event that recorded its order itself, now or before a crash, is not among them.
        """

    async def load_order(self, order_id: str) -> Order:
        """Return an order; raises ``UnknownOrder`` if no producer has recorded it."""

    async def known_orders(self, order_ids: Sequence[str]) -> frozenset[str]:
        """Return those of ``order_ids`` whose order is recorded."""

    async def apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        """Apply an event about an order once, and give the order now and what *this* event did to it.

        Idempotent by the event's id: the second time nothing changes, and the first time's ``Applied`` comes back
        with the order as it is now.

        Raises:
            UnknownOrder: no producer has recorded the order.
            InvalidMessage: the event does not fit the order, or another event (of another type, order or source) was
                applied under its id; or it comes again with other content; names the field.
        """

    async def find_orders(self, text: str, *, limit: int = 20) -> Sequence[Order]:
        """Find orders by hub id, PO, printable id, tracking number or SKU; newest first."""

    async def newest_orders(self, *, limit: int = 20) -> Sequence[Order]:
        """Return the orders recorded last, newest first."""


class ClaimState(StrEnum):
    """What a claim on an effect found."""

    GRANTED = "granted"
    DONE = "done"
    BUSY = "busy"
    TRAVELLING = "travelling"
    OTHER = "other"


@value(frozen=True, slots=True)
class Claim:
    """The answer to a claim; ``until`` tells when a busy one lapses at the latest.

    ``key`` is what the effect is kept under if that is not the key that was asked for: it is what to record.
    """

    state: ClaimState
    note: str = ""
    until: datetime | None = None
    key: str = field(default="", compare=False)


class EffectStore(Protocol):
    """The ledger of partner calls: one row per effect key."""

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
        """Take the right to make a call once, in one transaction.

        DONE: the effect is recorded. BUSY: another attempt claims it, of this process or of one that is alive.
        TRAVELLING: a stored copy carries it on (see ``delegate_effect``), and it is for the copy to make the call.
        OTHER: the effect is that of another content, which came under the same key.
        GRANTED: it is ours until the lease ends; lapsed claims, and those of a process that is gone, are taken over.

        Args:
            key: of the effect.
            holder: of the claim, this attempt.
            lease: how long it lasts at most.
            apart_from: other effects that must not be under way at the same time: BUSY while one of them is claimed,
                whether it is done or not does not matter. Of two effects that name each other, never are both claimed.
            carried: whether the claimer is the stored copy; it is never told TRAVELLING.
            key_before: what an older release called the same effect; counts if that release has written it, and nothing else.
            content: a hash of what the event says (``hub.state.event_identity``); None: whatever it says.
        """

    async def record_effect(self, key: str, note: str = "") -> None:
        """Record that the effect is there (also without a claim before)."""

    async def release_effect(self, key: str, *, holder: str) -> None:
        """Release a claim after a failed attempt; what a stored copy carries goes on travelling."""

    async def delegate_effect(self, key: str) -> None:
        """Record that a stored copy carries the effect on, once the broker has confirmed the copy.

        From now on only the copy may claim it. Nothing changes for a claim that is held (the copy may be back by now),
        nor for an effect that is done.
        """


class ReportedStateStore(Protocol):
    """What a partner was last told about an order: the base that the next update is computed against."""

    async def told(self, partner: str, order_id: str) -> Mapping[str, Any] | None:
        """Return what was recorded last, or None."""

    async def tell(
        self, partner: str, order_id: str, view: Mapping[str, Any], *, awaits_echo: bool = False
    ) -> None:
        """Record what the partner was told; ``awaits_echo``: its feed is expected to show it (see ``EchoStore``)."""


@value(frozen=True, slots=True)
class Unechoed:
    """Reports that the feed of a partner has not shown."""

    count: int
    order_ids: tuple[str, ...]
    """The orders that wait longest, oldest first."""


class EchoStore(Protocol):
    """Which reports to a partner its feed has not shown yet."""

    async def awaits_echo_since(self, partner: str, order_id: str) -> datetime | None:
        """Return when the last report about an order was recorded, if the feed has not shown it; else None."""

    async def end_wait_for_echo(self, partner: str, order_id: str, *, reported_at: datetime) -> None:
        """Record that the feed shows the report of that moment; a later report goes on waiting."""

    async def unechoed(
        self,
        partner: str,
        account: str,
        *,
        reported_after: datetime,
        reported_before: datetime,
        limit: int = 20,
    ) -> Unechoed:
        """Count the reports of an account that the feed has not shown, and return at most ``limit`` of their orders.

        Args:
            partner: to whom they went.
            account: of the orders.
            reported_after: only those of this moment or later.
            reported_before: only those from before this moment.
            limit: of the order ids.
        """


class LeaseStore(Protocol):
    """Named leases: one holder at a time."""

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta) -> None:
        """Take or renew a lease; a lapsed one, or that of a process that is gone, is taken over.

        Raises:
            LeaseHeld: somebody else who is alive holds it; the message names the holder and the time left.
        """

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Release a lease; nothing happens if it is not ours."""

    async def leases(self) -> Mapping[str, tuple[str, datetime]]:
        """Return all leases with holder and end."""


class ProcessStore(Protocol):
    """Which processes are there: what a process holds is free once it is gone, however long its leases last.

    Gone is a process of this host that has ended, at once; and one that renewed its presence before and has not done so for
    ``PRESENCE``, as seen by a process that itself was present all that time. Times are the database's.
    """

    async def renew_presence(self, holder: str) -> None:
        """Say that the process of ``holder`` is there, for the next ``PRESENCE``."""

    async def end_presence(self, holder: str) -> None:
        """Say that it ends: what it still holds is free for others who have been present for ``PRESENCE``."""


# Says in a timeline that a package was reported twice, as far as one can tell.
LIKELY_DUPLICATE = "likely duplicate"
# Says in a timeline that a line was named in another spelling, and taken for the one that it can only be.
OTHER_SPELLING = "other spelling"
SIGNING_KEY_BYTES = 32


@value(frozen=True, slots=True)
class Signing:
    """The secret key that an installation signs its copies with, and since when it has done so."""

    key: bytes = field(repr=False)
    since: datetime


class InstallationStore(Protocol):
    """What an installation keeps of itself, and what it knows of messages that bear no signature."""

    async def signing(self) -> Signing:
        """Return the key, drawn at random by the first call; all processes of the installation have the same.

        In a store where nothing was recorded before, ``since`` is 1970: there never was a copy without a signature.
        """

    async def handed_on_at(self, effect_key: str) -> datetime | None:
        """Return since when a stored copy carries the effect on; None if none does or did."""

    async def has_recorded(self, event: AnyEvent) -> bool:
        """Whether an event of this id and type has made or changed its order."""


@value(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to an order; no personal data in ``facts``."""

    order_id: str
    at: datetime
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def duplicate_notes(event: AnyEvent, before: Order, applied: Applied) -> Sequence[TimelineEntry]:
    """Return an entry for each package of an event whose content an earlier package of the order had under another id."""
    return [
        TimelineEntry(
            before.order_id,
            datetime.now(UTC),
            LIKELY_DUPLICATE,
            {
                "type": event.type,
                "event_id": event.id,
                "package_id": package.package_id,
                "like": earlier.package_id,
                "tracking_number": package.tracking_number,
            },
        )
        for package, earlier in likely_duplicates(before, applied)
    ]


def match_notes(event: AnyEvent, before: Order) -> Sequence[TimelineEntry]:
    """Return an entry for each line that an event names in another spelling than the order."""
    return [
        TimelineEntry(
            before.order_id,
            datetime.now(UTC),
            OTHER_SPELLING,
            {"type": event.type, "event_id": event.id, "said": shown_id(said), "line_id": line.line_id},
        )
        for said, line in loose_matches(before, event)
    ]


class Timeline(Protocol):
    """What happened to each order, for people."""

    async def add_to_timeline(self, entries: Sequence[TimelineEntry]) -> None:
        """Append entries."""

    async def timeline_of(self, order_id: str) -> Sequence[TimelineEntry]:
        """Return an order's entries, oldest first."""


@value(frozen=True, slots=True)
class RefusedMessage:
    """A letter that the broker takes in no form; ``id`` is a hash of queue and body."""

    id: str
    queue: str
    """The work queue in which it failed."""
    reason: str
    """Why it is a letter."""
    refusal: str
    """What the broker said of it."""
    at: datetime
    properties: str
    """Properties and headers, as JSON."""
    body: bytes


class RefusedStore(Protocol):
    """Letters that the broker takes in no form: for a person, since no queue can hold them."""

    async def keep_refused(self, message: RefusedMessage) -> None:
        """Write a letter down; the same one again changes nothing."""

    async def refused(self) -> Sequence[RefusedMessage]:
        """Return all of them, oldest first."""


@value(frozen=True, slots=True)
class Suspicion:
    """What is known of a message that was delivered again."""

    crashes: int
    """How many processes have ended with it in hand; it is handled alone then."""
    held_elsewhere: bool = False
    """Whether another process, which seems to be alive, has it in hand."""


class SuspectStore(Protocol):
    """Redelivered messages in the hands of processes, each known by its queue and a hash."""

    async def suspect(self, queue: str, message: str, *, holder: str, take: bool = False) -> Suspicion:
        """Note that ``holder`` has a message in hand; one with crashes is not in hand before ``hold_suspect``.

        A process that is gone with the message in hand is one crash more. With ``take`` it is taken over from a process
        that is alive as well.
        """

    async def hold_suspect(self, queue: str, message: str, *, holder: str) -> None:
        """Note that ``holder`` has a message with crashes in hand."""

    async def clear_suspect(self, queue: str, message: str) -> None:
        """Forget a message, since it is settled."""

    async def clear_suspects(self, holder: str) -> None:
        """Forget all that ``holder`` has in hand, since it ends in order."""


class Store(
    CursorStore,
    OrderStore,
    EffectStore,
    ReportedStateStore,
    EchoStore,
    LeaseStore,
    ProcessStore,
    InstallationStore,
    Timeline,
    RefusedStore,
    SuspectStore,
    Protocol,
):
    """All of it, as one object with a life."""

    async def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers, is migrated and takes a write."""

    async def is_empty(self) -> bool:
        """Whether nothing was ever recorded (a new or a lost store)."""

    async def prune(self, older_than: datetime) -> Mapping[str, int]:
        """Remove old timeline entries, effects that are done or handed on, events of finished orders, and seen keys.

        Orders, cursors and claims stay.

        It is done in small transactions, so that nobody waits for it; one that breaks off has removed a part, and can
        be repeated. ``older_than`` has to lie further back than anything can come again from: than a message may wait
        or lie in a dead-letter queue before it is replayed, and than a partner may still offer an order. Then each is safe:

        * A timeline entry is read by people alone; no decision depends on it.
        * A done effect keeps a redelivered event from calling the partner twice. An event older than that is in no
          queue any more: the ladder and ``not-before`` end after days, and letters are replayed or discarded by people.
          One that was handed on keeps the event from sending a second copy, and is not needed by the copy itself.
        * An event that was applied keeps the order from taking it twice, and its id from meaning two things. It goes when
          its order has nothing left to ship or cancel and nothing was recorded about the order since. One that comes
          again all the same is refused, since its units are shipped or cancelled, and becomes a letter.
        * A seen key keeps a poller from taking in twice what it reads twice. It reads on from its cursor, so keys that
          were seen long before its last commit are behind it. Those from the day before that commit stay however old
          they are, for a poller that has stood still; without a cursor (after ``reset``) all of them stay.

        Returns:
            How many were removed: ``timeline``, ``effects``, ``order_events``, ``seen_keys``.
        """

    async def close(self) -> None:
        """Finish pending writes and close."""
