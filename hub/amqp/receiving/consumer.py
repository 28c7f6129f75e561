"""The core loop: receive, decode and dispatch, settle. One task of ours for each delivery.

A lost connection ends no task: a partner call in flight goes on, and is settled as the delivery that comes in its place;
if it ends before that, the ledger answers. What was redelivered and is not in hand may have ended another process
(``hub.amqp.receiving.custody``). A stop takes no new deliveries, waits for tasks in flight until its
deadline, and leaves the rest to the broker.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.copies.signature import Signer
from hub.amqp.copies.unsigned import Unsigned
from hub.amqp.in_hand import IN_HAND, LARGE
from hub.amqp.receiving.custody import CrashedTooOften, Custody
from hub.amqp.receiving.delivery import Delivery
from hub.amqp.receiving.settlement import Settled, Settler
from hub.amqp.sending.properties import received
from hub.errors import ErrorFacts, HubError, StoreUnavailable
from hub.messaging import cloudevents
from hub.messaging.dispatch import UNKNOWN, About, Route, dispatch, guarded, outcome_of
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Outcome, Reject, Retry, awaits_store
from hub.messaging.unknown_orders import NEVER_AWAITED, UnknownOrders
from hub.models.events import shown_type
from hub.models.input.quoting import shown_id
from hub.models.settlement import SettlementState
from hub.models.types import utc_text
from hub.observability import tracing
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import DELIVERIES, HANDLING
from hub.state.protocols import TimelineEntry

OnSettled = Callable[[TimelineEntry], None]
Came = tuple[Message, RetryState]
"""A message as it first came to its queue, and its bookkeeping."""

# A fault of ours that hits each attempt to settle a message: seconds before the first, and how often.
_HAND_BACK_SECONDS = 1.0
_MOST_HANDED_BACK = 5


class Consumer:
    """Works on the deliveries of one queue.

    Args:
        route: who handles what.
        settler: carries out what a handler returns.
        types: the event types that the queue is bound to.
        signer: knows the hub's own copies.
        unsigned: decides what comes back without a signature.
        on_settled: called with the timeline's entry of each settled delivery that is about an order.
        on_store_away: called with the reason when a delivery waits for the state store.
        custody: notes what is redelivered; none notes nothing.
    """

    def __init__(
        self,
        route: Route,
        settler: Settler,
        *,
        types: Iterable[str],
        signer: Signer,
        unsigned: Unsigned,
        on_settled: OnSettled | None = None,
        on_store_away: Callable[[str], None] = lambda _: None,
        custody: Custody | None = None,
        unknown_orders: UnknownOrders = NEVER_AWAITED,
    ) -> None:
        self._route = route
        self._types = route.types or frozenset(types)
        self._decode = partial(cloudevents.decode, types=self._types)
        self._signer = signer
        self._unsigned = unsigned
        self._settler = settler
        self._on_settled = on_settled
        self._on_store_away = on_store_away
        self._custody = custody
        self._unknown_orders = unknown_orders
        # Each delivery in hand with when it came (monotonic seconds), oldest first.
        self._tasks: dict[asyncio.Task[None], tuple[float, Delivery]] = {}
        self._draining = False
        # How often a message was handed back over a fault of ours.
        self._handed_back: dict[str, int] = {}
        self._log = log.bind(consumer=route.consumer)

    def take(self, delivery: Delivery) -> None:
        """Begin work on a delivery in a task of its own; once drained, it is left to the broker."""
        if self._draining or (delivery.delivered.redelivered and self._is_in_hand(delivery)):
            return
        task = asyncio.create_task(self._work(delivery), name=f"{delivery.queue}")
        self._tasks[task] = time.monotonic(), delivery
        task.add_done_callback(self._tasks.pop)
        if (size := len(delivery.delivered.body)) >= LARGE:
            IN_HAND.take(size)
            task.add_done_callback(lambda _: IN_HAND.drop(size))

    def _is_in_hand(self, again: Delivery) -> bool:
        """Whether a redelivered message is at work here, over a connection that is lost; it is settled over this one."""
        for _, delivery in self._tasks.values():
            if again.is_again(delivery):
                delivery.come_again(again)
                return True
        return False

    def in_flight(self) -> int:
        """Return how many deliveries are being handled."""
        return len(self._tasks)

    def oldest_seconds(self) -> float:
        """Return the age of the oldest delivery that is not settled, in seconds; 0 when there is none."""
        came = next(iter(self._tasks.values()), None)
        return 0.0 if came is None else time.monotonic() - came[0]

    async def drain(self, deadline: timedelta) -> int:
        """Wait for work in flight; what is left at the deadline is cancelled and will be redelivered.

        Returns:
            How many deliveries were left.
        """
        self._draining = True
        if not self._tasks:
            return 0
        _, late = await asyncio.wait(self._tasks, timeout=deadline.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def _work(self, delivery: Delivery) -> None:
        try:
            await guarded(self._handle(delivery), self._route.consumer)
        except HubError as error:
            await self._give_back(delivery, str(error))

    async def _give_back(self, delivery: Delivery, why: str) -> None:
        """Hand back what a fault of ours outside every net below has hit, ever more slowly, and set it aside at last."""
        key = _bare(delivery)
        times = self._handed_back[key] = self._handed_back.get(key, 0) + 1
        log.error(LogEvent.HANDED_BACK, queue=delivery.queue, times=times, reason=why)
        if times <= _MOST_HANDED_BACK:
            await asyncio.sleep(_HAND_BACK_SECONDS * times)
            await delivery.requeue()
        elif await self._settler.set_aside(delivery, why):
            del self._handed_back[key]

    async def _handle(self, delivery: Delivery) -> None:
        begun = time.monotonic()
        message, book = receive(delivery, self._signer)
        with _span(message, book) as span:
            outcome: Outcome | None = self._settler.not_yet(book)
            suspected = self._custody is not None and delivery.delivered.redelivered
            handle = self._handle_suspect if outcome is None and suspected else self._handle_one
            await handle(delivery, (message, book), outcome, span, begun)

    async def _handle_suspect(
        self, delivery: Delivery, came: Came, outcome: Outcome | None, span: tracing.Span, begun: float
    ) -> None:
        assert self._custody is not None
        try:
            async with self._custody.of(came[0]):
                await self._handle_one(delivery, came, outcome, span, begun)
            return
        except CrashedTooOften as error:
            outcome = Reject(str(error), error.facts)
        except StoreUnavailable as error:
            outcome = outcome_of(error)
        await self._handle_one(delivery, came, outcome, span, begun)
        if isinstance(outcome, Reject):
            await self._custody.settled(came[0])

    async def _handle_one(
        self, delivery: Delivery, came: Came, outcome: Outcome | None, span: tracing.Span, begun: float
    ) -> None:
        message, book = came
        about = UNKNOWN
        if outcome is None and message.unsigned:
            try:
                message, book = await guarded(
                    self._unsigned.judged(message, book, self._route, self._types), "judging"
                )
            except HubError as error:
                outcome = outcome_of(error)
        if outcome is None:
            context = Context(self._route.consumer, delivery.queue, book.made + 1, message)
            outcome, about = await dispatch(message, context, route=self._route, decode=self._decode)
            outcome = self._unknown_orders.awaited(outcome, message, about.order_id)
        if why := awaits_store(outcome):
            self._on_store_away(why)
        if about.event_type is not None and about.event_type != message.type:
            # What a publisher wrote into the property must not stand on a copy of the hub.
            book = replace(book, type=about.event_type)
        settled = await self._settler.settle(delivery, message, book, outcome)
        _trace(span, outcome, settled, about)
        if settled is not None:
            self._note(message, book, settled, about, time.monotonic() - begun)

    def _note(
        self, message: Message, book: RetryState, settled: Settled, about: About, seconds: float
    ) -> None:
        DELIVERIES.labels(message.queue, settled.outcome).inc()
        HANDLING.labels(message.queue).observe(seconds)
        self._log.info(
            LogEvent.DELIVERY_SETTLED,
            queue=message.queue,
            message_id=message.message_id,
            type=about.event_type or message.type,
            order_id=about.order_id,
            attempt=book.made + 1,
            outcome=settled.outcome.value,
            note=settled.note,
            wait_seconds=settled.wait.total_seconds() if settled.wait else None,
            parked=[shown_id(parked) for parked in settled.parked] or None,
            **_facts(settled.error),
            milliseconds=round(seconds * 1000, 1),
        )
        # What waits through an outage of hours says so once.
        if self._on_settled is not None and about.order_id is not None and settled.is_news:
            self._on_settled(_entry(about.order_id, about.event_type, message, book, settled, seconds))


def _facts(error: ErrorFacts) -> dict[str, Any]:
    """Return the facts of an error for a log line or the timeline; what is not known is left out."""
    if not error:
        return {}
    facts = {
        "error_partner": error.partner,
        "error_operation": error.operation,
        "error_status": error.status,
        "error_code": error.code,
        "error_field": error.field,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _entry(
    order_id: str,
    event_type: str | None,
    message: Message,
    book: RetryState,
    settled: Settled,
    seconds: float,
) -> TimelineEntry:
    """Return the timeline's entry of one attempt."""
    facts: dict[str, Any] = {
        "queue": message.queue,
        "type": event_type or shown_type(message.type or message.routing_key),
        "message_id": shown_id(message.message_id or cloudevents.derived_id(message)),
        "attempt": book.made + 1,
        "note": settled.note,
        "milliseconds": round(seconds * 1000),
    } | _facts(settled.error)
    if message.user_id:
        facts["user"] = message.user_id
    if app_id := message.others.get("app_id"):
        facts["app"] = app_id
    if book.replays:
        facts["replays"] = book.replays
    if settled.until is not None:
        facts["until"] = utc_text(settled.until)
    if settled.costs_nothing:
        facts["parked"] = True
    return TimelineEntry(order_id, datetime.now(UTC), settled.outcome.value, facts)


