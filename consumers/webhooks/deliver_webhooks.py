"""Deliver the webhooks of one client: an event becomes one to many webhooks, each settled on its own (EIP Splitter).

The first delivery is the event. Its webhooks are all encoded and checked before the first is sent; one that fails
travels on as a *stored webhook*, a message with the exact bytes that were posted, so that every attempt posts the
same. Each is sent under the ledger of effects: what was sent is not sent again, however often the event comes, and what
travels on as a stored webhook is left to that, be it on a rung or a letter. So a webhook has one ladder and one letter,
and one that a person has discarded is not sent by a repeated event either.

Two windows remain. A crash after the client answered and before the record sends that webhook once more, with the same
bytes and the same ``webhook-id``. A crash after the broker took a stored webhook and before the record of that lets the
event, which comes again, send it on a second time, and so does an event that comes again before that record: a stored
webhook too many is better than one too few.

Who calls it: ``hub.messaging.dispatch``, events to the object itself, messages of a type that begins with
``STORED_PREFIX`` to ``deliver_stored``. When to try again is the ladder's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Protocol

from consumers.effects.once import Made, Sleep, call_once, recorded
from consumers.guarded import GuardedEndpoint, outages_of
from consumers.large_orders import computed
from consumers.registration import ConsumerFlow
from hub.config.settings import Settings
from hub.config.webhooks import WebhookClient
from hub.errors import Busy, ErrorFacts, InvalidMessage, PermanentError, TransientError
from hub.messaging.dispatch import Route, outcome_of
from hub.messaging.handler import Context
from hub.messaging.message import EFFECT, EVENT_ID, ORDER_ID, Message
from hub.messaging.outcome import Done, Outcome, Part, Reject, Retry, Split
from hub.models.events import AnyEvent, UnitDispositionChanged
from hub.models.order import Applied, Order
from hub.models.types import OrderId
from hub.partners.optoro.client import WebhookEndpoint
from hub.partners.optoro.translate import IncompleteWebhooks, Kind, Webhook, url_of, webhooks
from hub.process.lifecycle import Resources
from hub.state.event_identity import OtherContent
from hub.state.protocols import EffectStore
from hub.topology import WorkQueue

STORED_PREFIX = "webhook."
# What webhooks are made of. A queue may still be bound to one of them whose address was taken out of the settings.
_TYPES = ("order.shipped", "order.cancelled", "unit.disposition_changed")
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

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        """Post these bytes; raises ``TransientError`` or ``PermanentError`` unless the receiver took them."""


def deliver_webhooks_queue(client: WebhookClient) -> WorkQueue:
    """Return the work queue of a client: it hears what the client has configured an address for."""
    wanted = (
        client.confirmation_url,
        client.cancellation_url or client.partial_cancellation_url,
        client.disposition_url,
    )
    hears = tuple(name for name, url in zip(_TYPES, wanted, strict=True) if url)
    return WorkQueue("webhook", client.name, hears=hears, sources=client.sources)


class DeliverWebhooks:
    """Handler of a client's work queue.

    Args:
        records: orders and the ledger of effects.
        endpoint: posts to the client.
        client: the client's settings.
        holder: the name of this process in the ledger.
        sleep: waits between attempts to record what was sent or sent on, for tests.
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
            ``Done`` when every webhook was taken or sent on, now or before, or none was to be sent. Else a ``Split``:
            for each webhook that failed the stored webhook, and the event itself if it is to come again: rejected if
            some could not be built, parked while another delivery of it is at one.

        Raises:
            UnknownOrder: no producer has recorded the order.
            StoreUnavailable: the event could not be applied.
        """
        ignored = self._why_ignored(event)
        if ignored:
            return Done(ignored)
        order, applied = (None, None) if event.order_id is None else await self._records.apply(event)
        again: Retry | Reject | None = None
        try:
            built = await computed(partial(webhooks, event, order, applied, self._client), order)
        except IncompleteWebhooks as error:
            built = error.complete
            again = Reject(str(error), error.facts)
        parts = await self._attempts(built, event)
        # Parked, it finds out later what became of them, and what could not be built is rejected then.
        again = next((part for part in parts if isinstance(part, Reject)), again)
        again = next((part for part in parts if isinstance(part, Retry)), again)
        failed = [part for part in parts if isinstance(part, Part)]
        if again is not None:
            failed.append(Part(context.message, again))
        return (
            Split(tuple(failed))
            if failed
            else Done(_note([part for part in parts if isinstance(part, Made)]))
        )

    async def deliver_stored(self, message: Message, context: Context, /) -> Outcome:
        """Post a stored webhook once more, byte for byte.

        Raises:
            InvalidMessage: the message is no stored webhook.
            TransientError: the client, its token service or the state store did not do its part.
            PermanentError: the client refused it, and its settings say that a refusal is final.
        """
        kind = _kind(message)
        effect_key = message.headers.get(EFFECT)
        if not isinstance(effect_key, str):
            raise InvalidMessage(f"expected the effect key in the header {EFFECT}, got none")
        url = url_of(self._client, kind)
        if url is None:
            name = self._client.name
            return Reject(
                f"client {name} has no {kind}_url any more; configure it and replay, or discard the letter",
                ErrorFacts(name, "the webhook", code="no_url"),
            )
        made = await self._send(_Sending(effect_key), url, message.body, kind, carried=True)
        return Done("sent" if made is Made.NOW else "sent before")

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

    async def _attempts(
        self, built: Sequence[Webhook], event: AnyEvent
    ) -> list[Made | Part | Retry | Reject]:
        if len(built) == 1:
            # Nearly always; a task for it would cost more than the rest of this.
            return [await self._attempt(built[0], event)]
        async with asyncio.TaskGroup() as group:
            attempts = [group.create_task(self._attempt(webhook, event)) for webhook in built]
        return [attempt.result() for attempt in attempts]

    async def _attempt(self, webhook: Webhook, event: AnyEvent) -> Made | Part | Retry | Reject:
        """Send a webhook: give the stored webhook if that failed, and a retry of the event if nothing could be sent.

        That is where somebody else is at it, or the state store is away. Another content under the key rejects the event.
        """
        sending = _Sending(webhook.effect_key, webhook.key_before, webhook.content)
        try:
            return await self._send(sending, webhook.url, webhook.body, webhook.kind, carried=False)
        except OtherContent as error:
            return Reject(str(error), error.facts)
        except Busy as error:
            # No stored webhook: the other attempt may leave one, and a webhook has one ladder.
            return Retry(str(error), after=error.retry_after, counts=False, facts=error.facts)
        except (TransientError, PermanentError) as error:
            outcome = outcome_of(error)
            if isinstance(outcome, Retry) and outcome.for_store:
                # Nothing was sent, so nothing needs to travel.
                return outcome
            travels = partial(self._hand_on, sending.key)
            return Part(stored_webhook(replace(webhook, effect_key=sending.key), event), outcome, travels)

    async def _hand_on(self, effect_key: str) -> None:
        await recorded(lambda: self._records.delegate_effect(effect_key), sleep=self._sleep)

    async def _send(self, sending: _Sending, url: str, body: bytes, kind: Kind, *, carried: bool) -> Made:
        lease = self._client.timeout * CALLS_PER_ATTEMPT + RECORDING
        place = await _Place.of(self._connections)

        async def post(key: str) -> None:
            sending.key = key
            try:
                await self._endpoint.post(url, body, webhook_id=key, kind=kind)
            finally:
                # Then the connection is the next one's: the record waits for the disk and needs none.
                place.leave()

        try:
            return await call_once(
                self._records,
                sending.key,
                self._holder,
                lease,
                post,
                carried=carried,
                key_before=sending.key_before,
                content=sending.content,
                sleep=self._sleep,
            )
        finally:
            place.leave()


@dataclass(slots=True)
class _Sending:
    """Under which key a webhook is sent; once it is on its way, the one that the ledger has, which may be ``key_before``."""

    key: str
    key_before: str = ""
    content: str | None = None


class _Place:
    """A place among those who may use a connection; it can be left more than once."""

    __slots__ = ("_left", "_places")

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._left = False

    @classmethod
    async def of(cls, places: asyncio.Semaphore) -> _Place:
        """Wait for one."""
        await places.acquire()
        return cls(places)

    def leave(self) -> None:
        """Release it for the next one."""
        if not self._left:
            self._left = True
            self._places.release()


def stored_webhook(webhook: Webhook, event: AnyEvent) -> Message:
    """Return the message a webhook travels on as, after its first attempt: the exact bytes, and no address.

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
        stored=True,
    )


