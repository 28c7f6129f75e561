"""What a consumer writes: a handler of one event, or of a batch of them (EIP Event-Driven Consumer).

A handler returns an ``Outcome`` for what is ordinary and raises ``TransientError`` or ``PermanentError`` for what is
not; ``hub.messaging.dispatch`` joins the two. It never settles a delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from hub.messaging.message import Message
from hub.messaging.outcome import Outcome
from hub.models.events import AnyEvent
from hub.models.frozen import value

E = TypeVar("E", bound=AnyEvent, contravariant=True)


@value(frozen=True, slots=True)
class Context:
    """How an event came: in which queue, for which attempt (counted from 1), and as which message."""

    consumer: str
    queue: str
    attempt: int
    message: Message


class Handler(Protocol[E]):
    """Does what has to be done when something happened."""

    async def __call__(self, event: E, context: Context, /) -> Outcome:
        """Handle one event."""


class BatchHandler(Protocol[E]):
    """Handles several events in one partner call."""

    async def __call__(self, events: Sequence[tuple[E, Context]], /) -> Sequence[Outcome]:
        """Handle the events; one outcome for each, in their order."""


class MessageHandler(Protocol):
    """Does work on a message that is no canonical event: a stored webhook, a raw feed entry."""

    async def __call__(self, message: Message, context: Context, /) -> Outcome:
        """Handle one message."""
