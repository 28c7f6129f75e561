"""Reports to RetailOps that a purchase order is finished, with all its parcels (Complete): one call for each PO, once.

A PO is finished when every unit of every line is shipped or given up, whichever event does that; RetailOps knows no
partial completion. It is not completed before it is submitted as it is now, or it might be rerouted meanwhile
(``consumers.retailops.submission`` says how it waits).

What comes after completion cannot be told by a call: parcels that leave later, and other units that RetailOps orders by
a change. It is rejected with what a person must do, so the dead-letter queue of this consumer is a work list (EIP Dead
Letter Channel). A change during the call is noticed too: Complete is recorded before the order is looked at, and a
change is applied before the record is, so one of the two finds the other, or both.

The one window that remains: a crash between the answer and the record sends the PO once more, which RetailOps calls
already done. Like a PO that a person completed, it then counts as completed with what the hub knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from consumers.effects.keyed_lease import Turns
from consumers.effects.once import LOOK_AGAIN, Sleep, once, recorded
from consumers.guarded import retailops_accounts, retailops_clients, spared
from consumers.large_orders import computed
from consumers.registration import ConsumerFlow
from consumers.retailops.batch_marking import PARTNER, Account, call_lease, unfit
from consumers.retailops.completion import (
    accept_key,
    complete_key,
    completion_of,
    remember_completed,
)
from consumers.retailops.submission import is_submitted, wait_for_submission
from hub.config.settings import Retailops
from hub.errors import Busy, ErrorFacts
from hub.messaging.dispatch import Route, outcome_of
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import AnyEvent
from hub.models.input.quoting import shown_id
from hub.models.order import Order
from hub.models.order import Package as Parcel
from hub.models.types import OrderId
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.client import UnknownCarrierClass
from hub.partners.retailops.steps import Step
from hub.partners.retailops.wire import Complete, Package, PackageItem
from hub.process.lifecycle import Resources
from hub.state.protocols import EffectStore, LeaseStore, OrderStore, ReportedStateStore
from hub.topology import WorkQueue

COMPLETE_PURCHASE_ORDER = WorkQueue(
    "retailops",
    "complete_purchase_order",
    # A change may take away the last units that were waited for.
    hears=("order.shipped", "order.cancelled", "order.changed"),
    sources=("retailops",),
)

# The completion, and the carrier classes read once or twice before it.
_CALLS = 3
_BY_HAND = ErrorFacts("retailops", "Complete", code="differs")


class Completions(Account, Protocol):
    """The calls that this consumer makes, of one vendor account."""

    async def carrier_class_id(self, name: str, *, refresh_on_miss: bool = True) -> int:
        """Return the id of a carrier class; raises ``UnknownCarrierClass``."""

    async def complete(self, body: Complete) -> None:
        """Report that a PO is finished, with all its parcels."""


class CompletionStore(OrderStore, EffectStore, ReportedStateStore, LeaseStore, Protocol):
    """The part of the state store that this consumer needs."""


class CompletePurchaseOrder:
    """Handles what may finish a RetailOps order.

    Args:
        store: orders, the ledger of effects, what was submitted and completed, and leases.
        clients: by vendor account.
        holder: who claims the effects and holds the leases, this process.
        sleep: waits between attempts to record what was completed, for tests.
    """

    def __init__(
        self,
        store: CompletionStore,
        clients: Mapping[str, Completions],
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._clients = clients
        self._holder = holder
        self._sleep = sleep
        self._turns = Turns(store, holder)

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Apply the event, and complete the PO if it is finished; after that, tell a person what is different since.

        Raises:
            UnknownCarrierClass: a parcel went by a carrier class that RetailOps does not list; names those it does.
            TransientError: RetailOps or the store is away, or another process is at the account.
            PermanentError: the order is unknown, or the event does not fit it.
        """
        ignored = unfit(event, self._clients)
        if ignored is not None:
            return ignored
        order, _ = await self._store.apply(event)
        if await completion_of(self._store, order.order_id) is not None:
            return await self._compared(order, "completed before")
        if not order.finished:
            return Done(f"{sum(line.left for line in order.lines)} units are left to ship or give up")
        if not order.packages:
            return Done("nothing shipped, nothing to complete")
        waits = await wait_for_submission(self._store, order, context, step=Step.COMPLETE)
        if waits is not None:
            return waits
        return await self._complete(order)

    async def _complete(self, order: Order) -> Outcome:
        account = OrderId.parse(order.order_id).account
        client = self._clients[account]
        lease = call_lease(client.settings, _CALLS)

        async def complete() -> None:
            now = await self._ready(order.order_id)
            try:
                await client.complete(await _body(now, client))
            except Refused as refusal:
                if not refusal.already_done:
                    raise
            # Before the effect: a repeated event must not find it done with this still missing.
            await recorded(partial(remember_completed, self._store, now), sleep=self._sleep)

        # By account: those who wait behind a partner that does not answer share one timeout.
        async with self._turns.of(f"{PARTNER}:complete:{account}", lease):
            try:
                made = await once(
                    self._store,
                    complete_key(order.order_id),
                    self._holder,
                    lease,
                    complete,
                    apart_from=(accept_key(order.order_id),),
                    sleep=self._sleep,
                )
            except (Refused, Busy) as about_this_po:
                # Not to be shared with those who wait.
                return outcome_of(about_this_po)
        order = await self._store.load_order(order.order_id)
        note = f"completed with {len(order.packages)} packages" if made else "completed before"
        return await self._compared(order, note)

    async def _ready(self, order_id: str) -> Order:
        """Look again now that the claim is held: no mark of the PO begins any more, and those that ended are known.

        Raises:
            Busy: the PO was changed meanwhile; what is to be done with it is found out anew.
        """
        order = await self._store.load_order(order_id)
        if not (order.finished and await is_submitted(self._store, order)):
            raise Busy(
                f"PO {shown_id(order.details.source_order_id)} was changed meanwhile", retry_after=LOOK_AGAIN
            )
        return order

    async def _compared(self, order: Order, note: str) -> Done | Reject:
        """Return the outcome for a completed PO: ``note`` if it is what it was completed as, else what a person must do."""
        completed = await completion_of(self._store, order.order_id)
        to_do = completed.to_settle(order) if completed is not None else None
        return Done(note) if to_do is None else Reject(to_do, _BY_HAND)


