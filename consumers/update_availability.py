"""Pushes stock counts to every iQmetrix account (EIP Recipient List).

Each account, and each part of a long count, is an effect of its own in the ledger: when one account fails after another
succeeded, the retry calls the failed one only. A crash between the answer and the record pushes the same counts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from hub.config import Iqmetrix
from hub.errors import Busy, HubError, TransientError
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import Event, InventoryCounted, StockCount
from hub.partners.iqmetrix.wire import Availability, Product
from hub.state.stores import ClaimState, EffectStore
from hub.topology import WorkQueue

UPDATE_AVAILABILITY = WorkQueue("iqmetrix", "update_availability", hears=("inventory.counted",))

_PARTNER = "iqmetrix"
# Products of one push: no limit is documented, this keeps a body near 64 KiB.
_PRODUCTS_PER_PUSH = 1000
# One call with a renewal is up to four requests.
_REQUESTS_PER_CALL = 4
_LEASE_MARGIN = timedelta(seconds=30)
# When to look again at a push that another process makes, at the earliest.
_LOOK_AGAIN = timedelta(seconds=1)


class StockUpdates(Protocol):
    """The calls about stock of one supplier account."""

    settings: Iqmetrix

    async def push_availability(self, products: Availability) -> None:
        """Push stock counts."""


class UpdateAvailability:
    """Handles ``inventory.counted``.

    Args:
        store: the ledger of effects.
        clients: by supplier account.
        holder: who claims the effects, this process.
    """

    def __init__(self, store: EffectStore, clients: Mapping[str, StockUpdates], holder: str) -> None:
        self._store = store
        self._clients = clients
        self._holder = holder

    async def __call__(self, event: Event[InventoryCounted], context: Context, /) -> Outcome:
        """Push the counts to each account that does not have them yet.

        Raises:
            TransientError: an account could not be told; the others were.
            PermanentError: an account refuses; the others were told.
        """
        if event.data.sources is not None and _PARTNER not in event.data.sources:
            return Done("not for iqmetrix")
        parts = tuple(_parts(event.data.items))
        failures: list[HubError] = []
        pushed = 0
        for account, client in self._clients.items():
            for number, part in enumerate(parts):
                try:
                    pushed += await self._push(
                        client, part, f"{_PARTNER}:{account}:availability:{event.id}:{number}"
                    )
                except HubError as failure:
                    # The account's other parts wait too: they would meet the same.
                    failures.append(failure)
                    break
        if failures:
            # What may pass goes first: the retry asks the account that refused again, and ends in a letter then.
            raise next((failure for failure in failures if isinstance(failure, TransientError)), failures[0])
        return Done(f"{pushed} of {len(parts) * len(self._clients)} pushes made, the others were made before")

    async def _push(self, client: StockUpdates, part: Availability, key: str) -> bool:
        """Push one part once; False when it was pushed before."""
        lease = client.settings.timeout * _REQUESTS_PER_CALL + _LEASE_MARGIN
        claim = await self._store.claim_effect(key, holder=self._holder, lease=lease)
        match claim.state:
            case ClaimState.DONE:
                return False
            case ClaimState.BUSY:
                raise Busy(f"{key}: another process makes this push", retry_after=_wait(claim.until))
            case ClaimState.GRANTED:
                pass
        try:
            await client.push_availability(part)
        except HubError:
            await self._store.release_effect(key, holder=self._holder)
            raise
        await self._store.record_effect(key, f"{len(part.Products)} products")
        return True


def _parts(items: Iterable[StockCount]) -> Iterable[Availability]:
    """The last count of a SKU is the valid one; a negative one means that nothing can be sold."""
    counts = {item.sku: max(item.quantity, 0) for item in items}
    products = tuple(
        Product(Sku=sku, IsAvailable=quantity > 0, Quantity=quantity) for sku, quantity in counts.items()
    )
    for start in range(0, len(products), _PRODUCTS_PER_PUSH):
        yield Availability(Products=products[start : start + _PRODUCTS_PER_PUSH])


def _wait(until: datetime | None) -> timedelta:
    left = until - datetime.now(UTC) if until is not None else timedelta(0)
    return max(_LOOK_AGAIN, left)
