"""What a message may be that came back as a copy of the hub without the hub's signature.

It is what a broker dead-lettered by itself with all that its publisher wrote, what somebody moved by hand, or a copy of a
release that did not sign. So it is an event of ``hub.fulfillment`` at best, which a publisher may say anyway, unless the
state store knows it: a stored request that was handed on before copies were signed, an event of ``hub.orders`` that was
recorded.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.errors import InvalidMessage
from hub.messaging import cloudevents
from hub.messaging.dispatch import Route
from hub.messaging.message import EFFECT, Message
from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS
from hub.state.protocols import InstallationStore, Signing

# How long a process of the release before may run beside one that signs.
_BESIDE = timedelta(hours=24)
_FROM_THE_BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


class Unsigned:
    """Decides what unsigned messages are.

    Args:
        store: what the installation has recorded.
        signing: since when it signs.
    """

    def __init__(self, store: InstallationStore, signing: Signing) -> None:
        self._store = store
        self._until = signing.since + _BESIDE
        self._always_signed = signing.since < _FROM_THE_BEGINNING

    async def judged(
        self, message: Message, book: RetryState, route: Route, types: Container[str]
    ) -> tuple[Message, RetryState]:
        """Return the message as what it may be handled as, and its bookkeeping; its copies are signed from then on.

        Raises:
            InvalidMessage: it may not be handled; its letter stays unsigned, and says what an operator can do.
            StoreUnavailable: the store could not be asked.
        """
        looks_stored = message.type not in EVENT_TYPES and route.stored_handler(message) is not None
        if looks_stored and await self._was_stored(message, route):
            return replace(message, stored=True, unsigned=False), book
        event = replace(message, headers=headers.without_ours(message.headers), unsigned=False)
        exchange = await self._exchange(event, types)
        if exchange is None and looks_stored:
            raise _refused("a stored request")
        # What cannot be decoded says so itself, once it is decoded again.
        exchange = exchange or FULFILLMENT
        return replace(event, exchange=exchange), replace(book, exchange=exchange)

    async def _was_stored(self, message: Message, route: Route) -> bool:
        """Whether a release that did not sign may have stored it."""
        if self._always_signed:
            return False
        if route.handler is None:
            # A producer's own queue is bound to no events: nobody outside reaches it.
            return True
        effect_key = message.headers.get(EFFECT)
        if not isinstance(effect_key, str):
            return False
        handed_on = await self._store.handed_on_at(effect_key)
        return handed_on is not None and handed_on <= self._until

    async def _exchange(self, message: Message, types: Container[str]) -> str | None:
        """Return the exchange whose event it is; None if it is no event."""
        try:
            event = cloudevents.decode(replace(message, exchange=""), types=types)
        except InvalidMessage:
            return None
        if EVENT_TYPES[event.type].exchange == FULFILLMENT:
            return FULFILLMENT
        if await self._store.has_recorded(event):
            return ORDERS
        raise _refused(f"an event of {ORDERS}")


def _refused(what: str) -> InvalidMessage:
    return InvalidMessage(
        f"expected the signature of this hub on {what}, got none or another one. Look at the letter (hub letters show);"
        " if the hub wrote it, hub letters replay --adopt signs it, else discard it",
        field=headers.SIGNATURE,
    )
