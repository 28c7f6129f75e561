"""From message to outcome: decode, hand over, and join errors with values. The only ``except Exception`` is here.

Who calls it: ``hub.amqp.receiving.consumer``. What it does not do: settle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple, TypeVar, assert_never

from hub.errors import (
    BrokerUnavailable,
    Busy,
    HubError,
    InvalidMessage,
    PermanentError,
    StatementRejected,
    StoreUnavailable,
    Throttled,
    TransientError,
    UnknownOrder,
)
from hub.messaging.handler import Context, Handler, MessageHandler
from hub.messaging.message import EDITED_FROM, ORDER_ID, Message
from hub.messaging.outcome import Outcome, Reject, Retry
from hub.messaging.resilience.outages import Destination
from hub.models.events import AnyEvent
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import CONSUMED, INVALID
from hub.observability.redaction import frames

T = TypeVar("T")
# How long what finds the ground away waits. If it lasts, queues are not consumed meanwhile (``hub.messaging.resilience.outages``).
_GROUND_AGAIN = timedelta(seconds=2)
Decode = Callable[[Message], AnyEvent]


@dataclass(frozen=True, slots=True)
class Route:
    """What a work queue's messages go through: events to the handler, stored messages by type prefix."""

    consumer: str
    handler: Handler[AnyEvent] | None
    stored: Mapping[str, MessageHandler] = field(default_factory=dict)
    """Handlers of the hub's own message types (``webhook.``, ``iqmetrix.``), by prefix."""
    at_once: int = 0
    """How many deliveries it can use at once, where that is more than the setting: the size of a batch."""
    types: frozenset[str] | None = None
    """The event types that its handler takes; None: those that its queue is bound to."""
    calls: tuple[Destination, ...] = ()
    """Whom it calls: while all of them are away, the queue is not consumed."""

    def stored_handler(self, message: Message) -> MessageHandler | None:
        """Return the handler of a message of the hub's own types, if it is one."""
        for prefix, handler in self.stored.items():
            if (message.type or "").startswith(prefix):
                return handler
        return None


class About(NamedTuple):
    """What a message is about: the order, and the type of its event."""

    order_id: str | None = None
    event_type: str | None = None


UNKNOWN = About()


async def dispatch(
    message: Message, context: Context, *, route: Route, decode: Decode
) -> tuple[Outcome, About]:
    """Return the outcome of one attempt, and what it was about as far as that is known.

    Args:
        message: the message as received.
        context: how it came.
        route: who handles what.
        decode: makes an event of a message; raises ``InvalidMessage``.
    """
    about = About(order_id=_text(message.headers.get(ORDER_ID))) if message.stored else UNKNOWN
    try:
        stored = route.stored_handler(message) if message.stored else None
        if stored is not None:
            return await guarded(stored(message, context), context.consumer), about
        event = await guarded(_decoded(decode, message), "decoding")
        about = About(event.order_id, event.type)
        # Only on the word of a signed copy: a publisher may write the same header.
        if EDITED_FROM in message.headers and not message.unsigned:
            event = replace(event, corrected=True)
        if context.attempt == 1:
            CONSUMED.labels(event.type, context.consumer).inc()
        if route.handler is None:
            return Reject(f"expected a message of this queue's own types, got {event.type}"), about
        return await guarded(route.handler(event, context), context.consumer), about
    except HubError as error:
        # An order that is not known yet may still come.
        if isinstance(error, InvalidMessage) and not isinstance(error, UnknownOrder):
            INVALID.labels(context.queue).inc()
        return outcome_of(error), about


async def _decoded(decode: Decode, message: Message) -> AnyEvent:
    return decode(message)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


async def guarded(work: Awaitable[T], who: str) -> T:
    """Wait for ``work``; a fault of ours in it becomes a ``TransientError``.

    It may pass once the code is mended, so the work is neither lost nor does it end its neighbors.
    """
    try:
        return await work
    except HubError:
        raise
    except Exception as error:
        log.error(LogEvent.HANDLER_CRASHED, who=who, error=type(error).__name__, at=frames(error))
        raise TransientError(f"unexpected {type(error).__name__} in {who}; see the log") from error


def outcome_of(error: HubError) -> Retry | Reject:
    """Turn an error into the outcome that its remedy stands for.

    The broker and the state store are the ground under all messages: none of them spends an attempt on it.
    """
    text, facts = str(error), error.facts
    match error:
        case StatementRejected():
            return Retry(text, facts=facts)
        case BrokerUnavailable() | StoreUnavailable():
            for_store = isinstance(error, StoreUnavailable)
            return Retry(text, after=_GROUND_AGAIN, counts=False, for_store=for_store, facts=facts)
        case Busy():
            return Retry(text, after=error.retry_after, counts=False, facts=facts)
        case Throttled():
            return Retry(text, after=error.retry_after, facts=facts)
        case TransientError():
            return Retry(text, facts=facts)
        case PermanentError():
            return Reject(text, facts)
        case HubError():
            return Retry(f"{type(error).__name__}: {text}", facts=facts)
        case _:
            assert_never(error)
