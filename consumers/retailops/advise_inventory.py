"""Reports stock counts to every RetailOps vendor account (EIP Recipient List), many events in one call.

Each account gathers events on its own, in a ``hub.messaging.batching.Batching`` of its own, and makes calls of up to 1000
SKUs of them. Of a SKU that several events count only the newest count is told: by event time, of the same time the one
that came later. So an account that fails or hangs delays no other.

Each event is an effect of its own in each account's ledger. It is done when of each of its SKUs this count or a newer
one was told; when some were not, its retry tells just those. A call that RetailOps refuses is cut in halves until the
bad SKU is alone, so that only the events that count this SKU are retried; their letter names it.

The windows that remain: a crash between the answer and the records tells the same counts again, or newer ones that came
meanwhile. iQmetrix hears of the same events in ``update_availability``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from consumers.effects.batched_calls import Claims, Same, call_in_parts, halves, parts_of
from consumers.effects.fan_out import FanOutResult, first_to_remedy, tell_every
from consumers.effects.keyed_lease import Turns
from consumers.effects.once import LOOK_AGAIN, Sleep, recorded
from consumers.effects.reported_counts import Count, ToldCounts, counts_of
from consumers.guarded import retailops_accounts, retailops_clients
from consumers.registration import ConsumerFlow
from consumers.retailops.batch_marking import PARTNER, Account, call_lease
from consumers.retailops.vendor_batches import limits_of
from hub.errors import Busy, HubError, LeaseHeld, PermanentError
from hub.messaging.batching import Batching
from hub.messaging.dispatch import Route, outcome_of
from hub.messaging.handler import Context, Handler
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import Event, InventoryCounted
from hub.models.input.quoting import shown_id
from hub.models.types import utc_text
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.wire import ExternalSku
from hub.process.lifecycle import Resources
from hub.state.event_identity import OtherContent, content_of, is_other_content
from hub.state.protocols import EffectStore, LeaseStore, ReportedStateStore
from hub.topology import WorkQueue

ADVISE_INVENTORY = WorkQueue("retailops", "advise_inventory", hears=("inventory.counted",))

# Full calls of counts in one batch, whose records are read and written together: each has a share in the 64 shelves.
_CALLS_OF_COUNTS = 10
# Counts in memory, in full calls: about 50 MB of 1000-SKU events.
_ROOM_IN_CALLS = 100
# Refusals in a row that mean the account and not one SKU: three bad neighbors of a thousand cost fewer.
_IN_VAIN = 32

Counted = Event[InventoryCounted]


class InventoryAdvice(Account, Protocol):
    """The call that this consumer makes, of one vendor account."""

    async def advise_inventory(self, records: Sequence[ExternalSku]) -> None:
        """Report stock counts, up to 1000."""


class CountStore(EffectStore, ReportedStateStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class AdviseInventory:
    """Handles ``inventory.counted``.

    Args:
        accounts: who tells each vendor account.
    """

    def __init__(self, accounts: Mapping[str, Handler[Counted]]) -> None:
        self._accounts = accounts

    async def __call__(self, event: Counted, context: Context, /) -> Outcome:
        """Report the counts to each account that has neither them nor newer ones; all accounts at once."""
        if event.data.sources is not None and PARTNER not in event.data.sources:
            return Done(f"not for {PARTNER}")

        async def tell(account: str) -> Sequence[Outcome]:
            return [await self._accounts[account](event, context)]

        return await tell_every(self._accounts, tell)


class AdviseAccount:
    """Handles batches of ``inventory.counted`` for one vendor account.

    Args:
        store: the ledger of effects, what was told, and leases.
        client: of the account.
        holder: who claims the effects and holds the leases, this process.
        sleep: waits between attempts to record what was told, for tests.
    """

    def __init__(
        self, store: CountStore, client: InventoryAdvice, holder: str, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._store = store
        self._client = client
        self._holder = holder
        self._sleep = sleep
        self._name = f"{PARTNER}:inventory:{client.settings.account}"
        self._told = ToldCounts(store, self._name)
        self._claims = Claims(store, holder, before=FanOutResult.BEFORE, sleep=sleep)
        self._turns = Turns(store, holder)

    async def __call__(self, events: Sequence[tuple[Counted, Context]], /) -> Sequence[Outcome]:
        """Report the newest counts of all events; one outcome for each event."""
        keys = [self._key(event) for event, _ in events]
        # By key: an event that is there twice is told once.
        distinct: dict[str, tuple[Counted, Context]] = {}
        for key, delivered in zip(keys, events, strict=True):
            distinct.setdefault(key, delivered)
        same = {key: Same(content=_content(event)) for key, (event, _) in distinct.items()}
        lease = call_lease(self._client.settings)
        async with self._turns.of(self._name, lease):
            attempt, others = await self._claims.take(dict.fromkeys(distinct, ()), lease, same)
            ours = {key: delivered for key, delivered in distinct.items() if key not in others}
            outcomes = dict(others)
            try:
                outcomes |= await self._tell(ours)
                await self._claims.record([key for key in ours if isinstance(outcomes[key], Done)])
            finally:
                failed = [key for key in ours if not isinstance(outcomes.get(key), Done)]
                await self._claims.give_back(failed, attempt)
        return [
            outcome_of(OtherContent())
            if is_other_content(_content(event), same[key].content)
            else outcomes[key]
            for key, (event, _) in zip(keys, events, strict=True)
        ]

    def _key(self, event: Counted) -> str:
        # With the time: an id derived from the body is the same whenever the same numbers are counted again.
        return f"{self._name}:{event.id}:{utc_text(event.time)}"

    async def _tell(self, delivered: Mapping[str, tuple[Counted, Context]]) -> Mapping[str, Outcome]:
        """Report what is not superseded, and give what became of each event."""
        counts = {key: tuple(counts_of(event)) for key, (event, _) in delivered.items()}
        told = await self._told.newest({count.sku for own in counts.values() for count in own})
        left = {
            key: [count for count in own if not _is_superseded(count, told.get(count.sku))]
            for key, own in counts.items()
        }
        newest: dict[str, Count] = {}
        for count in (count for own in left.values() for count in own):
            if count.sku not in newest or newest[count.sku].at <= count.at:
                newest[count.sku] = count
        failures = await self._call(list(newest.values()))
        return {key: _outcome(own, failures) for key, own in left.items()}

    async def _call(self, counts: Sequence[Count]) -> Mapping[str, HubError]:
        """Report counts in as few calls as there may be, and record what was taken; gives the failure of each other SKU."""
        parts = parts_of(counts, self._client.settings.batch_size)
        ended = await call_in_parts(parts, self._advise, halves, in_vain=_IN_VAIN)
        taken = [count for part, failure in ended if failure is None for count in part]
        if taken:
            # Before the effects: a repeated event must not find its own done while an older count is still let through.
            await recorded(lambda: self._told.remember(taken), sleep=self._sleep)
        return {count.sku: failure for part, failure in ended if failure is not None for count in part}

    async def _advise(self, counts: Sequence[Count]) -> None:
        await self._renew_turn()
        vendor = self._client.settings.vendor_id
        records = [ExternalSku(vendor_id=vendor, vpc=count.sku, quantity=count.quantity) for count in counts]
        try:
            await self._client.advise_inventory(records)
        except Refused as refusal:
            # Of several records nothing says which of them it is about.
            if not (refusal.already_done and len(records) == 1):
                raise

    async def _renew_turn(self) -> None:
        """Have the turn for one more call: its lease is as long as one, so that a lost host does not keep it for hours."""
        lease = call_lease(self._client.settings)
        try:
            await self._store.acquire_lease(self._name, holder=self._holder, lease=lease)
        except LeaseHeld as held:
            raise Busy(str(held), retry_after=LOOK_AGAIN) from None


def records_of(event: Counted) -> int:
    """How many records of a call an event comes to at most."""
    return len(event.data.items)


def _content(event: Counted) -> str | None:
    return None if event.corrected else content_of(event)


def _is_superseded(count: Count, told: Count | None) -> bool:
    """Whether there is nothing to tell of a count: the same or a newer one was told. One of the same time is not newer."""
    return told is not None and (told.at > count.at or told == count)


def _outcome(counts: Sequence[Count], failures: Mapping[str, HubError]) -> Outcome:
    """What became of an event whose counts these are, those that were told before left out."""
    if not counts:
        return Done(FanOutResult.SUPERSEDED)
    failed = [_named(count.sku, failures[count.sku]) for count in counts if count.sku in failures]
    return first_to_remedy(failed) or Done(FanOutResult.TOLD)


def _named(sku: str, failure: HubError) -> Outcome:
    """Name the SKU that was refused; another failure is about none."""
    outcome = outcome_of(failure)
    if isinstance(failure, Refused | PermanentError) and isinstance(outcome, Retry | Reject):
        return replace(outcome, reason=f"SKU {shown_id(sku)!r}: {outcome.reason}")
    return outcome


def _route(queue: WorkQueue, resources: Resources) -> Route:
    accounts = resources.settings.retailops
    clients = retailops_clients(resources)
    batches = {}
    for account in accounts:
        handler = AdviseAccount(resources.store, clients[account.account], resources.holder)
        room = _ROOM_IN_CALLS * account.batch_size
        limits = replace(limits_of(account, accounts), calls=_CALLS_OF_COUNTS, room=room)
        batches[account.account] = Batching(handler, limits, records=records_of)
    # An event of one SKU each fills a call.
    at_once = max(account.batch_size for account in accounts)
    return Route(queue.name, AdviseInventory(batches), at_once=at_once, calls=retailops_accounts(resources))


FLOW = ConsumerFlow(
    ADVISE_INVENTORY.name,
    lambda settings: (ADVISE_INVENTORY,) if settings.retailops else (),
    _route,
)
