"""The hub's own headers on waiting and dead messages, as one value (``RetryState``) and its spelling on the wire.

They are trusted only on messages with the hub's signature (``hub.amqp.copies.signature``); of others that come through
``hub.requeue`` the counters are read, within bounds. What brokers write (``x-death`` and the like) is stripped on every
copy and never read for a decision: versions differ in it, and a kept ``x-death`` makes old brokers drop messages as a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hub.amqp.copies.foreign_headers import bounded
from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import ACCOUNT, EDITED_FROM, EFFECT, EVENT_ID, ORDER_ID, Message
from hub.models.frozen import value
from hub.models.types import utc_text
from hub.topology import REQUEUE

PREFIX = "x-hub-"
QUEUE = "x-hub-queue"
ATTEMPT = "x-hub-attempt"
ATTEMPTS = "x-hub-attempts"
REASON = "x-hub-reason"
EXCHANGE = "x-hub-exchange"
ROUTING_KEY = "x-hub-routing-key"
FIRST_FAILED_AT = "x-hub-first-failed-at"
LAST_FAILED_AT = "x-hub-last-failed-at"
NOT_BEFORE = "x-hub-not-before"
# When the hub first received it, on waiting copies: a publisher's own times prove nothing. A replay begins anew.
RECEIVED_AT = "x-hub-received-at"
REPLAYS = "x-hub-replays"
ERROR_PARTNER = "x-hub-error-partner"
ERROR_OPERATION = "x-hub-error-operation"
ERROR_STATUS = "x-hub-error-status"
ERROR_CODE = "x-hub-error-code"
ERROR_FIELD = "x-hub-error-field"
# The start of the partner's answer: on letters only, and shown only where personal data are.
ERROR_ANSWER = "x-hub-error-answer"
SIGNATURE = "x-hub-signature"
# On what the hub itself has stored, a request or a raw entry: no event, whatever its type says.
STORED = "x-hub-stored"
# Who published the message first: the broker refuses the property of another user on a copy.
USER_ID = "x-hub-user-id"
# The trace context of the last attempt, to which the next one is linked.
PREVIOUS = "x-hub-previous-attempt"
# How many headers of the publisher a copy has lost, since they would not have fitted (``hub.amqp.copies.foreign_headers``).
DROPPED = "x-hub-dropped-headers"

# What a copy takes over from the message that it is made of; ``received`` has no such header on a message from outside.
_KEPT = frozenset({EFFECT, ORDER_ID, EVENT_ID, ACCOUNT, EDITED_FROM})
_ERROR = (ERROR_PARTNER, ERROR_OPERATION, ERROR_STATUS, ERROR_CODE, ERROR_FIELD)
SHOWN = frozenset(
    {
        QUEUE,
        ATTEMPT,
        ATTEMPTS,
        REASON,
        EXCHANGE,
        ROUTING_KEY,
        FIRST_FAILED_AT,
        LAST_FAILED_AT,
        NOT_BEFORE,
        RECEIVED_AT,
        REPLAYS,
        PREVIOUS,
        ERROR_PARTNER,
        ERROR_OPERATION,
        ERROR_STATUS,
        ERROR_CODE,
        ERROR_FIELD,
        DROPPED,
        SIGNATURE,
        STORED,
        USER_ID,
    }
)
"""Headers of the hub's own letters that hold nothing private."""
# CC and BCC would send each copy to further queues, in the hub's own name.
_ROUTING = frozenset({"CC", "BCC"})
_BROKERS = (
    "x-death",
    "x-first-death-",
    "x-last-death-",
    "x-delivery-count",
    "x-acquired-count",
    "x-shovelled",
    # How federation counts its hops: on a copy it would keep the copy from being federated.
    "x-received-from",
)

# Headers and routing keys travel in one frame, so a reason is cut; stack traces belong in the log.
LONGEST_REASON = 500
LONGEST_FACT = 200
LONGEST_ANSWER = 1024
# What a message without a signature may claim: more attempts end at once, a longer wait would be forgotten.
_MOST_UNSIGNED = 1000
_LONGEST_UNSIGNED_WAIT = timedelta(hours=24)


@value(frozen=True, slots=True)
class RetryState:
    """What the hub remembers of a message between attempts.

    ``made`` counts the attempts of this budget, ``total`` those of earlier budgets (before replays).
    """

    made: int = 0
    total: int = 0
    replays: int = 0
    exchange: str = ""
    routing_key: str = ""
    reason: str = ""
    first_failed_at: str = ""
    last_failed_at: str = ""
    not_before: datetime | None = None
    received_at: datetime | None = None
    previous: str = ""
    error: ErrorFacts = NO_FACTS
    dropped: int = 0
    type: str = ""
    """The type of the event that it was decoded as; copies bear it, whatever the publisher wrote."""

    def failed(self, reason: str, at: datetime, error: ErrorFacts = NO_FACTS) -> RetryState:
        """Note a failure; the facts of an earlier one are dropped."""
        return replace(
            self,
            reason=reason[:LONGEST_REASON],
            error=error,
            first_failed_at=self.first_failed_at or utc_text(at),
            last_failed_at=utc_text(at),
        )


def is_own(exchange: str) -> bool:
    """Whether a delivery through this exchange carries the hub's bookkeeping."""
    return exchange in (REQUEUE, "")


