"""The table of contents of what the hub does when something happened: one row per consumer.

A row says which work queues a consumer has under given settings, and how its route is built. A new consumer is a file
in this folder and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from consumers.deliver_webhooks import DeliverWebhooks, deliver_webhooks_queue
from consumers.update_availability import UPDATE_AVAILABILITY, UpdateAvailability
from consumers.update_order_status import UPDATE_ORDER_STATUS, UpdateOrderStatus
from hub.config import Settings, WebhookClient
from hub.lifecycle import Resources
from hub.messaging.dispatch import Route
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.optoro.client import WebhookEndpoint
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
    ConsumerFlow("deliver_webhooks", _webhook_queues, _deliver_webhooks),
)
