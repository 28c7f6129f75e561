"""Pushes stock counts to every iQmetrix account (EIP Recipient List).

Each account, and each part of a long count, is an effect of its own in the ledger: when one account fails after another
succeeded, the retry calls the failed one only. A crash between the answer and the record pushes the same counts again.

A count that waited for a retry may be older than what was pushed meanwhile: of each SKU the newest event time that was
told is kept, and an older count is dropped (EIP Resequencer would wait for it instead). Two counts of the same time
are pushed in the order they come, so publishers should give each count its time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from consumers.effects import Sleep, once, recorded
from consumers.told_counts import ToldCounts, counted_at
from consumers.turns import Turns
from hub.config import Iqmetrix
from hub.errors import Busy, HubError, TransientError
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import Event, InventoryCounted, StockCount
from hub.models.values import utc_text
from hub.partners.iqmetrix.wire import Availability, Product
from hub.state.stores import EffectStore, LeaseStore, ToldStore
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


class CountStore(EffectStore, ToldStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class _Fate(StrEnum):
    """What became of one part for one account."""

    PUSHED = "pushed"
    BEFORE = "pushed before"
    SUPERSEDED = "superseded"


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
        """Push the counts to each account that has neither them nor newer ones; all accounts at once.

        Raises:
            TransientError: an account could not be told; the others were.
            PermanentError: an account refuses; the others were told.
        """
        if event.data.sources is not None and _PARTNER not in event.data.sources:
            return Done("not for iqmetrix")
        async with asyncio.TaskGroup() as group:
            accounts = [group.create_task(self._tell(account, event)) for account in self._clients]
        fates: Counter[_Fate] = Counter()
        failures: list[HubError] = []
        for account in accounts:
            told, failure = account.result()
            fates.update(told)
            failures += [failure] if failure is not None else []
        if failures:
            raise _first_to_remedy(failures)
        return Done(_note(fates))

    async def _tell(
        self, account: str, event: Event[InventoryCounted]
    ) -> tuple[Sequence[_Fate], HubError | None]:
        """Push part by part; after a failure the account's other parts wait too: they would meet the same."""
        fates: list[_Fate] = []
        for number, part in enumerate(_parts(event.data.items)):
            # With the time: an id derived from the body is the same whenever the same numbers are counted again.
            key = f"{_PARTNER}:{account}:availability:{event.id}:{utc_text(event.time)}:{number}"
            try:
                fates.append(await self._push(account, part, counted_at(event.time), key))
            except HubError as failure:
                return fates, failure
        return fates, None

    async def _push(self, account: str, part: Sequence[Product], at: datetime, key: str) -> _Fate:
        """Push what is not superseded of one part, once."""
        client = self._clients[account]
        told = ToldCounts(self._store, account)
        lease = client.settings.timeout * _REQUESTS_PER_CALL + _LEASE_MARGIN
        async with self._turns.of(f"{_PARTNER}:availability:{account}", lease):
            products = await told.not_superseded(part, at)
            if not products:
                return _Fate.SUPERSEDED

            async def push() -> None:
                await client.push_availability(Availability(Products=products))
                # Before the effect: a repeated event must not find it done while an older count is still let through.
                await recorded(lambda: told.remember(products, at), sleep=self._sleep)

            note = f"{len(products)} products"
            pushed = await once(self._store, key, self._holder, lease, push, note=note, sleep=self._sleep)
            return _Fate.PUSHED if pushed else _Fate.BEFORE


def _parts(items: Iterable[StockCount]) -> Iterable[Sequence[Product]]:
    """The last count of a SKU is the valid one; a negative one means that nothing can be sold."""
    counts = {item.sku: max(item.quantity, 0) for item in items}
    products = tuple(
        Product(Sku=sku, IsAvailable=quantity > 0, Quantity=quantity) for sku, quantity in counts.items()
    )
    for start in range(0, len(products), _PRODUCTS_PER_PUSH):
        yield products[start : start + _PRODUCTS_PER_PUSH]


def _first_to_remedy(failures: Sequence[HubError]) -> HubError:
    """What may pass goes first: the retry asks the account that refused again, and ends in a letter then.

    What costs an attempt goes before what costs none, so that a busy account does not hide for ever that another fails.
    """
    return min(
        failures, key=lambda failure: (not isinstance(failure, TransientError), isinstance(failure, Busy))
    )


def _note(fates: Counter[_Fate]) -> str:
    if set(fates) == {_Fate.SUPERSEDED}:
        return _Fate.SUPERSEDED
    return ", ".join(f"{fates[fate]} {fate}" for fate in _Fate if fates[fate]) or "no account"
