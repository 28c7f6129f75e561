"""Partner clients as consumers see them: each call under the breaker of its account or client.

The rows of ``consumers`` build them around the clients that the process shares with its pollers, which have a backoff of
their own. So handlers know nothing of breakers: a call to a destination that is away ends in ``CircuitOpen``, as busy work
does, and costs no attempt (``hub.messaging.resilience.outages``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hub.config.settings import Settings
from hub.messaging.dispatch import outcome_of
from hub.messaging.handler import Context, Handler
from hub.messaging.outcome import Outcome, Retry
from hub.messaging.resilience.circuit_breaker import LONGEST_PARK, Thresholds
from hub.messaging.resilience.outages import NEVER, Destination, Outages
from hub.models.events import AnyEvent
from hub.models.types import OrderId
from hub.partners.iqmetrix import client as iqmetrix
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.iqmetrix.wire import Availability, ItemStatusUpdate, OrderStatusUpdate
from hub.partners.optoro.client import WebhookEndpoint
from hub.partners.optoro.translate import Kind
from hub.partners.retailops import client as retailops
from hub.partners.retailops.client import RetailopsClient
from hub.partners.retailops.wire import Complete, ExternalSku, PurchaseOrderDate, PurchaseOrderMark
from hub.process.lifecycle import Resources


class GuardedIqmetrix:
    """The calls of ``IqmetrixClient`` that consumers make."""

    def __init__(self, client: IqmetrixClient, destination: Destination) -> None:
        self._client = client
        self._destination = destination
        self.settings = client.settings

    async def update_order(self, order_id: str, body: OrderStatusUpdate) -> None:
        """See ``IqmetrixClient.update_order``."""
        with self._destination.calling():
            await self._client.update_order(order_id, body)

    async def update_items(self, order_id: str, body: ItemStatusUpdate) -> None:
        """See ``IqmetrixClient.update_items``."""
        with self._destination.calling():
            await self._client.update_items(order_id, body)

    async def push_availability(self, products: Availability) -> None:
        """See ``IqmetrixClient.push_availability``."""
        with self._destination.calling():
            await self._client.push_availability(products)


class GuardedRetailops:
    """The calls of ``RetailopsClient`` that consumers make."""

    def __init__(self, client: RetailopsClient, destination: Destination) -> None:
        self._client = client
        self._destination = destination
        self.settings = client.settings

    async def mark_submitted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """See ``RetailopsClient.mark_submitted``."""
        with self._destination.calling():
            await self._client.mark_submitted(records)

    async def mark_accepted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """See ``RetailopsClient.mark_accepted``."""
        with self._destination.calling():
            await self._client.mark_accepted(records)

    async def update_ship_dates(self, records: Sequence[PurchaseOrderDate]) -> None:
        """See ``RetailopsClient.update_ship_dates``."""
        with self._destination.calling():
            await self._client.update_ship_dates(records)

    async def complete(self, body: Complete) -> None:
        """See ``RetailopsClient.complete``."""
        with self._destination.calling():
            await self._client.complete(body)

    async def carrier_class_id(self, name: str, *, refresh_on_miss: bool = True) -> int:
        """See ``RetailopsClient.carrier_class_id``."""
        # The list may be one that was kept.
        with self._destination.calling(is_proof=False):
            return await self._client.carrier_class_id(name, refresh_on_miss=refresh_on_miss)

    async def advise_inventory(self, records: Sequence[ExternalSku]) -> None:
        """See ``RetailopsClient.advise_inventory``."""
        with self._destination.calling():
            await self._client.advise_inventory(records)


class RetryFreeWhileOpen:
    """A handler that waits for what another consumer does at the same account: in vain until that is well again.

    So its retries cost no attempt until then. A PO is completed after it was submitted, and would be a letter before the
    account could be told of either.

    Args:
        handler: of one event.
        destinations: by account.
        account_of: tells the account of an event.
    """

    def __init__(
        self,
        handler: Handler[AnyEvent],
        destinations: Mapping[str, Destination],
        account_of: Callable[[AnyEvent], str],
    ) -> None:
        self._handler = handler
        self._destinations = destinations
        self._account_of = account_of

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Return the outcome of the handler, or that it waits for the account; raises what the handler raises."""
        outcome = await self._handler(event, context)
        destination = self._destinations.get(self._account_of(event))
        if destination is None or not isinstance(outcome, Retry) or destination.breaker.is_well:
            return outcome
        return outcome_of(destination.held_back())


class GuardedEndpoint:
    """The calls of ``WebhookEndpoint``."""

    def __init__(self, endpoint: WebhookEndpoint, destination: Destination) -> None:
        self._endpoint = endpoint
        self._destination = destination

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        """See ``WebhookEndpoint.post``."""
        with self._destination.calling():
            await self._endpoint.post(url, body, webhook_id=webhook_id, kind=kind)


def outages_of(resources: Resources) -> Outages:
    """Return the one registry of destinations of this process."""
    return resources.shared("outages", lambda: Outages(thresholds_of(resources.settings)))


def iqmetrix_clients(resources: Resources) -> dict[str, GuardedIqmetrix]:
    """Return the client of each configured supplier account."""
    outages = outages_of(resources)
    return {
        account: GuardedIqmetrix(client, outages.of("iqmetrix", account))
        for account, client in iqmetrix.clients_of(resources).items()
    }


def iqmetrix_accounts(resources: Resources) -> tuple[Destination, ...]:
    """Return whom the work of the iqmetrix queues is for."""
    outages = outages_of(resources)
    return tuple(outages.of("iqmetrix", one.account) for one in resources.settings.iqmetrix)


def retailops_clients(resources: Resources) -> dict[str, GuardedRetailops]:
    """Return the client of each configured vendor account."""
    outages = outages_of(resources)
    return {
        account: GuardedRetailops(client, outages.of("retailops", account))
        for account, client in retailops.clients_of(resources).items()
    }


def retailops_accounts(resources: Resources) -> tuple[Destination, ...]:
    """Return whom the work of the retailops queues is for."""
    outages = outages_of(resources)
    return tuple(outages.of("retailops", one.account) for one in resources.settings.retailops)


def spared(handler: Handler[AnyEvent], resources: Resources) -> RetryFreeWhileOpen:
    """Put around a handler that waits for another consumer of its vendor account."""
    outages = outages_of(resources)
    accounts = {one.account: outages.of("retailops", one.account) for one in resources.settings.retailops}
    return RetryFreeWhileOpen(handler, accounts, _vendor_of)


def _vendor_of(event: AnyEvent) -> str:
    order_id = OrderId.parse(event.data.order_id)
    return order_id.account if order_id.source == "retailops" else ""


def thresholds_of(settings: Settings) -> Thresholds:
    """Return the thresholds that the settings ask for."""
    outage = settings.outage
    if not outage.enabled:
        return NEVER
    asked = Thresholds(outage.failures, outage.over, outage.probe_after, outage.probe_at_most, LONGEST_PARK)
    return asked.for_waits(settings.retry.waits)
