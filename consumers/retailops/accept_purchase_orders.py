"""Reports to RetailOps that purchase orders will not change any more (MarkAccepted), many in one call, once for each PO.

It follows the supplier's ``order.accepted``, and for vendor accounts with the setting ``accept_purchase_orders`` the
arrival of the PO. Either waits for MarkSubmitted (``consumers.retailops.submission``), and none comes after Complete
(``consumers.retailops.completion`` says why).

Who calls it: ``hub.messaging.batching.Batching``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from consumers.effects.once import Sleep
from consumers.retailops.batch_marking import Account, Mark, Marking, whole
from consumers.retailops.completion import accept_key, complete_key, why_superseded
from consumers.retailops.submission import wait_for_submission
from consumers.retailops.vendor_batches import marking_flow
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent
from hub.models.types import OrderId
from hub.partners.retailops.steps import Step
from hub.partners.retailops.wire import PurchaseOrderMark
from hub.state.protocols import EffectStore, OrderStore, ReportedStateStore
from hub.topology import WorkQueue

ACCEPT_PURCHASE_ORDERS = WorkQueue(
    "retailops", "accept_purchase_orders", hears=("order.created", "order.accepted"), sources=("retailops",)
)


class Acceptances(Account, Protocol):
    """The call that this consumer makes, of one vendor account."""

    async def mark_accepted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """Report that POs are committed to, up to 1000; raises ``Refused`` when it is about one of them."""


class AcceptStore(OrderStore, EffectStore, ReportedStateStore, Protocol):
    """The part of the state store that this consumer needs."""


class AcceptPurchaseOrders:
    """Handles batches of ``order.accepted`` and ``order.created``.

    Args:
        store: orders, the ledger of effects, and what was submitted.
        clients: by vendor account.
        holder: who claims the effects, this process.
        sleep: waits between attempts to record what was marked, for tests.
    """

    def __init__(
        self,
        store: AcceptStore,
        clients: Mapping[str, Acceptances],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clients = clients
        self._marking: Marking[Acceptances, PurchaseOrderMark] = Marking(
            store, clients, holder, _send, sleep=sleep
        )

    async def __call__(self, events: Sequence[tuple[AnyEvent, Context]], /) -> Sequence[Outcome]:
        """Mark the submitted POs that are not accepted yet; one outcome for each event."""
        return await self._marking(events, self._mark)

    async def _mark(self, event: AnyEvent, context: Context) -> Mark[PurchaseOrderMark] | Outcome:
        account = OrderId.parse(event.data.order_id).account
        if event.type == "order.accepted":
            order, _ = await self._store.apply(event)
        elif self._clients[account].settings.accept_purchase_orders:
            order = await self._store.load_order(event.data.order_id)
        else:
            return Done("accepted when order.accepted says so")
        if order.finished:
            # Complete is told or about to be; an acceptance after it would be a step back.
            return Done("superseded: every line is shipped or given up")
        waits = await wait_for_submission(self._store, order, context, step=Step.ACCEPT)
        if waits is not None:
            return waits
        return Mark(
            account,
            accept_key(order.order_id),
            whole(order),
            apart_from=(complete_key(order.order_id),),
            why_superseded=partial(why_superseded, self._store, order.order_id, step=Step.ACCEPT),
        )


async def _send(client: Acceptances, records: Sequence[PurchaseOrderMark]) -> None:
    await client.mark_accepted(records)


FLOW = marking_flow(ACCEPT_PURCHASE_ORDERS, AcceptPurchaseOrders)
