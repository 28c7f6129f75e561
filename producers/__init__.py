"""The table of contents of what the hub asks its partners: one row per polling producer.

A row says which work queue a producer has (for raw entries that come back after a replay), and which pollers run under
given settings, one for each partner account. A new producer is a file in this folder and a row here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from hub.config import Settings
from hub.lifecycle import Resources
from hub.messaging.message import Message
from hub.messaging.polling import Item, Poller
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.retailops.client import client_of
from hub.topology import WorkQueue
from producers import iqmetrix_orders, retailops_purchase_orders
from producers.iqmetrix_orders import IQMETRIX_ORDERS, IqmetrixOrders
from producers.retailops_purchase_orders import RETAILOPS_PURCHASE_ORDERS, RetailopsPurchaseOrders


@dataclass(frozen=True, slots=True)
class Polling:
    """One poller that is to run, and the pause between its polls."""

    poller: Poller
    every: timedelta


@dataclass(frozen=True, slots=True)
class ProducerFlow:
    """One producer: its queue, its pollers under given settings, and how it reads a raw entry that comes back.

    ``stored`` is the prefix of the message type of its raw entries; ``again`` reads one.
    """

    name: str
    queue: WorkQueue
    stored: str
    enabled: Callable[[Settings], bool]
    pollers: Callable[[Resources], tuple[Polling, ...]]
    again: Callable[[Message, Settings], Awaitable[Item]]


def _iqmetrix_orders(resources: Resources) -> tuple[Polling, ...]:
    return tuple(
        Polling(
            IqmetrixOrders(
                account,
                resources.shared(("iqmetrix", account.account), partial(IqmetrixClient, account)),
            ),
            account.poll_every,
        )
        for account in resources.settings.iqmetrix
    )


def _retailops_purchase_orders(resources: Resources) -> tuple[Polling, ...]:
    return tuple(
        Polling(
            RetailopsPurchaseOrders(account, client_of(resources, account), resources.store),
            account.poll_every,
        )
        for account in resources.settings.retailops
    )


PRODUCERS: tuple[ProducerFlow, ...] = (
    ProducerFlow(
        "iqmetrix_orders",
        IQMETRIX_ORDERS,
        "iqmetrix.",
        lambda settings: bool(settings.iqmetrix),
        _iqmetrix_orders,
        iqmetrix_orders.take_letter,
    ),
    ProducerFlow(
        "retailops_purchase_orders",
        RETAILOPS_PURCHASE_ORDERS,
        "retailops.",
        lambda settings: bool(settings.retailops),
        _retailops_purchase_orders,
        retailops_purchase_orders.take_letter,
    ),
)
