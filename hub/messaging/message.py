"""A message: bytes with properties, as it travels. Knows no broker; ``hub.amqp`` turns deliveries into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from hub.models.value import value


@value(frozen=True, slots=True)
class Message:
    """Bytes with properties, in AMQP's own words.

    ``queue`` is the work queue it was received from (empty for a message that is about to be published);
    ``exchange`` and ``routing_key`` are how it came to that queue the first time.
    """

    body: bytes
    content_type: str | None = None
    type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    """Further properties, kept for whoever gets a copy: content_encoding, reply_to, app_id, priority."""
    exchange: str = ""
    routing_key: str = ""
    queue: str = ""
    received_at: datetime | None = None
    """When the hub first received it, by the hub's own clock; None for what was not received. Waiting copies keep it."""
