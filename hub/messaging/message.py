"""A message: bytes with properties, as it travels. Knows no broker; ``hub.amqp`` turns deliveries into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from hub.models.frozen import value

# Headers of what the hub has stored. On anything else that was received there are none of that name.
EFFECT = "x-hub-effect"
ORDER_ID = "x-hub-order-id"
EVENT_ID = "x-hub-event-id"
ACCOUNT = "x-hub-account"
# On a message that an operator has edited: the hash of the body it had before. The archive has that body.
EDITED_FROM = "x-hub-edited-from"


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
    user_id: str | None = None
    """Who published it, where that was said: the broker has checked it against the connection. Copies keep it."""
    stored: bool = False
    """Whether it is a request or a raw entry that the hub itself wrote down, and no event of anybody."""
    unsigned: bool = False
    """Whether it came back as a copy of the hub without the hub's signature; its copies are not signed either."""
