"""Which stock count of each SKU an account was told last, so that an older one never overwrites a newer one.

Called by ``update_availability`` within the account's turn. Kept among what partners were told, on 64 shelves for each
account: one shelf for each SKU would cost a full count thousands of statements, one for all would be read and written
whole for every single count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from hub.models.values import utc_text
from hub.partners.iqmetrix.wire import Product
from hub.state.stores import ToldStore

_SHELVES = 64
# How far a publisher's clock may be ahead; a later time is a mistake, which must not block all counts until then.
_AHEAD = timedelta(minutes=5)


def counted_at(time: datetime) -> datetime:
    """Give the time to compare a count by: its event's, or now when that lies too far ahead to be believed."""
    now = datetime.now(UTC)
    return time if time <= now + _AHEAD else now


class ToldCounts:
    """What one account was told: per SKU the event time and the quantity, of the newest count only."""

    def __init__(self, store: ToldStore, account: str) -> None:
        self._store = store
        self._partner = f"iqmetrix:availability:{account}"

    async def not_superseded(self, products: Iterable[Product], at: datetime) -> tuple[Product, ...]:
        """Give those products of which no newer count was told; one of the same time is not newer."""
        products = tuple(products)
        shelves = await self._read({_shelf(product.Sku) for product in products})
        return tuple(
            product
            for product in products
            if not _is_newer(shelves[_shelf(product.Sku)].get(product.Sku), at)
        )

    async def remember(self, products: Iterable[Product], at: datetime) -> None:
        """Record that these counts were told; may be repeated, and leaves what is newer by then."""
        told: dict[str, dict[str, Any]] = {}
        for product in products:
            told.setdefault(_shelf(product.Sku), {})[product.Sku] = [utc_text(at), product.Quantity]
        shelves = await self._read(told)
        for name, counts in told.items():
            known = shelves[name]
            news = {sku: count for sku, count in counts.items() if not _is_newer(known.get(sku), at)}
            await self._store.tell(self._partner, name, {**known, **news})

    async def _read(self, names: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        names = tuple(names)
        found = await asyncio.gather(*(self._store.told(self._partner, name) for name in names))
        return {name: shelf or {} for name, shelf in zip(names, found, strict=True)}


def _shelf(sku: str) -> str:
    # Not hash(): it differs between processes.
    return str(crc32(sku.encode()) % _SHELVES)


def _is_newer(count: Any, than: datetime) -> bool:
    return count is not None and datetime.fromisoformat(count[0]) > than