def _kind(message: Message) -> Kind:
    name = (message.type or "").removeprefix(STORED_PREFIX)
    try:
        return Kind(name)
    except ValueError:
        expected = ", ".join(f"{STORED_PREFIX}{kind}" for kind in Kind)
        raise InvalidMessage(f"expected one of {expected}, got another", field="type") from None


def _note(made: list[Made]) -> str:
    if not made:
        return "no webhook to send"
    note = f"{made.count(Made.NOW)} sent, {made.count(Made.BEFORE)} sent before"
    travelling = made.count(Made.DELEGATED)
    return f"{note}, {travelling} on their way as stored webhooks" if travelling else note


def _queues(settings: Settings) -> tuple[WorkQueue, ...]:
    return tuple(deliver_webhooks_queue(client) for client in settings.webhooks)


def _route(queue: WorkQueue, resources: Resources) -> Route:
    client = next(client for client in resources.settings.webhooks if client.name == queue.name)
    endpoint = resources.shared(("webhook", client.name), partial(WebhookEndpoint, client))
    destination = outages_of(resources).of("webhook", client.name)
    guarded = GuardedEndpoint(endpoint, destination)
    handler = DeliverWebhooks(resources.store, guarded, client, resources.holder)
    stored = {STORED_PREFIX: handler.deliver_stored}
    return Route("deliver_webhooks", handler, stored=stored, types=frozenset(_TYPES), calls=(destination,))


FLOW = ConsumerFlow("deliver_webhooks", _queues, _route)