def _span(message: Message, book: RetryState) -> AbstractContextManager[tracing.Span]:
    if not tracing.is_on():
        return tracing.OFF
    return tracing.process(
        exchange=message.exchange,
        routing_key=shown_type(message.routing_key),
        queue=message.queue,
        message_id=message.message_id and shown_id(message.message_id),
        attempt=book.made + 1,
        carrier=cloudevents.trace_context(message),
        previous=book.previous,
    )


def _trace(span: tracing.Span, outcome: Outcome, settled: Settled | None, about: About) -> None:
    """Say in the span how it ended; parking costs no attempt and is no failure."""
    span.note("hub.order_id", about.order_id and shown_id(about.order_id))
    if settled is None:
        span.failed("not_settled")
        return
    span.note("hub.outcome", settled.outcome.value)
    if settled.wait is not None:
        span.note("hub.wait_seconds", settled.wait.total_seconds())
    parked = isinstance(outcome, Retry) and not outcome.counts
    if settled.outcome is not SettlementState.DONE and not parked:
        span.failed("rejected" if settled.outcome is SettlementState.DEAD else "failed", settled.note)


def _bare(delivery: Delivery) -> str:
    """Return what a delivery is known by when it comes again, whatever is wrong with the message."""
    return hashlib.sha256(delivery.delivered.body).hexdigest()


