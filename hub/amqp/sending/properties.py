"""Between aio_pika's messages and ours: the one place where properties are spelled twice."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aiormq import spec
from aiormq.abc import DeliveredMessage

from hub.messaging.message import Message

LONGEST_PROPERTY = 255
_FIRST_TIMESTAMP = datetime(1970, 1, 1, tzinfo=UTC)
# Bytes of a character in UTF-8.
_LONGEST_CHARACTER = 4
# Properties that the hub has no use for but passes on. Not user_id, which the broker checks against the connection: a copy
# bears it as a header. And not expiration, which would cut a wait short.
_OTHERS = ("content_encoding", "reply_to", "app_id", "priority")


def received(delivered: DeliveredMessage, queue: str, at: datetime | None = None) -> Message:
    """Return the message of a delivery received ``at``; exchange and routing key are those of this delivery."""
    return _message(
        delivered.header.properties, delivered.body, delivered.exchange, delivered.routing_key, queue, at
    )


def fetched(incoming: AbstractIncomingMessage, queue: str) -> Message:
    """Return a message that was asked for, one at a time."""
    return _message(incoming.properties, incoming.body, incoming.exchange, incoming.routing_key, queue)


def _message(
    has: spec.Basic.Properties,
    body: bytes,
    exchange: str | None,
    routing_key: str | None,
    queue: str,
    received_at: datetime | None = None,
) -> Message:
    timestamp = has.timestamp
    if timestamp is not None and timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return Message(
        body,
        has.content_type,
        has.message_type,
        has.message_id,
        _text(has.correlation_id),
        timestamp,
        has.headers or {},
        {name: value for name in _OTHERS if (value := getattr(has, name)) is not None},
        exchange or "",
        routing_key or "",
        queue,
        received_at,
        user_id=has.user_id,
    )


def to_send(message: Message) -> aio_pika.Message:
    """Return a persistent aio_pika message; no expiration, since the lower of two TTLs would win on a rung."""
    return aio_pika.Message(message.body, type=_short(message.type), **_values(message))


def properties(message: Message) -> spec.Basic.Properties:
    """Return what ``to_send`` sends beside the body, in a tenth of the time: for whoever publishes very much."""
    return spec.Basic.Properties(message_type=_short(message.type), **{"priority": 0, **_values(message)})


def _values(message: Message) -> dict[str, Any]:
    return {
        "headers": dict(message.headers),
        "content_type": _short(message.content_type),
        "message_id": _fitting(message.message_id),
        "correlation_id": _short(message.correlation_id),
        "timestamp": _representable(message.timestamp),
        "delivery_mode": aio_pika.DeliveryMode.PERSISTENT,
        **{
            name: _short(value) if isinstance(value, str) else value for name, value in message.others.items()
        },
    }


def _short(text: str | None) -> str | None:
    """Cut a text to what a property holds.

    One that was not UTF-8 came with a replacement character of three bytes for each byte that could not be read.
    """
    if text is None or len(text) * _LONGEST_CHARACTER <= LONGEST_PROPERTY:
        return text
    return text.encode("utf-8", "replace")[:LONGEST_PROPERTY].decode("utf-8", "ignore")


def signed_properties(message: Message) -> tuple[str | int | None, ...]:
    """Return the properties that decide what is done with a message, as they come back from a broker."""
    timestamp = _representable(message.timestamp)
    return (
        _short(message.type),
        _fitting(message.message_id),
        _short(message.content_type),
        None if timestamp is None else int(timestamp.timestamp()),
    )


def _fitting(message_id: str | None) -> str | None:
    """A property holds 255 bytes; a longer id, which the body has in full, is replaced by its hash."""
    if message_id is None or len(message_id.encode()) <= LONGEST_PROPERTY:
        return message_id
    return "sha256:" + hashlib.sha256(message_id.encode()).hexdigest()


def _representable(timestamp: datetime | None) -> datetime | None:
    """Return the timestamp if the property, unsigned seconds since 1970, can hold it; the body has the true time."""
    return timestamp if timestamp is not None and timestamp >= _FIRST_TIMESTAMP else None


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
