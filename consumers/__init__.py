"""The table of contents of what the hub does when something happened: one row per consumer.

A row says which work queues a consumer has under given settings, and how its route is built. A new consumer is a file
in this folder and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from consumers.accept_purchase_orders import ACCEPT_PURCHASE_ORDERS, AcceptPurchaseOrders
from consumers.advise_inventory import ADVISE_INVENTORY, AdviseInventory
from consumers.cancel_purchase_order import CANCEL_PURCHASE_ORDER, CancelPurchaseOrder
from consumers.complete_purchase_order import COMPLETE_PURCHASE_ORDER, CompletePurchaseOrder
from consumers.deliver_webhooks import DeliverWebhooks, deliver_webhooks_queue
from consumers.submit_purchase_orders import SUBMIT_PURCHASE_ORDERS, SubmitPurchaseOrders
from consumers.update_availability import UPDATE_AVAILABILITY, UpdateAvailability
from consumers.update_order_status import UPDATE_ORDER_STATUS, UpdateOrderStatus
from consumers.update_ship_dates import UPDATE_SHIP_DATES, UpdateShipDates
from hub.config import Settings, WebhookClient
from hub.lifecycle import Resources
from hub.messaging.batch import Batching
from hub.messaging.dispatch import Route
from hub.messaging.handler import BatchHandler
from hub.models.events import AnyEvent
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.optoro.client import WebhookEndpoint
from hub.partners.retailops.client import RetailopsClient, client_of
from hub.state.stores import Store
from hub.topology import WorkQueue


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
        size = min(account.batch_size for account in accounts)
        within = min(account.batch_within for account in accounts)
        return Route(queue.name, Batching(handler, size=size, within=within), at_once=size)

    return route


def _complete_purchase_order(queue: WorkQueue, resources: Resources) -> Route:
    handler = CompletePurchaseOrder(resources.store, retailops_clients(resources), resources.holder)
    return Route(queue.name, handler)


def _cancel_purchase_order(queue: WorkQueue, resources: Resources) -> Route:
    return Route(queue.name, CancelPurchaseOrder(resources.store))


def _advise_inventory(queue: WorkQueue, resources: Resources) -> Route:
    handler = AdviseInventory(resources.store, retailops_clients(resources), resources.holder)
    return Route(queue.name, handler)


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
