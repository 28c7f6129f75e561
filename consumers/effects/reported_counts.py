"""Which stock count of each SKU an account was told last, so that an older one never overwrites a newer one.

Called by ``update_availability`` and ``advise_inventory`` within the account's turn. Kept among what partners were
told, on 64 shelves for each account: one shelf for each SKU would cost a full count thousands of statements, one for
all would be read and written whole for every single count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from hub.models.events import Event, InventoryCounted
from hub.models.types import utc_text
from hub.state.protocols import ReportedStateStore

_SHELVES = 64
# How far a publisher's clock may be ahead; a later time is a mistake, which must not block all counts until then.
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Count:
    """How many units of a SKU could be sold at that time; never negative."""

    sku: str
    quantity: int
    at: datetime


def counts_of(event: Event[InventoryCounted]) -> Iterator[Count]:
    """Return the counts of an event: the last of a SKU is the valid one, a negative one means that nothing can be sold.

    Their time is the event's, or now when that lies too far ahead to be believed.
    """
    now = datetime.now(UTC)
    at = event.time if event.time <= now + _AHEAD else now
    quantities = {item.sku: max(item.quantity, 0) for item in event.data.items}
    return (Count(sku, quantity, at) for sku, quantity in quantities.items())


class ToldCounts:
    """What one account of a partner was told: the newest count of each SKU.

    Args:
        store: keeps it.
        shelves: under which name: partner, kind and account.
    """

    def __init__(self, store: ReportedStateStore, shelves: str) -> None:
        self._store = store
        self._partner = shelves

    async def newest(self, skus: Iterable[str]) -> Mapping[str, Count]:
        """Return the newest count that was reported of each of these SKUs, where there is one."""
        skus = tuple(skus)
        shelves = await self._read({_shelf(sku) for sku in skus})
        found = ((sku, shelves[_shelf(sku)].get(sku)) for sku in skus)
        return {sku: _read_count(sku, count) for sku, count in found if count is not None}

    async def remember(self, counts: Iterable[Count]) -> None:
        """Record that these counts were told; may be repeated, and leaves what is newer by then."""
        told: dict[str, list[Count]] = {}
        for count in counts:
            told.setdefault(_shelf(count.sku), []).append(count)
        shelves = await self._read(told)
        await asyncio.gather(
            *(
                self._store.tell(self._partner, name, _with(shelves[name], counts))
                for name, counts in told.items()
            )
        )

    async def _read(self, names: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        names = tuple(names)
        found = await asyncio.gather(*(self._store.told(self._partner, name) for name in names))
        return {name: shelf or {} for name, shelf in zip(names, found, strict=True)}


def _with(shelf: Mapping[str, Any], counts: Sequence[Count]) -> Mapping[str, Any]:
    news = {
        count.sku: [utc_text(count.at), count.quantity]
        for count in counts
        if count.sku not in shelf or _read_count(count.sku, shelf[count.sku]).at <= count.at
    }
    return {**shelf, **news}


def _shelf(sku: str) -> str:
    # Not hash(): it differs between processes.
    return str(crc32(sku.encode()) % _SHELVES)


def _read_count(sku: str, count: Any) -> Count:
    at, quantity = count
    return Count(sku, quantity, datetime.fromisoformat(at))
