"""The table of contents of what the hub does when something happened: one row per consumer.

A row says which work queues a consumer has under given settings, and how its route is built. A new consumer is a file
in this folder and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from consumers.accept_purchase_orders import ACCEPT_PURCHASE_ORDERS, AcceptPurchaseOrders
from consumers.advise_inventory import ADVISE_INVENTORY, AdviseAccount, AdviseInventory, records_of
from consumers.cancel_purchase_order import CANCEL_PURCHASE_ORDER, CancelPurchaseOrder
from consumers.complete_purchase_order import COMPLETE_PURCHASE_ORDER, CompletePurchaseOrder
from consumers.deliver_webhooks import DeliverWebhooks, deliver_webhooks_queue
from consumers.marking import PARTNER
from consumers.submit_purchase_orders import SUBMIT_PURCHASE_ORDERS, SubmitPurchaseOrders
from consumers.update_availability import UPDATE_AVAILABILITY, UpdateAvailability
from consumers.update_order_status import UPDATE_ORDER_STATUS, UpdateOrderStatus
from consumers.update_ship_dates import UPDATE_SHIP_DATES, UpdateShipDates
from hub.config import Retailops, Settings, WebhookClient
from hub.lifecycle import Resources
from hub.messaging.batch import Batching, ByAccount, Limits
from hub.messaging.dispatch import Route
from hub.messaging.handler import BatchHandler
from hub.models.events import AnyEvent
from hub.models.values import OrderId
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.optoro.client import WebhookEndpoint
from hub.partners.retailops.client import RetailopsClient, client_of
from hub.state.stores import Store
from hub.topology import WorkQueue

# With several accounts: how long a call may take before the deliveries behind it make room for the other accounts.
# Calls take a second or less; a partner that hangs takes until its timeout, 30 s.
_PATIENCE = timedelta(seconds=5)
# Batches of an account that the deliveries in flight may fill: one on its way, one that gathers.
_BATCHES_AT_ONCE = 2
# However many accounts there are: the prefetch is a 16-bit number, and each order is some kilobytes.
_MOST_AT_ONCE = 20_000
# Full calls of counts in one batch, whose records are read and written together: each has a share in the 64 shelves.
_CALLS_OF_COUNTS = 10
# Counts in memory, in full calls: about 50 MB of 1000-SKU events.
_ROOM_IN_CALLS = 100


@dataclass(frozen=True, slots=True)
class ConsumerFlow:
    """One consumer: its name, its work queues under given settings, and how a queue's route is built."""

    name: str
    queues: Callable[[Settings], tuple[WorkQueue, ...]]
    route: Callable[[WorkQueue, Resources], Route]


def iqmetrix_clients(resources: Resources) -> dict[str, IqmetrixClient]:
    """Give the client of each configured supplier account; one of each per process."""
    return {
        account.account: resources.shared(("iqmetrix", account.account), partial(IqmetrixClient, account))
        for account in resources.settings.iqmetrix
    }


def _with_iqmetrix(queue: WorkQueue) -> Callable[[Settings], tuple[WorkQueue, ...]]:
    return lambda settings: (queue,) if settings.iqmetrix else ()


def _update_order_status(queue: WorkQueue, resources: Resources) -> Route:
    handler = UpdateOrderStatus(resources.store, iqmetrix_clients(resources), resources.holder)
    return Route(queue.name, handler)


def _update_availability(queue: WorkQueue, resources: Resources) -> Route:
    handler = UpdateAvailability(resources.store, iqmetrix_clients(resources), resources.holder)
    return Route(queue.name, handler)


def retailops_clients(resources: Resources) -> dict[str, RetailopsClient]:
    """Give the client of each configured vendor account; one of each per process."""
    return {account.account: client_of(resources, account) for account in resources.settings.retailops}


def _with_retailops(queue: WorkQueue) -> Callable[[Settings], tuple[WorkQueue, ...]]:
    return lambda settings: (queue,) if settings.retailops else ()


