"""Reports to RetailOps that purchase orders were taken (MarkSubmitted), many in one call.

A producer publishes with confirms first, and this marks second: the other order would lose a PO whose mark came through
before a crash, since a submitted PO is not fetched any more. What is marked is the PO as it is recorded now; a change
is another state of it, which is marked again; but not after Complete (``consumers.retailops.completion`` says why).

Who calls it: ``hub.messaging.batching.Batching``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from consumers.effects.once import Sleep
from consumers.retailops.batch_marking import Account, Mark, Marking, whole
from consumers.retailops.completion import complete_key, why_superseded
from consumers.retailops.submission import remember_outcome, remember_submitted, submit_key
from consumers.retailops.vendor_batches import marking_flow
from hub.messaging.handler import Context
from hub.messaging.outcome import Outcome
from hub.models.events import AnyEvent
from hub.models.types import OrderId
from hub.partners.retailops.steps import Step
from hub.partners.retailops.wire import PurchaseOrderMark
from hub.state.protocols import EffectStore, OrderStore, ReportedStateStore
from hub.topology import WorkQueue

SUBMIT_PURCHASE_ORDERS = WorkQueue(
    "retailops", "submit_purchase_orders", hears=("order.created", "order.changed"), sources=("retailops",)
)


class Submissions(Account, Protocol):
    """The call that this consumer makes, of one vendor account."""

    async def mark_submitted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """Report that POs were taken, up to 1000; raises ``Refused`` when it is about one of them."""


class SubmitStore(OrderStore, EffectStore, ReportedStateStore, Protocol):
    """The part of the state store that this consumer needs."""


class SubmitPurchaseOrders:
    """Handles batches of ``order.created`` and ``order.changed``.

    Args:
        store: orders, the ledger of effects, and what was submitted.
        clients: by vendor account.
        holder: who claims the effects, this process.
        sleep: waits between attempts to record what was marked, for tests.
    """

    def __init__(
        self,
        store: SubmitStore,
        clients: Mapping[str, Submissions],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._marking: Marking[Submissions, PurchaseOrderMark] = Marking(
            store, clients, holder, _send, sleep=sleep
        )

    async def __call__(self, events: Sequence[tuple[AnyEvent, Context]], /) -> Sequence[Outcome]:
        """Mark the POs that are not marked as they are now; one outcome for each event."""
        return await self._marking(events, self._mark)

    async def _mark(self, event: AnyEvent, context: Context) -> Mark[PurchaseOrderMark]:
        order_id = event.data.order_id
        if event.type == "order.changed":
            order, _ = await self._store.apply(event)
        else:
            order = await self._store.load_order(order_id)
        return Mark(
            account=OrderId.parse(order_id).account,
            key=submit_key(order),
            record=whole(order),
            remember=partial(remember_submitted, self._store, order),
            apart_from=(complete_key(order_id),),
            why_superseded=partial(why_superseded, self._store, order_id, step=Step.SUBMIT),
            ended=partial(remember_outcome, self._store, order, attempt=context.attempt),
        )


async def _send(client: Submissions, records: Sequence[PurchaseOrderMark]) -> None:
    await client.mark_submitted(records)


FLOW = marking_flow(SUBMIT_PURCHASE_ORDERS, SubmitPurchaseOrders)