async def _body(order: Order, client: Completions) -> Complete:
    classes: dict[tuple[str, str | None], int] = {}
    for parcel in order.packages:
        if _kind(parcel) not in classes:
            classes[_kind(parcel)] = await _ship_class_id(parcel, client)
    return await computed(partial(complete_of, order, classes), order)


def _kind(parcel: Parcel) -> tuple[str, str | None]:
    return parcel.carrier, parcel.service


def complete_of(order: Order, classes: Mapping[tuple[str, str | None], int]) -> Complete:
    """Return what completes an order; ``classes`` has the carrier class of each carrier and service."""
    products = {line.line_id: line.sku for line in order.lines}
    return Complete(
        po=order.details.source_order_id,
        packages=tuple(_package(parcel, classes[_kind(parcel)], products) for parcel in order.packages),
    )


def _package(parcel: Parcel, ship_class_id: int, products: Mapping[str, str]) -> Package:
    """Return a parcel in RetailOps' words; it tells lines apart by product code alone, so those of one code are summed."""
    units: dict[str, int] = {}
    for item in parcel.items:
        vpc = products[item.line_id]
        units[vpc] = units.get(vpc, 0) + item.quantity
    return Package(
        ship_class_id=ship_class_id,
        tracking_number=parcel.tracking_number,
        unit_count=sum(units.values()),
        items=tuple(PackageItem(vpc=vpc, quantity=quantity) for vpc, quantity in units.items()),
    )


async def _ship_class_id(parcel: Parcel, client: Completions) -> int:
    names = _class_names(parcel, client.settings)
    for name in names:
        # All names before a new list is asked for: else a parcel that is known by its second name asks every time.
        with suppress(UnknownCarrierClass):
            return await client.carrier_class_id(name, refresh_on_miss=False)
    try:
        return await client.carrier_class_id(names[0])
    except UnknownCarrierClass:
        for name in names[1:]:
            with suppress(UnknownCarrierClass):
                return await client.carrier_class_id(name, refresh_on_miss=False)
        raise


def _class_names(parcel: Parcel, settings: Retailops) -> tuple[str, ...]:
    """Return the names that a parcel's carrier class may have, best first.

    The carrier alone counts only where no service was told: a class for any service would be a default.
    """
    carried = f"{parcel.carrier} {parcel.service}" if parcel.service else parcel.carrier
    chosen = {_plain(name): choice for name, choice in settings.ship_classes.items()}.get(_plain(carried))
    if chosen is not None:
        return (chosen,)
    return (carried, parcel.service) if parcel.service else (carried,)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _route(queue: WorkQueue, resources: Resources) -> Route:
    handler = CompletePurchaseOrder(resources.store, retailops_clients(resources), resources.holder)
    return Route(queue.name, spared(handler, resources), calls=retailops_accounts(resources))


FLOW = ConsumerFlow(
    COMPLETE_PURCHASE_ORDER.name,
    lambda settings: (COMPLETE_PURCHASE_ORDER,) if settings.retailops else (),
    _route,
)
