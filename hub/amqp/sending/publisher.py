"""Publish with confirm, bounded in time (EIP Guaranteed Delivery). Returning means: the broker has it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelInvalidStateError, DeliveryError, PublishError
from aiormq import spec

from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.connection.refusal import (
    INTERNAL_ERROR,
    NOT_FOUND,
    code_of,
    refuse_what_cannot_travel,
    refusing_what_cannot_be_written,
)
from hub.amqp.copies import headers
from hub.amqp.copies.large_copies import BLOCKED, Blockable, LargeCopies
from hub.amqp.copies.signature import Signer
from hub.amqp.in_hand import LARGE
from hub.amqp.sending.last_resort import RefusedLetters, plain
from hub.amqp.sending.properties import properties
from hub.amqp.supervisor import Supervisor
from hub.errors import NO_FACTS, BrokerUnavailable, ErrorFacts, MessageRefused, NotRouted
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import AnyEvent
from hub.models.input.quoting import shown_id
from hub.observability import redaction, tracing
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import LETTERS, PUBLISHED
from hub.topology import DEAD_LETTER

# Bytes of bodies before a publish waits for the socket, which itself holds as much: each wait is some turns of the loop.
# While one waits, the client library takes ten more and then none.
_UNWAITED = 64 * 1024
_NACKED = (
    "a queue that it goes to is full, or has no leader at the moment; rabbitmqctl list_queues name messages policy tells the"
    " first, rabbitmq-queues quorum_status with the queue's name the second"
)


class _Connection(Blockable, Protocol):
    """A connection that the broker may block; its abstract type does not know of it."""

    @property
    def connection_tune(self) -> spec.Connection.Tune:
        """What broker and client have agreed on."""


class _Publishing(Protocol):
    """A channel with confirms; its abstract type does not know of ``wait``."""

    @property
    def connection(self) -> _Connection:
        """The connection it is on."""

    async def basic_publish(
        self,
        body: bytes,
        *,
        exchange: str,
        routing_key: str,
        properties: spec.Basic.Properties,
        mandatory: bool,
        wait: bool,
    ) -> object:
        """Publish and return once the broker has confirmed; with ``wait``, hold all others until the socket has room."""


class AmqpPublisher:
    """Publishes over the supervisor's publish connection.

    While the broker blocks publishers, since it is short of memory or disk, nothing more is put into the socket: all of
    it would arrive in the end, once for each time it was tried.

    Args:
        supervisor: has the connection.
        refused: keeps letters that the broker takes in no form; without it, they are tried again.
        timeout: how long a publish may take, with the wait for a session and for a broker that blocks publishers; None:
            no limit, for those who end it themselves and would only send the same again.
        signer: signs what is set aside; needed by whoever does that.
        large: places for large bodies, of whoever can do without them; without it they wait like all others.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        timeout: timedelta | None,
        refused: RefusedLetters | None = None,
        signer: Signer | None = None,
        large: LargeCopies | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._large = large
        self._refused_letters = refused
        self._signer = signer
        self._timeout = timeout.total_seconds() if timeout is not None else None
        self._unwaited = 0
        # Bound once: the logger of a module finds out its settings anew for each line.
        self._log = log.bind()

    async def publish(self, event: AnyEvent) -> None:
        """Publish an event on the exchange of its type.

        Raises:
            BrokerUnavailable: it is not confirmed; it may be stored all the same.
            MessageRefused: the broker refuses this very event, and would refuse it again.
        """
        exchange, routing_key = cloudevents.address(event)
        carrier = {tracing.TRACEPARENT: event.traceparent, tracing.TRACESTATE: event.tracestate}
        with tracing.publish(exchange, routing_key, shown_id(event.id), carrier=carrier) as span:
            span.note("hub.order_id", event.order_id and shown_id(event.order_id))
            # A context that the event brings is where it was made, and stays.
            if not event.traceparent and (context := tracing.headers()):
                event = replace(
                    event,
                    traceparent=context[tracing.TRACEPARENT],
                    tracestate=context.get(tracing.TRACESTATE),
                )
            message = cloudevents.encode(event)
            await self._confirmed(message, exchange, routing_key)
            self._note(event)

    def _note(self, event: AnyEvent) -> None:
        PUBLISHED.labels(event.type).inc()
        self._log.info(LogEvent.EVENT_PUBLISHED, type=event.type, event_id=event.id, order_id=event.order_id)

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        """Publish a message to the dead-letter queue of ``queue``, complete with headers."""
        book = headers.RetryState(made=1, exchange=message.exchange, routing_key=message.routing_key or queue)
        reason = redaction.reason(reason, message.body)
        noted = book.failed(reason, datetime.now(UTC), facts)
        stored = replace(message, stored=True)
        letter = replace(stored, headers=headers.dead(noted, stored, queue=queue))
        if self._signer is not None:
            letter = self._signer.signed(letter, queue=queue)
        await self.send_letter(letter, queue=queue)
        LETTERS.labels(queue).inc()
        log.warning(LogEvent.SET_ASIDE, queue=queue, reason=reason, message_id=message.message_id)

    async def send_letter(self, letter: Message, *, queue: str) -> None:
        """Publish a message to the dead-letter queue of ``queue``, whatever the broker refuses of it.

        One that is refused goes without what the publisher may have put into it; one that is refused even then is kept
        in the state store.

        Raises:
            BrokerUnavailable: it is not confirmed.
            StoreUnavailable: it is refused, and could not be kept.
        """
        refusal = MessageRefused()
        for form in (letter, self._signed_again(plain(letter), queue)):
            try:
                await self.send(form, exchange=DEAD_LETTER, routing_key=queue)
            except MessageRefused as error:
                refusal = error
                log.warning(
                    LogEvent.MESSAGE_REFUSED,
                    queue=queue,
                    message_id=letter.message_id and shown_id(letter.message_id),
                    exchange=DEAD_LETTER,
                    code=error.code,
                    reason=str(error),
                )
            else:
                return
        if self._refused_letters is None or refusal.code == INTERNAL_ERROR:
            # A broker that is broken inside would have every message kept here.
            raise BrokerUnavailable(str(refusal))
        await self._refused_letters.keep(letter, queue=queue, why=str(refusal))

    def _signed_again(self, letter: Message, queue: str) -> Message:
        if self._signer is None or headers.SIGNATURE not in letter.headers:
            return letter
        return self._signer.signed(letter, queue=queue)

    async def send(self, message: Message, *, exchange: str, routing_key: str) -> None:
        """Publish a message mandatory and persistent, and wait for the confirm.

        Raises:
            BrokerUnavailable: not connected, not confirmed in time, nacked or returned; it may be stored all the same.
            PublishersBlocked: it is large, has no place, and was not sent.
            MessageRefused: the broker refuses this very message, and would refuse it again; or it cannot be sent at all.
        """
        message_id = message.message_id and shown_id(message.message_id)
        with tracing.publish(exchange, routing_key, message_id, carrier=message.headers):
            await self._confirmed(message, exchange, routing_key)

    async def _confirmed(self, message: Message, exchange: str, routing_key: str) -> None:
        has = properties(message)
        channel: AbstractChannel | None = None
        state = "connected"

        async def send_on(channel: AbstractChannel) -> None:
            nonlocal state
            underlay = cast(_Publishing, await channel.get_underlay_channel())
            refuse_what_cannot_travel(has, message.body, underlay.connection)
            async with AsyncExitStack() as held:
                if self._large is not None and len(message.body) >= LARGE:
                    await held.enter_async_context(self._large.place(underlay.connection))
                state = BLOCKED
                await underlay.connection.ready()
                state = "connected"
                with refusing_what_cannot_be_written():
                    await underlay.basic_publish(
                        message.body,
                        exchange=exchange,
                        routing_key=routing_key,
                        properties=has,
                        mandatory=True,
                        wait=self._is_full(len(message.body)),
                    )

        try:
            with translate_connection_cancel():
                async with asyncio.timeout(self._timeout):
                    while True:
                        channel = await self._supervisor.publish_channel()
                        try:
                            await send_on(channel)
                        except ChannelInvalidStateError:
                            # It was closed before anything was sent; the next one is on its way.
                            await asyncio.sleep(0.01)
                            continue
                        except LOST as error:
                            if code_of(error) is None:
                                raise
                            what = f"a message for {_where(exchange, routing_key)}"
                            await self._supervisor.lone.publish(send_on, what)
                        return
        except TimeoutError:
            raise BrokerUnavailable(
                f"expected a confirm {self._within} for {exchange} {routing_key}, got none"
                f" ({state if self._supervisor.is_up else self._supervisor.last_error})"
            ) from None
        except MessageRefused as error:
            if error.code == NOT_FOUND:
                raise self._not_routed(exchange, routing_key, str(error)) from None
            raise
        except PublishError as error:
            # It came back for want of a queue, which is not the channel's doing.
            said = f"{_refused(exchange, routing_key)}: {describe(error)}"
            raise self._not_routed(exchange, routing_key, said) from None
        except DeliveryError:
            if channel is not None:
                self._supervisor.refused(channel)
            raise BrokerUnavailable(f"{_refused(exchange, routing_key)}: {_NACKED}") from None
        except LOST as error:
            raise BrokerUnavailable(f"lost the broker while publishing: {describe(error)}") from None

    def _not_routed(self, exchange: str, routing_key: str, said: str) -> NotRouted:
        """Report a message that no queue took: an exchange, a queue or a binding is missing."""
        log.warning(LogEvent.NOT_ROUTED, exchange=exchange, routing_key=shown_id(routing_key), reason=said)
        self._supervisor.look_at_topology()
        return NotRouted(said)

    @property
    def _within(self) -> str:
        return "in this session" if self._timeout is None else f"within {self._timeout:g} s"

    def _is_full(self, size: int) -> bool:
        """Whether so much was sent without a wait that this publish, and all after it, wait for room in the socket."""
        self._unwaited += size
        if self._unwaited < _UNWAITED:
            return False
        self._unwaited = 0
        return True


def _refused(exchange: str, routing_key: str) -> str:
    return f"the broker refused a message for {_where(exchange, routing_key)}"


def _where(exchange: str, routing_key: str) -> str:
    return f"{exchange or 'the default exchange'} {routing_key}"