def read(
    headers: Mapping[str, Any], *, exchange: str, routing_key: str, now: datetime | None = None
) -> RetryState:
    """Read the bookkeeping of a delivery of ``now``; one that came through an event exchange has none yet."""
    if not is_own(exchange):
        return RetryState(exchange=exchange, routing_key=routing_key, received_at=now)
    return RetryState(
        made=_count(headers.get(ATTEMPT)),
        total=_count(headers.get(ATTEMPTS)),
        replays=_count(headers.get(REPLAYS)),
        exchange=_text(headers.get(EXCHANGE)),
        routing_key=_text(headers.get(ROUTING_KEY)),
        reason=_text(headers.get(REASON)),
        first_failed_at=_text(headers.get(FIRST_FAILED_AT)),
        last_failed_at=_text(headers.get(LAST_FAILED_AT)),
        not_before=_moment(headers.get(NOT_BEFORE)),
        received_at=_moment(headers.get(RECEIVED_AT)) or now,
        previous=_text(headers.get(PREVIOUS)),
        error=_error(headers),
        dropped=_count(headers.get(DROPPED)),
    )


def read_unsigned(headers: Mapping[str, Any], *, now: datetime) -> RetryState:
    """Read what a message that came back without a signature may claim: counters and a wait within bounds, and its key."""
    not_before = _moment(headers.get(NOT_BEFORE))
    return RetryState(
        made=min(_count(headers.get(ATTEMPT)), _MOST_UNSIGNED),
        total=min(_count(headers.get(ATTEMPTS)), _MOST_UNSIGNED),
        replays=min(_count(headers.get(REPLAYS)), _MOST_UNSIGNED),
        routing_key=_text(headers.get(ROUTING_KEY)),
        not_before=None if not_before is None else min(not_before, now + _LONGEST_UNSIGNED_WAIT),
        received_at=now,
    )


def without_ours(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the headers without any that is named like one of the hub's."""
    if not any(name[:6].lower() == PREFIX for name in headers):
        return headers
    return {name: value for name, value in headers.items() if name[:6].lower() != PREFIX}


def user_of(headers: Mapping[str, Any]) -> str | None:
    """Return who published the message that a signed copy was made of."""
    return _text(headers.get(USER_ID)) or None


def waiting(book: RetryState, message: Message, *, queue: str) -> dict[str, Any]:
    """Return the headers of a copy that goes to a wait rung."""
    headers = _common(book, message, queue=queue) | {ATTEMPT: book.made}
    if book.total:
        headers[ATTEMPTS] = book.total
    if book.not_before is not None:
        headers[NOT_BEFORE] = utc_text(book.not_before)
    if book.received_at is not None:
        headers[RECEIVED_AT] = utc_text(book.received_at)
    return headers


def dead(book: RetryState, message: Message, *, queue: str) -> dict[str, Any]:
    """Return the headers of a letter: complete, and without ``x-hub-attempt``, so that any move back starts anew."""
    headers = _common(book, message, queue=queue) | {ATTEMPTS: book.total + book.made}
    if book.error.answer:
        headers[ERROR_ANSWER] = book.error.answer[:LONGEST_ANSWER]
    return headers


def foreign(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that are neither the hub's bookkeeping nor the broker's, and route nothing."""
    return {
        key: value
        for key, value in headers.items()
        if (key[:6].lower() != PREFIX or key in _KEPT)
        and key not in _ROUTING
        and not key.startswith(_BROKERS)
    }


def _common(book: RetryState, message: Message, *, queue: str) -> dict[str, Any]:
    kept, dropped = bounded(foreign(message.headers))
    headers = kept | {
        QUEUE: queue,
        REASON: book.reason,
        EXCHANGE: book.exchange,
        ROUTING_KEY: book.routing_key,
        FIRST_FAILED_AT: book.first_failed_at,
        LAST_FAILED_AT: book.last_failed_at,
    }
    if book.replays:
        headers[REPLAYS] = book.replays
    if book.previous:
        headers[PREVIOUS] = book.previous
    if message.stored:
        headers[STORED] = 1
    if message.user_id:
        headers[USER_ID] = message.user_id
    if book.error:
        headers |= _of_error(book.error)
    if dropped + book.dropped:
        headers[DROPPED] = dropped + book.dropped
    return headers


def _of_error(error: ErrorFacts) -> dict[str, Any]:
    texts = {
        ERROR_PARTNER: error.partner,
        ERROR_OPERATION: error.operation,
        ERROR_CODE: error.code,
        ERROR_FIELD: error.field,
    }
    headers: dict[str, Any] = {name: text[:LONGEST_FACT] for name, text in texts.items() if text}
    if error.status is not None:
        headers[ERROR_STATUS] = error.status
    return headers


def _error(headers: Mapping[str, Any]) -> ErrorFacts:
    # Messages of earlier releases have none.
    if not any(name in headers for name in _ERROR):
        return NO_FACTS
    return ErrorFacts(
        partner=_text(headers.get(ERROR_PARTNER)),
        operation=_text(headers.get(ERROR_OPERATION)),
        status=_count(headers.get(ERROR_STATUS)) or None,
        code=_text(headers.get(ERROR_CODE)),
        field=_text(headers.get(ERROR_FIELD)),
        answer=_text(headers.get(ERROR_ANSWER)),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