def receive(delivery: Delivery, signer: Signer) -> Came:
    """Return the message as it first came to its queue, and its bookkeeping.

    What comes by another way than the hub's own has no header of the hub; what comes by that way without the hub's
    signature is marked ``unsigned``, and its headers are still those that it came with.
    """
    now = datetime.now(UTC)
    arrived = received(delivery.delivered, delivery.queue, now)
    if not headers.is_own(arrived.exchange):
        book = RetryState(exchange=arrived.exchange, routing_key=arrived.routing_key, received_at=now)
        others = headers.without_ours(arrived.headers)
        first = arrived if others is arrived.headers else replace(arrived, headers=others)
    elif signer.has_signed(arrived, queue=delivery.queue):
        book = headers.read(arrived.headers, exchange="", routing_key="", now=now)
        first = replace(
            arrived,
            exchange=book.exchange,
            routing_key=book.routing_key,
            received_at=book.received_at,
            user_id=headers.user_of(arrived.headers),
            stored=headers.STORED in arrived.headers,
        )
    else:
        book = headers.read_unsigned(arrived.headers, now=now)
        first = replace(arrived, exchange="", routing_key=book.routing_key, user_id=None, unsigned=True)
    if first.timestamp is None:
        # Kept on copies, so that an event without a time of its own has the same one at each attempt. AMQP knows seconds.
        first = replace(first, timestamp=now.replace(microsecond=0))
    return first, book
