"""Reports to RetailOps when purchase orders are expected to leave (UpdateEstShipDate), many in one call.

It waits for MarkSubmitted (``consumers.retailops.submission``), and none comes after Complete. Each event is reported once. Of each line the newest event that brought a date is kept, and an older one that waited for a
retry does not overwrite it.

Who calls it: ``hub.messaging.batching.Batching``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from consumers.effects.batched_calls import Same
from consumers.effects.once import Sleep
from consumers.retailops.batch_marking import PARTNER, Account, Mark, Marking, units_left
from consumers.retailops.completion import complete_key, why_superseded
from consumers.retailops.submission import wait_for_submission
from consumers.retailops.vendor_batches import marking_flow
from hub.errors import InvalidMessage
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.effect_key import escaped
from hub.models.events import AnyEvent, LineRef, OrderFailed
from hub.models.input.quoting import shown_id
from hub.models.order import Line, Order
from hub.models.types import OrderId, utc_text
from hub.partners.retailops.steps import Step
from hub.partners.retailops.wire import PurchaseOrderDate
from hub.state.protocols import EffectStore, OrderStore, ReportedStateStore
from hub.topology import WorkQueue

UPDATE_SHIP_DATES = WorkQueue(
    "retailops",
    "update_ship_dates",
    # RetailOps has no call for order.failed. Bound all the same, since a documented key is no misspelt one.
    hears=("order.ship_date_estimated", "order.backordered", "order.failed"),
    sources=("retailops",),
)

_DATED = f"{PARTNER}:ship-dates"


class ShipDates(Account, Protocol):
    """The call that this consumer makes, of one vendor account."""

    async def update_ship_dates(self, records: Sequence[PurchaseOrderDate]) -> None:
        """Report when POs are expected to leave, up to 1000; raises ``Refused`` when it is about one of them."""


class DateStore(OrderStore, EffectStore, ReportedStateStore, Protocol):
    """The part of the state store that this consumer needs."""


class UpdateShipDates:
    """Handles batches of ``order.ship_date_estimated`` and ``order.backordered``, and ignores ``order.failed``.

    Args:
        store: orders, the ledger of effects, and which dates are the newest.
        clients: by vendor account.
        holder: who claims the effects, this process.
        sleep: waits between attempts to record what was told, for tests.
    """

    def __init__(
        self,
        store: DateStore,
        clients: Mapping[str, ShipDates],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._marking: Marking[ShipDates, PurchaseOrderDate] = Marking(
            store, clients, holder, _send, sleep=sleep
        )
        self._one_by_one = asyncio.Lock()

    async def __call__(self, events: Sequence[tuple[AnyEvent, Context]], /) -> Sequence[Outcome]:
        """Report the dates that are not reported yet and not superseded; one outcome for each event."""
        # The newest first: those that it supersedes are not in the call.
        order = sorted(range(len(events)), key=lambda place: _age(events[place][0]), reverse=True)
        outcomes = await self._marking([events[place] for place in order], self._mark)
        by_place = dict(zip(order, outcomes, strict=True))
        return [by_place[place] for place in range(len(events))]

    async def _mark(self, event: AnyEvent, context: Context) -> Mark[PurchaseOrderDate] | Outcome:
        async with self._one_by_one:
            return await self._mark_in_turn(event, context)

    async def _mark_in_turn(self, event: AnyEvent, context: Context) -> Mark[PurchaseOrderDate] | Outcome:
        if isinstance(event.data, OrderFailed):
            return Done(f"{PARTNER} has no use for order.failed")
        order, _ = await self._store.apply(event)
        date: datetime | None = event.data.estimated_ship_date
        if date is None:
            return Done("no ship date to tell")
        lines = [line for line in _named(order, event.data.lines) if line.left]
        if not lines:
            return Done("nothing left to ship")
        newest = await self._newest(order.order_id, lines, event)
        if not newest:
            return Done("superseded")
        waits = await wait_for_submission(self._store, order, context, step=Step.DATE)
        if waits is not None:
            return waits
        return Mark(
            account=OrderId.parse(order.order_id).account,
            # Told apart from the other effects of an order whose PO looks like one of them.
            key=f"{PARTNER}:{order.order_id}:ship-date:id={escaped(event.id)}",
            same=Same(key_before=f"{PARTNER}:{order.order_id}:ship-date:{event.id}"),
            record=PurchaseOrderDate(
                po=order.details.source_order_id, estimated_ship_date=date, items=units_left(newest)
            ),
            apart_from=(complete_key(order.order_id),),
            why_superseded=partial(why_superseded, self._store, order.order_id, step=Step.DATE),
        )

    async def _newest(self, order_id: str, lines: Sequence[Line], event: AnyEvent) -> Sequence[Line]:
        """Return those lines of which no newer date is known, and keep that this one is.

        Kept before the call: whether or not the newer one comes through, the older one is not valid any more.
        """
        known = await self._store.told(_DATED, order_id) or {}
        newest = [line for line in lines if not _is_newer(known.get(line.line_id), event)]
        if newest:
            mine = {line.line_id: [utc_text(event.time), event.id] for line in newest}
            await self._store.tell(_DATED, order_id, {**known, **mine})
        return newest


def _age(event: AnyEvent) -> tuple[datetime, str]:
    """Compare events by time, and those of one moment the same way whenever they come."""
    return event.time, event.id


def _is_newer(known: Sequence[str] | None, event: AnyEvent) -> bool:
    return known is not None and (datetime.fromisoformat(known[0]), known[1]) > _age(event)


def _named(order: Order, refs: Sequence[LineRef] | None) -> Sequence[Line]:
    """Return the lines that an event names, each once; without any, all."""
    if not refs:
        return order.lines
    found = {_line(order, ref, position).line_id for position, ref in enumerate(refs)}
    return [line for line in order.lines if line.line_id in found]


def _line(order: Order, ref: LineRef, position: int) -> Line:
    matches = [
        line
        for line in order.lines
        if (line.line_id == ref.line_id if ref.line_id is not None else line.sku == ref.sku)
    ]
    if len(matches) != 1:
        known = ", ".join(f"{shown_id(line.line_id)!r} ({shown_id(line.sku)})" for line in order.lines)
        raise InvalidMessage(
            f"expected a name of one line of the order ({known}), got {shown_id(ref.line_id or ref.sku or '')!r}",
            field=f"lines.{position}",
        )
    return matches[0]


async def _send(client: ShipDates, records: Sequence[PurchaseOrderDate]) -> None:
    await client.update_ship_dates(records)


FLOW = marking_flow(UPDATE_SHIP_DATES, UpdateShipDates)
