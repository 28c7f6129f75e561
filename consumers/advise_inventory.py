"""Tells stock counts to every RetailOps vendor account (EIP Recipient List).

Each account, and each part of a long count, is an effect of its own in the ledger: when one account fails after another
succeeded, the retry calls the failed one only. A crash between the answer and the record tells the same counts again.

A count that waited for a retry may be older than what was told meanwhile: it is dropped, SKU by SKU. iQmetrix hears of
the same events in ``update_availability``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from consumers.effects import Sleep, once, recorded
from consumers.marking import PARTNER, Account, call_lease
from consumers.told_counts import ToldCounts, counted_at
from consumers.turns import Turns
from hub.errors import Busy, HubError, TransientError
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import Event, InventoryCounted, StockCount
from hub.models.values import utc_text
from hub.partners.iqmetrix.wire import Product
from hub.partners.retailops.client import BATCH, Refused
from hub.partners.retailops.wire import ExternalSku
from hub.state.stores import EffectStore, LeaseStore, ToldStore
from hub.topology import WorkQueue

ADVISE_INVENTORY = WorkQueue("retailops", "advise_inventory", hears=("inventory.counted",))


class InventoryAdvice(Account, Protocol):
    """The call that this consumer makes, of one vendor account."""

    async def advise_inventory(self, records: Sequence[ExternalSku]) -> None:
        """Tell stock counts, up to 1000."""


class CountStore(EffectStore, ToldStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class _Fate(StrEnum):
    """What became of one part for one account."""

    TOLD = "told"
    BEFORE = "told before"
    SUPERSEDED = "superseded"


class AdviseInventory:
    """Handles ``inventory.counted``.

    Args:
        store: the ledger of effects, what was told, and leases.
        clients: by vendor account.
        holder: who claims the effects and holds the leases, this process.
        sleep: waits between attempts to record what was told, for tests.
    """

    def __init__(
        self,
        store: CountStore,
        clients: Mapping[str, InventoryAdvice],
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
        """Tell the counts to each account that has neither them nor newer ones; all accounts at once.

        Raises:
            TransientError: an account could not be told; the others were.
        """
        if event.data.sources is not None and PARTNER not in event.data.sources:
            return Done(f"not for {PARTNER}")
        async with asyncio.TaskGroup() as group:
            accounts = [group.create_task(self._tell(account, event)) for account in self._clients]
        fates: Counter[_Fate] = Counter()
        failures: list[HubError] = []
        for account in accounts:
            told, failure = account.result()
            fates.update(told)
            failures += [failure] if failure is not None else []
        if failures:
            raise min(failures, key=_last_to_remedy)
        return Done(_note(fates))

    async def _tell(
        self, account: str, event: Event[InventoryCounted]
    ) -> tuple[Sequence[_Fate], HubError | None]:
        """Tell part by part; a refusal may be about one part, after another failure the other parts would meet the same."""
        fates: list[_Fate] = []
        refused: Refused | None = None
        for number, part in enumerate(_parts(event.data.items)):
            # With the time: an id derived from the body is the same whenever the same numbers are counted again.
            key = f"{PARTNER}:{account}:inventory:{event.id}:{utc_text(event.time)}:{number}"
            try:
                fate = await self._advise(account, part, counted_at(event.time), key)
            except HubError as failure:
                return fates, failure
            if isinstance(fate, Refused):
                refused = refused or fate
            else:
                fates.append(fate)
        return fates, refused

    async def _advise(self, account: str, part: Sequence[Product], at: datetime, key: str) -> _Fate | Refused:
        """Tell what is not superseded of one part, once."""
        client = self._clients[account]
        # Among what iQmetrix accounts were told, under a name that none of them has.
        told = ToldCounts(self._store, f"{PARTNER}:{account}")
        lease = call_lease(client.settings)
        async with self._turns.of(f"{PARTNER}:inventory:{account}", lease):
            products = await told.not_superseded(part, at)
            if not products:
                return _Fate.SUPERSEDED

            async def advise() -> None:
                vendor = client.settings.vendor_id
                await client.advise_inventory(
                    [
                        ExternalSku(vendor_id=vendor, vpc=product.Sku, quantity=product.Quantity)
                        for product in products
                    ]
                )
                # Before the effect: a repeated event must not find it done while an older count is still let through.
                await recorded(lambda: told.remember(products, at), sleep=self._sleep)

            note = f"{len(products)} products"
            try:
                made = await once(self._store, key, self._holder, lease, advise, note=note, sleep=self._sleep)
            except Refused as refusal:
                # Given, not raised: about these counts, and not to be shared with those who wait.
                return refusal
            return _Fate.TOLD if made else _Fate.BEFORE


def _parts(items: Iterable[StockCount]) -> Iterable[Sequence[Product]]:
    """The last count of a SKU is the valid one; a negative one means that nothing can be sold."""
    counts = {item.sku: max(item.quantity, 0) for item in items}
    products = [
        Product(Sku=sku, IsAvailable=quantity > 0, Quantity=quantity) for sku, quantity in counts.items()
    ]
    for start in range(0, len(products), BATCH):
        yield products[start : start + BATCH]


def _last_to_remedy(failure: HubError) -> tuple[bool, bool]:
    """What may pass is raised before what may not, and what costs an attempt before what costs none."""
    return not isinstance(failure, TransientError), isinstance(failure, Busy)


def _note(fates: Counter[_Fate]) -> str:
    if set(fates) == {_Fate.SUPERSEDED}:
        return _Fate.SUPERSEDED
    return ", ".join(f"{fates[fate]} {fate}" for fate in _Fate if fates[fate]) or "no account"
