"""What is new about RetailOps purchase orders: a PO not seen before, or one whose lines differ from those of before.

What was seen is told by keys, committed together with the cursor: ``<vendor>:<po>`` for the PO,
``<vendor>:<po>:<line hash>`` for each state of its lines. Which of several states came last is in the cursor, for the few
POs that ever changed, so that a return to earlier lines is a change too.

An order is recorded before it is published, and its keys after. After a crash between the two the recorded lines are
told from those of now: ``order.created`` says again what it said, and ``order.changed`` what is new.

Called by ``retailops_purchase_orders``, which has read the POs and gives the news on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from hub.errors import InvalidMessage
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.models.order import Order
from hub.models.types import OrderId
from hub.partners.retailops.translate import (
    SOURCE,
    created_again,
    line_hash,
    raw_of,
    read_purchase_order,
    to_letter,
    to_order_changed,
    to_order_created,
)
from hub.partners.retailops.wire import FetchedPurchaseOrder
from hub.state.protocols import Cursor

# Lines that are read before others in this process have their turn.
_LINES_PER_BREATH = 500


class Memory(Protocol):
    """What the hub knows of POs; a part of the state store."""

    async def unseen(self, poller: str, keys: Sequence[str]) -> AbstractSet[str]:
        """Return those of ``keys`` that the poller has not taken in yet."""

    async def known_orders(self, order_ids: Sequence[str]) -> AbstractSet[str]:
        """Return those of ``order_ids`` whose order is recorded."""

    async def load_order(self, order_id: str) -> Order:
        """Return an order; raises ``UnknownOrder`` if it was not recorded."""


@dataclass(frozen=True, slots=True)
class Due:
    """A PO to act on, as it came."""

    po: str
    date_submit: datetime
    record: object


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What is known of the POs of a pass: unseen keys, last lines of changed POs, and recorded orders of new ones."""

    unseen: AbstractSet[str]
    changed: Mapping[str, str]
    recorded: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class News:
    """What is new about one PO: items that are committed together, and its lines if they changed."""

    po: str
    items: tuple[Item, ...]
    changed_to: str | None = None


class PurchaseOrderNews:
    """Finds what is new about the POs of one vendor.

    Args:
        poller: the name that keys are kept under.
        vendor: whose POs they are.
        memory: tells what was taken in and recorded before.
    """

    def __init__(self, poller: str, vendor: str, memory: Memory) -> None:
        self._poller = poller
        self._vendor = vendor
        self._memory = memory

    async def of(
        self, due: Sequence[Due], letters: Sequence[Item], cursor: Cursor | None, now: datetime
    ) -> tuple[list[News], list[str]]:
        """Return what is new, and the POs that are ready still although nothing is new about them."""
        readable: list[tuple[Due, FetchedPurchaseOrder, str]] = []
        aside = list(letters)
        lines_read = 0
        for known in due:
            lines_read += 1 + _line_count(known.record)
            if lines_read > _LINES_PER_BREATH:
                lines_read = 0
                await asyncio.sleep(0)
            try:
                purchase_order = read_purchase_order(known.record)
            except InvalidMessage as invalid:
                aside.append(to_letter(known.record, self._vendor, str(invalid), invalid.facts))
                continue
            readable.append((known, purchase_order, line_hash(self._vendor, purchase_order)))
        keys = [item.key for item in aside]
        keys += [key for known, _, lines in readable for key in self._keys(known.po, lines)]
        unseen = await self._memory.unseen(self._poller, keys)
        new = [known.po for known, _, lines in readable if self._keys(known.po, lines)[0] in unseen]
        memory = _Remembered(
            unseen, changes_in(cursor), await self._memory.known_orders([self._order_id(po) for po in new])
        )
        news = [News("", (item,)) for item in aside if item.key in unseen]
        waiting: list[str] = []
        for known, purchase_order, lines in readable:
            try:
                told = await self._news_about(known, purchase_order, lines, memory, now)
            except InvalidMessage as invalid:
                letter = to_letter(known.record, self._vendor, str(invalid), invalid.facts)
                if await self._memory.unseen(self._poller, [letter.key]):
                    news.append(News(known.po, (letter,)))
                continue
            if told is not None:
                news.append(told)
            else:
                waiting.append(known.po)
        return news, waiting

    async def _news_about(
        self,
        known: Due,
        purchase_order: FetchedPurchaseOrder,
        lines: str,
        memory: _Remembered,
        now: datetime,
    ) -> News | None:
        """Compare a PO with what was told of it; None when nothing is new."""
        key, key_of_lines = self._keys(known.po, lines)
        if key in memory.unseen:
            return await self._first_sight(known, purchase_order, lines, memory, now)
        last = memory.changed.get(known.po)
        if lines == last or (last is None and key_of_lines not in memory.unseen):
            return None
        again = 0
        if key_of_lines not in memory.unseen:
            # Back to lines of before: an id and a key of its own, the same ones until they are committed.
            again = 2
            while not await self._memory.unseen(self._poller, [f"{key_of_lines}:{again}"]):
                again += 1
        event = to_order_changed(purchase_order, self._vendor, known.date_submit, seen_at=now, again=again)
        item = Item(f"{key_of_lines}:{again}" if again else key_of_lines, event=event, raw=self._raw(known))
        return News(known.po, (item,), changed_to=lines)

    async def _first_sight(
        self,
        known: Due,
        purchase_order: FetchedPurchaseOrder,
        lines: str,
        memory: _Remembered,
        now: datetime,
    ) -> News:
        key, key_of_lines = self._keys(known.po, lines)
        created = to_order_created(purchase_order, self._vendor, known.date_submit)
        recorded = created.data
        if recorded.order_id in memory.recorded:
            recorded = (await self._memory.load_order(recorded.order_id)).details
        if recorded.source_event_id == lines:
            item = Item(key, event=created, also=(key_of_lines,), raw=self._raw(known))
            return News(known.po, (item,))
        # Recorded, perhaps published, and never committed; the lines have changed since.
        event = to_order_changed(purchase_order, self._vendor, known.date_submit, seen_at=now)
        before = self._keys(known.po, recorded.source_event_id)[1]
        items = (
            Item(key, event=created_again(recorded), also=(before,), raw=self._raw(known)),
            Item(key_of_lines, event=event, raw=self._raw(known)),
        )
        return News(known.po, items, changed_to=lines)

    def _raw(self, known: Due) -> Callable[[], Message]:
        return partial(raw_of, known.record, self._vendor)

    def _order_id(self, po: str) -> str:
        return str(OrderId(SOURCE, self._vendor, po))

    def _keys(self, po: str, lines: str) -> tuple[str, str]:
        return f"{self._vendor}:{po}", f"{self._vendor}:{po}:{lines}"


def _line_count(record: object) -> int:
    lines = record.get("items") if isinstance(record, dict) else None
    return len(lines) if isinstance(lines, list) else 0


def changes_in(cursor: Cursor | None) -> dict[str, str]:
    """The last lines of the POs that ever changed, oldest change first."""
    kept = cursor.get("changed", []) if cursor is not None else []
    return dict(kept)
