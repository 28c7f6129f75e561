"""One letter: a dead-lettered message with what is known of its death.

That comes from the hub's own headers; where the broker itself dead-lettered (delivery limit, expired, foreign), from the
newest entry of its ``x-death``. It decides nothing. Where letters lie, and how they are moved, is ``hub.amqp.dead_letters.dead_letter_queue``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from aio_pika.abc import AbstractIncomingMessage

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.sending.properties import fetched
from hub.messaging import cloudevents
from hub.messaging.message import ORDER_ID, Message
from hub.models.events import shown_type
from hub.models.types import OrderId
from hub.topology import DEAD_LETTER, REQUEUE, UNROUTABLE

DEAD_SUFFIX = ".dead"
# The words that brokers have for a death; any other is a publisher's.
_DEATHS = ("rejected", "expired", "maxlen", "delivery_limit")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead message with what is known of it.

    ``message`` has the exchange and routing key under which it first came to its work queue; ``arrived`` those of
    its way into this queue.
    """

    queue: str
    position: int
    """Its place in the queue, counted from 1."""
    message: Message
    arrived: Message
    book: RetryState
    order_id: str | None
    incoming: AbstractIncomingMessage = field(repr=False, compare=False)
    own: bool = True
    """Whether it came here by a way of the hub's own: then its ``x-hub-`` headers are no publisher's."""

    @property
    def id(self) -> str:
        """The message id, or a hash of routing key and body where it has none; other queues may hold the same id."""
        return self.message.message_id or cloudevents.derived_id(self.message)

    @property
    def reason(self) -> str:
        """Why it died."""
        return self.book.reason or "unknown"

    @property
    def work_queue(self) -> str | None:
        """The work queue that it died in; None for what was unroutable."""
        return self.queue.removesuffix(DEAD_SUFFIX) if self.queue.endswith(DEAD_SUFFIX) else None

    @property
    def attempts(self) -> int:
        """How often it was tried, over all budgets."""
        return self.book.total + self.book.made

    @property
    def type(self) -> str:
        """Its event or message type: its own property, or else what its routing key says."""
        return self.message.type or self.message.routing_key

    @property
    def died_at(self) -> datetime | None:
        """When it was tried last, or when it was sent; None where nothing tells."""
        try:
            moment = datetime.fromisoformat(self.book.last_failed_at)
        except ValueError:
            return self.message.timestamp
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def source(self) -> str | None:
        """Whose order it is about (``iqmetrix``, ``retailops``): by its order id, its raw type or its routing key."""
        if self.order_id is not None:
            return self.order_id.split(":", 1)[0]
        if self.work_queue is not None and self.type.startswith(f"{self.work_queue.split('.')[1]}."):
            return self.type.split(".", 1)[0]
        parts = self.message.routing_key.split(".")
        return parts[2] if len(parts) == 3 else None


def read(incoming: AbstractIncomingMessage, *, queue: str, position: int) -> Letter:
    """Make a letter of a message that was fetched from ``queue``."""
    arrived = fetched(incoming, queue)
    death = _death(arrived, queue)
    exchange, routing_key = _came_by(arrived, death)
    book = headers.read(arrived.headers, exchange=exchange, routing_key=routing_key)
    if death is not None:
        book = _with_death(book, death, arrived.headers)
    elif queue == UNROUTABLE:
        book = replace(
            book, reason=f"no queue is bound to {arrived.exchange} for {shown_type(arrived.routing_key)!r}"
        )
    own = headers.is_own(exchange)
    message = replace(
        arrived,
        exchange=book.exchange,
        routing_key=book.routing_key,
        # What a publisher wrote into a header of the hub's is of no use to anybody.
        headers=arrived.headers if own else headers.without_ours(arrived.headers),
        user_id=headers.user_of(arrived.headers) if own else arrived.user_id,
    )
    return Letter(queue, position, message, arrived, book, order_id_of(message), incoming, own)


def order_id_of(message: Message) -> str | None:
    """Return the order a message is about, where the hub's own header, body, CloudEvents subject or correlation id says so."""
    named = [message.headers.get(ORDER_ID), message.headers.get("ce-subject"), message.correlation_id]
    candidates = [named[0], *_ids_in_body(message.body), *named[1:]]
    for candidate in candidates:
        text = _text(candidate)
        with suppress(ValueError):
            return str(OrderId.parse(text))
    return None


def _ids_in_body(body: bytes) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(document, dict):
        return []
    content = document.get("data")
    inner = content.get("order_id") if isinstance(content, dict) else None
    return [inner, document.get("order_id"), document.get("subject")]


def _death(arrived: Message, queue: str) -> Mapping[str, Any] | None:
    """Return the broker's record of the death in the work queue, or else its newest; None where it has written none.

    A publisher may write one as well. The broker's own stands before it.
    """
    # A retry whose queue is gone was expired by the broker on its rung, which is no death.
    if arrived.exchange == REQUEUE:
        return None
    # To where no queue is bound the broker hands on what died nowhere, unless it came from a work queue.
    if queue == UNROUTABLE and arrived.exchange != DEAD_LETTER:
        return None
    found = arrived.headers.get("x-death")
    deaths = [death for death in found if isinstance(death, Mapping)] if isinstance(found, list) else []
    work_queue = queue.removesuffix(DEAD_SUFFIX) if queue != UNROUTABLE else arrived.routing_key
    there = (death for death in deaths if _text(death.get("queue")) == work_queue)
    return next(there, deaths[0] if deaths else None)


def _came_by(arrived: Message, death: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return exchange and key by which it came to its work queue: they tell whether hub headers are the hub's own."""
    if death is not None:
        keys = death.get("routing-keys")
        key = _text(keys[0]) if isinstance(keys, list) and keys else arrived.routing_key
        return _text(death.get("exchange")), key
    # The hub's own letters: nobody else may write to this exchange.
    return ("" if arrived.exchange == DEAD_LETTER else arrived.exchange), arrived.routing_key


def _with_death(book: RetryState, death: Mapping[str, Any], values: Mapping[str, Any]) -> RetryState:
    named = (_text(death.get("reason")), _text(values.get("x-first-death-reason")))
    why = next((name for name in named if name in _DEATHS), "unknown reason")
    reason = f"set aside by the broker: {why.replace('_', ' ')}"
    at = death.get("time")
    if not isinstance(at, datetime):
        return replace(book, reason=reason)
    return book.failed(reason, at if at.tzinfo else at.replace(tzinfo=UTC))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
