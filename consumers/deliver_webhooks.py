"""Deliver the webhooks of one client: an event becomes one to many webhooks, each settled on its own (EIP Splitter).

The first delivery is the event. Its webhooks are all encoded and checked before the first is sent; one that fails
travels on as a *stored webhook*, a message with the exact bytes that were posted, so that every attempt posts the
same. Each is sent under the ledger of effects: what was sent is not sent again, however often the event comes.

The one window that remains: a crash after the client answered and before the record sends that webhook once more,
with the same bytes and the same ``webhook-id``.

Who calls it: ``hub.messaging.dispatch``, events to the object itself, messages of a type that begins with
``STORED_PREFIX`` to ``deliver_stored``. When to try again is the ladder's business.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Protocol

from consumers.effects import Sleep, once
from hub.config import WebhookClient
from hub.errors import InvalidMessage, PermanentError, TransientError
from hub.messaging.dispatch import outcome_of
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Part, Reject, Retry, Split
from hub.models.events import AnyEvent, UnitDispositionChanged
from hub.models.order import Applied, Order
from hub.models.values import OrderId
from hub.partners.optoro.translate import IncompleteWebhooks, Kind, Webhook, url_of, webhooks
from hub.state.stores import EffectStore
from hub.topology import WorkQueue

STORED_PREFIX = "webhook."
EFFECT = "x-hub-effect"
ORDER_ID = "x-hub-order-id"
EVENT_ID = "x-hub-event-id"

# AMQP's limit for a message id, in bytes.
LONGEST_MESSAGE_ID = 255
# One attempt makes at most four calls (token, post, new token, post again), and the record has to be written.
CALLS_PER_ATTEMPT = 4
RECORDING = timedelta(seconds=30)


class Records(EffectStore, Protocol):
    """What this consumer asks of the state store: the order's state and the ledger."""

    async def apply(self, event: AnyEvent) -> tuple[Order, Applied]:
        """Apply an event about an order once, and give the order now and what this event did to it."""


class Endpoint(Protocol):
    """Where the webhooks of a client are posted."""

    async def post(self, url: str, body: bytes, *, webhook_id: str) -> None:
        """Post these bytes; raises ``TransientError`` or ``PermanentError`` unless the receiver took them."""


def deliver_webhooks_queue(client: WebhookClient) -> WorkQueue:
    """Give the work queue of a client: it hears what the client has configured an address for."""
    wanted = {
        "order.shipped": client.confirmation_url,
        "order.cancelled": client.cancellation_url or client.partial_cancellation_url,
        "unit.disposition_changed": client.disposition_url,
    }
    hears = tuple(name for name, url in wanted.items() if url)
    return WorkQueue("webhook", client.name, hears=hears, sources=client.sources)


