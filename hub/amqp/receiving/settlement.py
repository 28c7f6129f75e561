"""Settle a delivery: exactly once, in one function, after its outcome is durable.

    Done    ack
    Retry   copy to a wait rung, confirmed, then ack; after the last attempt a letter instead
    Reject  copy to the dead-letter exchange, confirmed, then ack
    Split   each part as above, told that it travels once its copy is confirmed, then ack

While the broker blocks publishers, a large body is not copied: the broker makes the letter itself, or has the message back.
A crash between confirm and ack leaves the copy and the original: a duplicate that the effect ledger knows, never a loss.
For a part that has travelled on, the redelivered original finds that in the ledger; one window remains, a crash (or a
connection that loses the confirm) between the broker's taking of a part's copy and its record, which leaves two copies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, assert_never

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.copies.signature import Signer
from hub.amqp.in_hand import IN_HAND
from hub.amqp.receiving.delivery import Delivery
from hub.errors import (
    NO_FACTS,
    BrokerUnavailable,
    ErrorFacts,
    MessageRefused,
    NotRouted,
    PublishersBlocked,
    StoreUnavailable,
)
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Part, Reject, Retry, Split
from hub.messaging.resilience.retry import GiveUp, RetryPolicy, Wait, decide, parked_again
from hub.models.frozen import value
from hub.models.input.body_limits import LARGEST_BODY
from hub.models.input.quoting import shown_id
from hub.models.settlement import SettlementState
from hub.observability import redaction, tracing
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import LETTERS, RETRIES
from hub.topology import rung_name

# Between attempts to publish a copy while the broker cannot take it: at first, and at most.
_AGAIN_SECONDS = 1.0
_AGAIN_AT_MOST_SECONDS = 5.0


# How often a copy for a rung finds publishers blocked before it gives way to others, should they wait for it.
_BLOCKED_AT_MOST = 2


class _LetterBlocked(PublishersBlocked):
    """A letter could not be published; with why it was to be one."""

    def __init__(self, why: str, facts: ErrorFacts) -> None:
        super().__init__(f"not a copy, but the broker makes the letter: {why}", facts=facts)
        self.why = why


class Sender(Protocol):
    """Publishes a message with confirm, and waits for that rather than have the same message sent again."""

    async def send(self, message: Message, *, exchange: str, routing_key: str) -> None:
        """Raise ``BrokerUnavailable`` unless the broker has confirmed, ``MessageRefused`` if it never will."""

    async def send_letter(self, letter: Message, *, queue: str) -> None:
        """Publish to the dead-letter queue of ``queue``; raise ``BrokerUnavailable`` unless it is safe."""


@value(frozen=True, slots=True)
class Settled:
    """How a delivery ended, for the log and the timeline."""

    outcome: SettlementState
    note: str = ""
    wait: timedelta | None = None
    parked: tuple[str, ...] = ()
    """The ids of the messages that wait on a rung now."""
    until: datetime | None = None
    """When it is tried again, at the earliest."""
    costs_nothing: bool = False
    """Whether it waits for somebody else, or for what is away: no attempt."""
    is_news: bool = True
    """Whether it waits for something else than before, or has spent an attempt."""
    error: ErrorFacts = NO_FACTS


class Settler:
    """Turns outcomes into what the broker is told."""

    def __init__(
        self, sender: Sender, *, policy: RetryPolicy, rungs: Sequence[timedelta], signer: Signer
    ) -> None:
        self._sender = sender
        self._signer = signer
        self._policy = policy
        self._rungs = rungs

    def not_yet(self, book: RetryState) -> Retry | None:
        """Return the outcome of a message whose time has not come, or None when it may be handled."""
        if book.not_before is None:
            return None
        wait = parked_again(book.not_before, made=book.made, rungs=self._rungs, now=datetime.now(UTC))
        return (
            None
            if wait is None
            else Retry(book.reason, after=book.not_before - datetime.now(UTC), counts=False, facts=book.error)
        )

    async def settle(
        self, delivery: Delivery, message: Message, book: RetryState, outcome: Outcome
    ) -> Settled | None:
        """Carry out the outcome and ack; None when the delivery was lost first and will come again."""
        if len(message.body) > LARGEST_BODY and isinstance(outcome, Retry | Reject):
            return await self._too_large(delivery, message, outcome)
        try:
            settled = await self._carry_out(delivery, message, book, outcome)
        except PublishersBlocked as error:
            return await self._without_copy(delivery, message, outcome, error)
        if settled is None or not delivery.ack():
            log.warning(LogEvent.SETTLE_FAILED, queue=delivery.queue, message_id=message.message_id)
            return None
        return settled

    async def _too_large(
        self, delivery: Delivery, message: Message, outcome: Retry | Reject
    ) -> Settled | None:
        """Leave with the broker what it has taken once and would refuse to take again as a copy."""
        reason = redaction.reason(outcome.reason, message.body)
        return await self._letter_of_broker(delivery, message, reason, outcome.facts)

    async def _without_copy(
        self, delivery: Delivery, message: Message, outcome: Outcome, error: PublishersBlocked
    ) -> Settled | None:
        """Settle a large body while the broker blocks publishers: it would wait for memory that it holds itself.

        What waits for a rung, or was split, goes back to its queue; parts that have travelled on are known by then.
        """
        if isinstance(error, _LetterBlocked) and not isinstance(outcome, Split):
            log.warning(
                LogEvent.LETTER_OF_BROKER,
                queue=delivery.queue,
                message_id=message.message_id and shown_id(message.message_id),
                bytes=len(message.body),
                reason=error.why,
            )
            return await self._letter_of_broker(delivery, message, error.why, error.facts)
        log.warning(
            LogEvent.HANDED_BACK,
            queue=delivery.queue,
            message_id=message.message_id and shown_id(message.message_id),
            bytes=len(message.body),
            reason="the broker blocks publishers, and others wait for the memory of this message",
        )
        await delivery.requeue()
        return None

    async def _letter_of_broker(
        self, delivery: Delivery, message: Message, reason: str, facts: ErrorFacts
    ) -> Settled | None:
        if not await delivery.dead_letter():
            log.warning(LogEvent.SETTLE_FAILED, queue=delivery.queue, message_id=message.message_id)
            return None
        LETTERS.labels(delivery.queue).inc()
        return Settled(SettlementState.DEAD, reason, error=facts)

    async def set_aside(self, delivery: Delivery, why: str) -> bool:
        """Make a letter of a delivery that a fault of ours keeps from being settled, of its bytes alone."""
        has = delivery.delivered.header.properties
        message_id = has.message_id if isinstance(has.message_id, str) else None
        message = Message(
            delivery.delivered.body,
            message_id=message_id,
            exchange=delivery.delivered.exchange or "",
            routing_key=delivery.delivered.routing_key or "",
        )
        book = RetryState(made=1, exchange=message.exchange, routing_key=message.routing_key)
        try:
            letter = await self._dead_letter(
                delivery, message, book, f"could not be settled: {why}", NO_FACTS
            )
        except PublishersBlocked:
            return await delivery.dead_letter()
        return letter is not None and delivery.ack()

    async def _carry_out(
        self, delivery: Delivery, message: Message, book: RetryState, outcome: Outcome
    ) -> Settled | None:
        match outcome:
            case Done(note):
                return Settled(SettlementState.DONE, redaction.scrubbed(note))
            case Retry():
                said = redaction.reason(outcome.reason, message.body)
                return await self._retry(delivery, message, book, replace(outcome, reason=said))
            case Reject(reason, facts):
                said = redaction.reason(reason, message.body)
                return await self._dead_letter(
                    delivery, message, replace(book, made=book.made + 1), said, facts
                )
            case Split(parts):
                return await self._each(delivery, message, book, parts)
            case _:
                assert_never(outcome)

    async def _each(
        self, delivery: Delivery, message: Message, book: RetryState, parts: Sequence[Part]
    ) -> Settled | None:
        parts_settled = []
        for part in parts:
            # A part of its own begins with a full budget: attempts of the whole were spent on something else.
            own = book if part.message is message else replace(book, made=0, total=0, type="")
            settled = await self._carry_out(delivery, _as_part(part.message, message), own, part.outcome)
            if settled is None:
                return None
            if settled.outcome is not SettlementState.DONE and part.travels is not None:
                await part.travels()
            parts_settled.append(settled)
        worst = max(
            parts_settled,
            key=lambda settled: list(SettlementState).index(settled.outcome),
            default=Settled(SettlementState.DONE),
        )
        return replace(
            worst,
            note="; ".join(settled.note for settled in parts_settled if settled.note),
            parked=tuple(parked for settled in parts_settled for parked in settled.parked),
        )

    async def _retry(
        self, delivery: Delivery, message: Message, book: RetryState, outcome: Retry
    ) -> Settled | None:
        attempt = book.made + 1
        now = datetime.now(UTC)
        decision = decide(outcome, attempt=attempt, policy=self._policy, rungs=self._rungs, now=now)
        match decision:
            case Wait(rung, made, not_before):
                noted = book.failed(outcome.reason, now, outcome.facts) if outcome.counts else book
                noted = replace(
                    noted,
                    made=made,
                    not_before=not_before,
                    reason=outcome.reason[: headers.LONGEST_REASON],
                    error=outcome.facts,
                )
                noted = replace(noted, previous=tracing.traceparent() or book.previous)
                copy = self._copy(message, noted, headers.waiting(noted, message, queue=delivery.queue))
                try:
                    parked_on = await self._parked(delivery, copy, rung)
                except MessageRefused as error:
                    return await self._dead_letter(
                        delivery, message, replace(noted, made=attempt), str(error), error.facts
                    )
                if parked_on is None:
                    return None
                if outcome.counts:
                    RETRIES.labels(delivery.queue).inc()
                return Settled(
                    SettlementState.WAITING,
                    outcome.reason,
                    parked_on,
                    (copy.message_id or "",),
                    until=not_before or now + parked_on,
                    costs_nothing=not outcome.counts,
                    is_news=outcome.counts or noted.reason != book.reason,
                    error=outcome.facts,
                )
            case GiveUp(reason):
                return await self._dead_letter(
                    delivery, message, replace(book, made=attempt), reason, outcome.facts
                )
            case _:
                assert_never(decision)

    async def _dead_letter(
        self, delivery: Delivery, message: Message, book: RetryState, reason: str, facts: ErrorFacts
    ) -> Settled | None:
        noted = replace(book.failed(reason, datetime.now(UTC), facts), not_before=None)
        noted = replace(noted, previous=tracing.traceparent() or book.previous)
        letter = self._copy(message, noted, headers.dead(noted, message, queue=delivery.queue))
        send = partial(self._sender.send_letter, letter, queue=delivery.queue)
        try:
            if not await self._sent(delivery, send, blocked_at_most=1):
                return None
        except PublishersBlocked:
            raise _LetterBlocked(reason, facts) from None
        LETTERS.labels(delivery.queue).inc()
        return Settled(SettlementState.DEAD, reason, error=facts)

    async def _parked(self, delivery: Delivery, copy: Message, wait: timedelta) -> timedelta | None:
        """Send a copy to a rung, and return which; None when the delivery was lost first.

        Where the rung is missing on the broker it goes to another one, the next longer first: nothing waits here for
        somebody to repair it.

        Raises:
            MessageRefused: the broker refuses the copy for good.
        """
        longer = [rung for rung in self._rungs if rung > wait]
        shorter = [rung for rung in self._rungs if rung < wait]
        rungs = (wait, *longer, *reversed(shorter))

        async def send_to_first() -> None:
            nonlocal wait
            missing = NotRouted()
            for rung in rungs:
                try:
                    await self._sender.send(copy, exchange=rung_name(rung), routing_key=delivery.queue)
                except NotRouted as error:
                    missing = error
                else:
                    wait = rung
                    return
            raise missing

        return wait if await self._sent(delivery, send_to_first, blocked_at_most=_BLOCKED_AT_MOST) else None

    async def _sent(
        self, delivery: Delivery, send: Callable[[], Awaitable[None]], *, blocked_at_most: int
    ) -> bool:
        """Publish until it is confirmed or the delivery is lost; a nack would only bring it back.

        A delivery that is lost comes again, and a copy that is sent after that would be one too many.

        Raises:
            MessageRefused: the broker refuses the copy for good.
            PublishersBlocked: the broker has blocked publishers so often, and the copy is large.
        """
        pause = _AGAIN_SECONDS
        blocked = 0
        while not delivery.lost:
            try:
                async with delivery.until_lost():
                    await send()
            except (BrokerUnavailable, StoreUnavailable, TimeoutError) as error:
                if isinstance(error, PublishersBlocked):
                    blocked += 1
                    if blocked >= blocked_at_most and (blocked_at_most == 1 or IN_HAND.is_full):
                        raise
                if not delivery.lost:
                    log.warning(
                        LogEvent.COPY_WAITS,
                        queue=delivery.queue,
                        again_in_seconds=pause,
                        reason=str(error) or "the connection was lost",
                    )
                    await asyncio.sleep(pause)
                    if isinstance(error, NotRouted):
                        pause = min(2 * pause, _AGAIN_AT_MOST_SECONDS)
            else:
                return True
        return False

    def _copy(self, message: Message, book: RetryState, values: dict[str, object]) -> Message:
        """Copy body and properties, and sign the copy if the message itself was signed or came first.

        An id is set where there was none, since the client would invent a new one each time.
        """
        if tracing.TRACEPARENT not in values:
            values |= tracing.headers()
        copy = replace(
            message,
            headers=values,
            message_id=message.message_id or cloudevents.derived_id(message),
            type=book.type or message.type,
        )
        return copy if message.unsigned else self._signer.signed(copy, queue=message.queue)


def _as_part(part: Message, whole: Message) -> Message:
    """Return a part of a delivery with the queue, the publisher and the trace of the whole."""
    trace = {
        name: whole.headers[name]
        for name in (tracing.TRACEPARENT, tracing.TRACESTATE)
        if name in whole.headers
    }
    app = {"app_id": whole.others["app_id"]} if "app_id" in whole.others else {}
    return replace(
        part,
        queue=whole.queue,
        user_id=whole.user_id,
        headers={**trace, **part.headers},
        others={**app, **part.others},
    )