def _marks(
    build: Callable[[Store, Mapping[str, RetailopsClient], str], BatchHandler[AnyEvent]],
) -> Callable[[WorkQueue, Resources], Route]:
    """Give the route of a consumer that marks many purchase orders in one call."""

    def route(queue: WorkQueue, resources: Resources) -> Route:
        accounts = resources.settings.retailops
        handler = build(resources.store, retailops_clients(resources), resources.holder)
        batches = {account.account: Batching(handler, _limits(account, accounts)) for account in accounts}
        at_once = sum(account.batch_size for account in accounts) * _BATCHES_AT_ONCE
        return Route(
            queue.name, ByAccount(_account_of, batches, handler), at_once=min(at_once, _MOST_AT_ONCE)
        )

    return route


def _limits(account: Retailops, accounts: Sequence[Retailops]) -> Limits:
    """Give the limits of an account's batches; deliveries make room for other accounts, if there are any."""
    patience = _PATIENCE if len(accounts) > 1 else None
    return Limits(account.batch_size, account.batch_within, patience=patience)


def _account_of(event: AnyEvent) -> str:
    """Give the vendor account of an event; none of another partner's order, which needs no call."""
    order_id = OrderId.parse(event.data.order_id)
    return order_id.account if order_id.source == PARTNER else ""


def _complete_purchase_order(queue: WorkQueue, resources: Resources) -> Route:
    handler = CompletePurchaseOrder(resources.store, retailops_clients(resources), resources.holder)
    return Route(queue.name, handler)


def _cancel_purchase_order(queue: WorkQueue, resources: Resources) -> Route:
    return Route(queue.name, CancelPurchaseOrder(resources.store))


def _advise_inventory(queue: WorkQueue, resources: Resources) -> Route:
    accounts = resources.settings.retailops
    clients = retailops_clients(resources)
    batches = {}
    for account in accounts:
        handler = AdviseAccount(resources.store, clients[account.account], resources.holder)
        room = _ROOM_IN_CALLS * account.batch_size
        limits = replace(_limits(account, accounts), calls=_CALLS_OF_COUNTS, room=room)
        batches[account.account] = Batching(handler, limits, records=records_of)
    # An event of one SKU each fills a call.
    at_once = max(account.batch_size for account in accounts)
    return Route(queue.name, AdviseInventory(batches), at_once=at_once)


def _webhook_queues(settings: Settings) -> tuple[WorkQueue, ...]:
    return tuple(deliver_webhooks_queue(client) for client in settings.webhooks)


def _deliver_webhooks(queue: WorkQueue, resources: Resources) -> Route:
    client = _client_of(queue, resources.settings)
    endpoint = resources.shared(("webhook", client.name), partial(WebhookEndpoint, client))
    handler = DeliverWebhooks(resources.store, endpoint, client, resources.holder)
    return Route("deliver_webhooks", handler, stored={"webhook.": handler.deliver_stored})


def _client_of(queue: WorkQueue, settings: Settings) -> WebhookClient:
    return next(client for client in settings.webhooks if client.name == queue.name)


CONSUMERS: tuple[ConsumerFlow, ...] = (
    ConsumerFlow("update_order_status", _with_iqmetrix(UPDATE_ORDER_STATUS), _update_order_status),
    ConsumerFlow("update_availability", _with_iqmetrix(UPDATE_AVAILABILITY), _update_availability),
    ConsumerFlow(
        "submit_purchase_orders", _with_retailops(SUBMIT_PURCHASE_ORDERS), _marks(SubmitPurchaseOrders)
    ),
    ConsumerFlow(
        "accept_purchase_orders", _with_retailops(ACCEPT_PURCHASE_ORDERS), _marks(AcceptPurchaseOrders)
    ),
    ConsumerFlow("update_ship_dates", _with_retailops(UPDATE_SHIP_DATES), _marks(UpdateShipDates)),
    ConsumerFlow(
        "complete_purchase_order", _with_retailops(COMPLETE_PURCHASE_ORDER), _complete_purchase_order
    ),
    ConsumerFlow("cancel_purchase_order", _with_retailops(CANCEL_PURCHASE_ORDER), _cancel_purchase_order),
    ConsumerFlow("advise_inventory", _with_retailops(ADVISE_INVENTORY), _advise_inventory),
    ConsumerFlow("deliver_webhooks", _webhook_queues, _deliver_webhooks),
)
