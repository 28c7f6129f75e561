"""How the deliveries of one queue become batches of each RetailOps vendor account, for the consumers that mark POs.

Each account gathers on its own, within its own settings, so that none waits for another. How a batch is gathered is
``hub.messaging.batching``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from consumers.guarded import GuardedRetailops, retailops_accounts, retailops_clients, spared
from consumers.registration import ConsumerFlow
from consumers.retailops.batch_marking import PARTNER
from hub.config.settings import Retailops
from hub.messaging.batching import Batching, ByAccount, Limits
from hub.messaging.dispatch import Route
from hub.messaging.handler import BatchHandler
from hub.models.events import AnyEvent
from hub.models.types import OrderId
from hub.process.lifecycle import Resources
from hub.state.protocols import Store
from hub.topology import WorkQueue

# With several accounts: how long a call may take before the deliveries behind it make room for the other accounts.
# Calls take a second or less; a partner that hangs takes until its timeout, 30 s.
_PATIENCE = timedelta(seconds=5)
# Batches of an account that the deliveries in flight may fill: one on its way, one that gathers.
_BATCHES_AT_ONCE = 2
# However many accounts there are: the prefetch is a 16-bit number, and each order is some kilobytes.
_MOST_AT_ONCE = 20_000


def marking_flow(
    queue: WorkQueue,
    build: Callable[[Store, Mapping[str, GuardedRetailops], str], BatchHandler[AnyEvent]],
) -> ConsumerFlow:
    """Return the row of a consumer that marks many purchase orders in one call; ``build`` makes its handler."""

    def route(queue: WorkQueue, resources: Resources) -> Route:
        accounts = resources.settings.retailops
        handler = build(resources.store, retailops_clients(resources), resources.holder)
        batches = {account.account: Batching(handler, limits_of(account, accounts)) for account in accounts}
        at_once = sum(account.batch_size for account in accounts) * _BATCHES_AT_ONCE
        return Route(
            queue.name,
            spared(ByAccount(_account_of, batches, handler), resources),
            at_once=min(at_once, _MOST_AT_ONCE),
            calls=retailops_accounts(resources),
        )

    return ConsumerFlow(queue.name, lambda settings: (queue,) if settings.retailops else (), route)


def limits_of(account: Retailops, accounts: Sequence[Retailops]) -> Limits:
    """Return the limits of an account's batches; deliveries make room for other accounts, if there are any."""
    patience = _PATIENCE if len(accounts) > 1 else None
    return Limits(account.batch_size, account.batch_within, patience=patience)


def _account_of(event: AnyEvent) -> str:
    """Return the vendor account of an event; none of another partner's order, which needs no call."""
    order_id = OrderId.parse(event.data.order_id)
    return order_id.account if order_id.source == PARTNER else ""
