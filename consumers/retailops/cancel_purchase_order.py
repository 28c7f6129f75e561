"""Hands a person the units of a RetailOps purchase order that will not come: RetailOps has no call to cancel.

The event is applied, so that the PO can be completed with what was shipped, and rejected with what is to be done: the
dead-letter queue of this consumer is the work list (EIP Dead Letter Channel). A letter is discarded when it is done.
"""

from __future__ import annotations

from consumers.registration import ConsumerFlow
from consumers.retailops.batch_marking import PARTNER
from consumers.retailops.manual_work import listed
from hub.errors import ErrorFacts
from hub.messaging.dispatch import Route
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import Event, OrderCancelled
from hub.models.input.quoting import shown_id
from hub.models.order import Applied, Order
from hub.models.types import OrderId
from hub.process.lifecycle import Resources
from hub.state.protocols import OrderStore
from hub.topology import WorkQueue

CANCEL_PURCHASE_ORDER = WorkQueue(
    "retailops", "cancel_purchase_order", hears=("order.cancelled",), sources=("retailops",)
)

# Characters of the list of lines: a reason is a header of at most 500, the sentence around the list has the rest.
_LONGEST_LIST = 200


class CancelPurchaseOrder:
    """Handles ``order.cancelled`` of RetailOps orders.

    Args:
        store: orders.
    """

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def __call__(self, event: Event[OrderCancelled], context: Context, /) -> Outcome:
        """Apply the event and put the work for a person on the list.

        Raises:
            PermanentError: the order is unknown, or the event does not fit it.
            StoreUnavailable: the event could not be applied.
        """
        if OrderId.parse(event.data.order_id).source != PARTNER:
            return Done("not a retailops order")
        order, applied = await self._store.apply(event)
        return Reject(_to_do(order, applied), ErrorFacts("retailops", "cancel", code="no_such_call"))


def _to_do(order: Order, applied: Applied) -> str:
    details, ordered = order.details, order.lines_by_id()
    lines = [
        f"{gone.quantity} of {gone.ordered} x {shown_id(ordered[gone.line_id].sku)} (line {shown_id(gone.line_id)})"
        for gone in applied.cancellations
    ]
    what = "the whole PO, " if applied.whole_order_cancelled else ""
    return (
        "RetailOps has no call to cancel, so a person must: on the RetailOps purchase order screen, in PO"
        f" {shown_id(details.source_order_id)} of vendor {details.source_account}, cancel {what}"
        f"{listed(lines, longest=_LONGEST_LIST, what='lines')};"
        " then discard this letter"
    )


def _route(queue: WorkQueue, resources: Resources) -> Route:
    return Route(queue.name, CancelPurchaseOrder(resources.store))


FLOW = ConsumerFlow(
    CANCEL_PURCHASE_ORDER.name,
    lambda settings: (CANCEL_PURCHASE_ORDER,) if settings.retailops else (),
    _route,
)
