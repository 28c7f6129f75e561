"""Reports to iQmetrix what became of an order (EIP Channel Adapter), computed from its recorded state.

The event is applied to the order, then what iQmetrix must show now is compared with what was reported last. So
events in any order end in one right state, a late one is superseded, and a repeated one has nothing to tell. One
process at a time speaks about an order. A crash between the answer and the record repeats one ``PUT``, which replaces
like by like.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from consumers.effects.keyed_lease import Turns
from consumers.effects.once import Sleep, recorded
from consumers.guarded import iqmetrix_accounts, iqmetrix_clients
from consumers.large_orders import computed
from consumers.registration import ConsumerFlow
from hub.config.settings import Iqmetrix
from hub.errors import ErrorFacts
from hub.messaging.dispatch import Route
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import AnyEvent, OrderShipDateEstimated, OrderStatusUpdated
from hub.models.input.quoting import shown_id
from hub.models.types import OrderId
from hub.partners.iqmetrix.updates import Update, View, next_update
from hub.partners.iqmetrix.wire import ItemStatusUpdate, OrderStatusUpdate
from hub.process.lifecycle import Resources
from hub.state.protocols import EchoStore, LeaseStore, OrderStore, ReportedStateStore
from hub.topology import WorkQueue

UPDATE_ORDER_STATUS = WorkQueue(
    "iqmetrix",
    "update_order_status",
    hears=(
        "order.created",
        "order.status_updated",
        "order.accepted",
        "order.shipped",
        "order.cancelled",
        "order.backordered",
        "order.failed",
        # iQmetrix has no call for it. Bound all the same, since a documented key is no misspelt one.
        "order.ship_date_estimated",
    ),
    sources=("iqmetrix",),
)

_PARTNER = "iqmetrix"
# The events that say Ordered: the hub took the order, or the supplier commits to it.
_PICK_UPS = frozenset({"order.created", "order.accepted"})
# One call with a renewal is up to four requests; a lease that lapses earlier would let a second process speak.
_REQUESTS_PER_CALL = 4
_LEASE_MARGIN = timedelta(seconds=30)


class OrderUpdates(Protocol):
    """The calls about orders of one supplier account."""

    settings: Iqmetrix

    async def update_order(self, order_id: str, body: OrderStatusUpdate) -> None:
        """Report the state of a whole order."""

    async def update_items(self, order_id: str, body: ItemStatusUpdate) -> None:
        """Report the states of single items."""


class StatusStore(OrderStore, ReportedStateStore, EchoStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class UpdateOrderStatus:
    """Handles events about iQmetrix orders.

    Args:
        store: orders, what was told, and leases.
        clients: by supplier account.
        holder: who holds the leases, this process.
        sleep: waits between attempts to record what was told, for tests.
    """

    def __init__(
        self,
        store: StatusStore,
        clients: Mapping[str, OrderUpdates],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clients = clients
        self._sleep = sleep
        self._turns = Turns(store, holder)

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Apply the event and tell what is to be told.

        Raises:
            Busy: another process speaks about the order.
            TransientError: iQmetrix or the store is away.
            PermanentError: iQmetrix refuses, the order is unknown, or the event does not fit it.
        """
        order_id = OrderId.parse(event.data.order_id)
        if order_id.source != _PARTNER:
            return Done("not an iqmetrix order")
        if isinstance(event.data, OrderStatusUpdated):
            # The only sign iQmetrix gives that an accepted (202) update was applied.
            await self._note_echo(str(order_id), event.data)
            return Done(f"the feed shows {_shown(event.data)}")
        if isinstance(event.data, OrderShipDateEstimated):
            return Done("iqmetrix has no use for order.ship_date_estimated")
        client = self._clients.get(order_id.account)
        if client is None:
            return Reject(
                f"expected an order of a configured iqmetrix account ({', '.join(sorted(self._clients)) or 'none'}),"
                f" got {shown_id(order_id.account)}",
                ErrorFacts("iqmetrix", code="unknown_account"),
            )
        if event.type == "order.created":
            await self._store.load_order(str(order_id))
        else:
            await self._store.apply(event)
        lease = client.settings.timeout * _REQUESTS_PER_CALL + _LEASE_MARGIN
        async with self._turns.of(f"{_PARTNER}:{order_id}", lease):
            return await self._tell(order_id, client, picked_up=event.type in _PICK_UPS)

    async def _note_echo(self, order_id: str, shown: OrderStatusUpdated) -> None:
        """End the wait for the echo of the last report, if the feed shows that report and no earlier one."""
        reported_at = await self._store.awaits_echo_since(_PARTNER, order_id)
        if reported_at is None:
            return
        view = View.from_json(await self._store.told(_PARTNER, order_id))
        if view is None or view.is_echoed_by(line.status for line in shown.lines):
            await self._store.end_wait_for_echo(_PARTNER, order_id, reported_at=reported_at)

    async def _tell(self, order_id: OrderId, client: OrderUpdates, *, picked_up: bool) -> Outcome:
        """Compare anew within the turn: the order may have moved on while it was waited for."""
        key = str(order_id)
        order = await self._store.load_order(key)
        before = await self._store.told(_PARTNER, key)

        def compare() -> tuple[Update, Any] | None:
            told = View.from_json(before)
            update = next_update(order, told, picked_up=picked_up, settings=client.settings)
            return None if update is None else (update, update.view.to_json())

        news = await computed(compare, order)
        if news is None:
            return Done("nothing to tell: superseded or told before")
        update, view = news
        await _call(client, order_id.source_order_id, update)

        async def record() -> None:
            # The store may have been away for longer than the lease: then somebody else may have told more since.
            if await self._store.told(_PARTNER, key) == before:
                awaits_echo = bool(client.settings.echo_within)
                await self._store.tell(_PARTNER, key, view, awaits_echo=awaits_echo)

        await recorded(record, sleep=self._sleep)
        return Done(update.note)


def _shown(updated: OrderStatusUpdated) -> str:
    states = Counter(line.status for line in updated.lines)
    return ", ".join(f"{count} of {status}" for status, count in states.items()) or "an update of no line"


async def _call(client: OrderUpdates, order_id: str, update: Update) -> None:
    match update.body:
        case OrderStatusUpdate() as body:
            await client.update_order(order_id, body)
        case ItemStatusUpdate() as body:
            await client.update_items(order_id, body)


def _route(queue: WorkQueue, resources: Resources) -> Route:
    handler = UpdateOrderStatus(resources.store, iqmetrix_clients(resources), resources.holder)
    return Route(queue.name, handler, calls=iqmetrix_accounts(resources))


FLOW = ConsumerFlow(
    UPDATE_ORDER_STATUS.name,
    lambda settings: (UPDATE_ORDER_STATUS,) if settings.iqmetrix else (),
    _route,
)