class DeliverWebhooks:
    """Handler of a client's work queue.

    Args:
        records: orders and the ledger of effects.
        endpoint: posts to the client.
        client: the client's settings.
        holder: the name of this process in the ledger.
        sleep: waits between attempts to record what was sent, for tests.
    """

    def __init__(
        self,
        records: Records,
        endpoint: Endpoint,
        client: WebhookClient,
        holder: str,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._records = records
        self._endpoint = endpoint
        self._client = client
        self._holder = holder
        self._sleep = sleep
        # A claim is taken for one attempt, so it must not wait in the pool while its lease runs.
        self._connections = asyncio.Semaphore(client.connections)

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Send the webhooks an event makes for this client, those of several parcels at once.

        Returns:
            ``Done`` when every webhook was taken, now or before, or none was to be sent. Else a ``Split``: for each
            webhook that failed the stored webhook, and the event itself, rejected, if some could not be built.

        Raises:
            UnknownOrder: no producer has recorded the order.
            StoreUnavailable: the event could not be applied.
        """
        ignored = self._why_ignored(event)
        if ignored:
            return Done(ignored)
        order, applied = (None, None) if event.order_id is None else await self._records.apply(event)
        failed: list[Part] = []
        try:
            built = webhooks(event, order, applied, self._client)
        except IncompleteWebhooks as error:
            built = error.complete
            failed.append(Part(context.message, Reject(str(error))))
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(self._attempt(webhook, event)) for webhook in built]
        parts = [attempt.result() for attempt in attempts]
        failed += [part for part in parts if not isinstance(part.outcome, Done)]
        return Split(tuple(failed)) if failed else Done(_note([part.outcome for part in parts]))

    async def deliver_stored(self, message: Message, context: Context, /) -> Outcome:
        """Post a stored webhook once more, byte for byte.

        Raises:
            InvalidMessage: the message is no stored webhook.
            TransientError: the client, its token service or the state store did not do its part.
            PermanentError: the client refused it, and its settings say that a refusal is final.
        """
        kind = _kind(message)
        effect_key = message.headers.get(EFFECT) or message.message_id
        if not isinstance(effect_key, str):
            raise InvalidMessage(f"expected the effect key in the header {EFFECT}, got none")
        url = url_of(self._client, kind)
        if url is None:
            name = self._client.name
            return Reject(
                f"client {name} has no {kind}_url any more; configure it and replay, or discard the letter"
            )
        return await self._send(effect_key, url, message.body)

    def _why_ignored(self, event: AnyEvent) -> str | None:
        client = self._client
        if event.order_id is not None:
            source = OrderId.parse(event.order_id).source
            if client.sources is not None and source not in client.sources:
                return f"{client.name} does not hear of orders of {source}"
        match event.data:
            case UnitDispositionChanged(clients=clients) if (
                clients is not None and client.name not in clients
            ):
                return f"not meant for {client.name}"
        return None

    async def _attempt(self, webhook: Webhook, event: AnyEvent) -> Part:
        outcome: Done | Retry | Reject
        try:
            outcome = await self._send(webhook.effect_key, webhook.url, webhook.body)
        except (TransientError, PermanentError) as error:
            outcome = outcome_of(error)
        return Part(stored_webhook(webhook, event), outcome)

    async def _send(self, effect_key: str, url: str, body: bytes) -> Done:
        async with self._connections:
            lease = self._client.timeout * CALLS_PER_ATTEMPT + RECORDING
            post = partial(self._endpoint.post, url, body, webhook_id=effect_key)
            sent = await once(self._records, effect_key, self._holder, lease, post, sleep=self._sleep)
            return Done("sent" if sent else "sent before")


def stored_webhook(webhook: Webhook, event: AnyEvent) -> Message:
    """Give the message a webhook travels on as, after its first attempt: the exact bytes, and no address.

    The address is a setting, looked up by kind whenever it is sent, so that it can be mended while messages wait.
    """
    headers = {EFFECT: webhook.effect_key, EVENT_ID: webhook.event_id}
    if webhook.order_id is not None:
        headers[ORDER_ID] = webhook.order_id
    fits = len(webhook.effect_key.encode()) <= LONGEST_MESSAGE_ID
    return Message(
        body=webhook.body,
        content_type="application/json",
        type=f"{STORED_PREFIX}{webhook.kind}",
        message_id=webhook.effect_key if fits else None,
        timestamp=event.time,
        headers=headers,
    )


def _kind(message: Message) -> Kind:
    name = (message.type or "").removeprefix(STORED_PREFIX)
    try:
        return Kind(name)
    except ValueError:
        expected = ", ".join(f"{STORED_PREFIX}{kind}" for kind in Kind)
        raise InvalidMessage(f"expected one of {expected}, got {message.type!r}", field="type") from None


def _note(outcomes: list[Done | Retry | Reject]) -> str:
    if not outcomes:
        return "no webhook to send"
    sent = sum(outcome == Done("sent") for outcome in outcomes)
    return f"{sent} sent, {len(outcomes) - sent} sent before"
