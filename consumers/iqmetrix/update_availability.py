"""Pushes stock counts to every iQmetrix account (EIP Recipient List).

Each account, and each part of a long count, is an effect of its own in the ledger: when one account fails after another
succeeded, the retry calls the failed one only. A crash between the answer and the record pushes the same counts again.

A count that waited for a retry may be older than what was pushed meanwhile: of each SKU the newest event time that was
told is kept, and an older count is dropped (EIP Resequencer would wait for it instead). Two counts of the same time
are pushed in the order they come, so publishers should give each count its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from consumers.effects.batched_calls import parts_of
from consumers.effects.fan_out import FanOutResult, tell_every
from consumers.effects.keyed_lease import Turns
from consumers.effects.once import Sleep, once, recorded
from consumers.effects.reported_counts import Count, ToldCounts, counts_of
from consumers.guarded import iqmetrix_accounts, iqmetrix_clients
from consumers.registration import ConsumerFlow
from hub.config.settings import Iqmetrix
from hub.errors import HubError
from hub.messaging.dispatch import Route, outcome_of
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import Event, InventoryCounted
from hub.models.types import utc_text
from hub.partners.iqmetrix.wire import Availability, Product
from hub.process.lifecycle import Resources
from hub.state.event_identity import content_of
from hub.state.protocols import EffectStore, LeaseStore, ReportedStateStore
from hub.topology import WorkQueue

UPDATE_AVAILABILITY = WorkQueue("iqmetrix", "update_availability", hears=("inventory.counted",))

_PARTNER = "iqmetrix"
# Products of one push: no limit is documented, this keeps a body near 64 KiB.
_PRODUCTS_PER_PUSH = 1000
# One call with a renewal is up to four requests.
_REQUESTS_PER_CALL = 4
_LEASE_MARGIN = timedelta(seconds=30)


class StockUpdates(Protocol):
    """The calls about stock of one supplier account."""

    settings: Iqmetrix

    async def push_availability(self, products: Availability) -> None:
        """Push stock counts."""


class CountStore(EffectStore, ReportedStateStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class UpdateAvailability:
    """Handles ``inventory.counted``.

    Args:
        store: the ledger of effects, what was told, and leases.
        clients: by supplier account.
        holder: who claims the effects and holds the leases, this process.
        sleep: waits between attempts to record what was pushed, for tests.
    """

    def __init__(
        self,
        store: CountStore,
        clients: Mapping[str, StockUpdates],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clients = clients
        self._holder = holder
        self._sleep = sleep
        self._turns = Turns(store, holder)

    async def __call__(self, event: Event[InventoryCounted], context: Context, /) -> Outcome:
        """Push the counts to each account that has neither them nor newer ones; all accounts at once."""
        if event.data.sources is not None and _PARTNER not in event.data.sources:
            return Done(f"not for {_PARTNER}")
        return await tell_every(self._clients, lambda account: self._tell(account, event))

    async def _tell(self, account: str, event: Event[InventoryCounted]) -> Sequence[Outcome]:
        """Push part by part; after a failure the account's other parts wait too: they would meet the same."""
        outcomes: list[Outcome] = []
        content = None if event.corrected else content_of(event)
        for number, part in enumerate(parts_of(tuple(counts_of(event)), _PRODUCTS_PER_PUSH)):
            # With the time: an id derived from the body is the same whenever the same numbers are counted again.
            key = f"{_PARTNER}:{account}:availability:{event.id}:{utc_text(event.time)}:{number}"
            try:
                outcomes.append(Done(await self._push(account, part, key, content)))
            except HubError as failure:
                return [*outcomes, outcome_of(failure)]
        return outcomes

    async def _push(self, account: str, part: Sequence[Count], key: str, content: str | None) -> FanOutResult:
        """Push what is not superseded of one part, once."""
        client = self._clients[account]
        shelves = f"{_PARTNER}:availability:{account}"
        told = ToldCounts(self._store, shelves)
        lease = client.settings.timeout * _REQUESTS_PER_CALL + _LEASE_MARGIN
        async with self._turns.of(shelves, lease):
            newest = await told.newest(count.sku for count in part)
            # One of the same time is not newer.
            counts = [count for count in part if count.sku not in newest or newest[count.sku].at <= count.at]
            if not counts:
                return FanOutResult.SUPERSEDED

            async def push() -> None:
                await client.push_availability(_products(counts))
                # Before the effect: a repeated event must not find it done while an older count is still let through.
                await recorded(lambda: told.remember(counts), sleep=self._sleep)

            note = f"{len(counts)} products"
            pushed = await once(
                self._store, key, self._holder, lease, push, note=note, content=content, sleep=self._sleep
            )
            return FanOutResult.TOLD if pushed else FanOutResult.BEFORE


def _products(counts: Sequence[Count]) -> Availability:
    return Availability(
        Products=tuple(
            Product(Sku=count.sku, IsAvailable=count.quantity > 0, Quantity=count.quantity)
            for count in counts
        )
    )


def _route(queue: WorkQueue, resources: Resources) -> Route:
    handler = UpdateAvailability(resources.store, iqmetrix_clients(resources), resources.holder)
    return Route(queue.name, handler, calls=iqmetrix_accounts(resources))


FLOW = ConsumerFlow(
    UPDATE_AVAILABILITY.name,
    lambda settings: (UPDATE_AVAILABILITY,) if settings.iqmetrix else (),
    _route,
)
