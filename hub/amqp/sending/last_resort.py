"""What becomes of a letter that the broker refuses: without the publisher's headers, and at last a row of the state store.

Called by the publisher, for whoever settles a delivery or sets an item aside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from hub.amqp.copies.headers import DROPPED, PREFIX, REASON
from hub.messaging.message import Message
from hub.models.input.quoting import shown_id
from hub.observability.logging import LogEvent, log
from hub.state.protocols import RefusedMessage, RefusedStore


def plain(letter: Message) -> Message:
    """Return a letter with the hub's own headers and without every property that is no more than passed on."""
    own = {
        name: value
        for name, value in letter.headers.items()
        if name.startswith(PREFIX) and isinstance(value, (str, int))
    }
    dropped = own.get(DROPPED, 0)
    lost = len(letter.headers) - len(own)
    if lost:
        own[DROPPED] = lost + (dropped if isinstance(dropped, int) else 0)
    return replace(letter, headers=own, correlation_id=None, timestamp=None, others={})


class RefusedLetters:
    """Keeps letters that the broker takes in no form, so that nothing is lost and nothing waits for them."""

    def __init__(self, store: RefusedStore) -> None:
        self._store = store

    async def keep(self, letter: Message, *, queue: str, why: str) -> None:
        """Write a letter down; the same one again changes nothing.

        Raises:
            StoreUnavailable: it is not written.
        """
        digest = hashlib.sha256(queue.encode() + b"\0" + letter.body).hexdigest()
        await self._store.keep_refused(
            RefusedMessage(
                digest,
                queue,
                str(letter.headers.get(REASON, "")),
                why,
                datetime.now(UTC),
                orjson.dumps(_properties(letter), default=str).decode(),
                letter.body,
            )
        )
        log.error(
            LogEvent.MESSAGE_KEPT,
            queue=queue,
            message_id=letter.message_id and shown_id(letter.message_id),
            sha256=digest,
            bytes=len(letter.body),
            reason=f"{why}; it is in the table refused_messages of the state store",
        )


def _properties(letter: Message) -> Mapping[str, Any]:
    return {
        "content_type": letter.content_type,
        "type": letter.type,
        "message_id": letter.message_id,
        "correlation_id": letter.correlation_id,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "headers": dict(letter.headers),
        "others": dict(letter.others),
    }
