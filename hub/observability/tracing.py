"""Traces, as the rest of the hub sees them: a few kinds of spans, and the context that travels with a message.

    poll ── announce ── publish ── process ── POST      one trace from the feed to the partner
                              └─── process ── POST      a later attempt, linked to the one before it

Off until ``begin`` is called with a tracer: then nothing of OpenTelemetry is imported, and each function here is one
comparison. The tracer is ``hub.observability.otlp``. Names and attributes follow OpenTelemetry's semantic conventions for messaging,
RabbitMQ and HTTP clients. No body, no path, no header and no text of an exception becomes an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from types import TracebackType
from typing import Protocol

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

Value = str | int | float | bool


class Kind(Enum):
    """What a span is to its neighbors, in OpenTelemetry's words."""

    INTERNAL = auto()
    PRODUCER = auto()
    CONSUMER = auto()
    CLIENT = auto()


class Span(Protocol):
    """A span that has begun."""

    def note(self, name: str, value: Value | None) -> None:
        """Set an attribute; None sets none."""

    def failed(self, kind: str, text: str = "") -> None:
        """Mark it as failed: ``kind`` from a small set, ``text`` free of personal data."""

    def end(self) -> None:
        """End a span that was begun without a ``with``; one in a ``with`` ends with it."""


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, Value],
        *,
        parents: Sequence[Mapping[str, object]] | None,
        links: Sequence[str],
    ) -> AbstractContextManager[Span]:
        """Return a span that is current within its ``with``; see ``process`` for the parents."""

    def aside(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> tuple[Span, Mapping[str, str]]:
        """Begin a span without making it current; gives it with its own context."""

    def headers(self) -> dict[str, str]:
        """Return the context of the current span as W3C headers; empty without a span."""

    def ids(self) -> tuple[str, str] | None:
        """Return trace id and span id of the current span in hexadecimal."""


class _Off:
    """The span of a process that does not trace."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, name: str, value: Value | None) -> None:
        """Do nothing."""

    def failed(self, kind: str, text: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


OFF = _Off()
_tracer: Tracer | None = None


def begin(tracer: Tracer) -> None:
    """Trace from now on."""
    global _tracer
    _tracer = tracer


def end() -> None:
    """Trace no more."""
    global _tracer
    _tracer = None


def is_on() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def headers() -> dict[str, str]:
    """Return ``traceparent`` and ``tracestate`` of the current span, to travel with a message; empty when off."""
    return {} if _tracer is None else _tracer.headers()


def traceparent() -> str:
    """Return the context of the current span as one text; empty when off."""
    return headers().get(TRACEPARENT, "")


def ids() -> tuple[str, str] | None:
    """Return trace id and span id for a log line; None when there are none."""
    return None if _tracer is None else _tracer.ids()


def poll(poller: str) -> AbstractContextManager[Span]:
    """Begin the span of one poll, the root of what it brings."""
    if _tracer is None:
        return OFF
    return _tracer.span(f"poll {poller}", Kind.INTERNAL, {"hub.poller": poller}, parents=(), links=())


def announce(poller: str, carrier: Mapping[str, object]) -> AbstractContextManager[Span]:
    """Begin the span of publishing what a poll brought, below that poll's, whose context ``carrier`` holds."""
    if _tracer is None:
        return OFF
    return _tracer.span(
        f"announce {poller}", Kind.INTERNAL, {"hub.poller": poller}, parents=(carrier,), links=()
    )


def publish(
    exchange: str, routing_key: str, message_id: str | None, *, carrier: Mapping[str, object] | None = None
) -> AbstractContextManager[Span]:
    """Begin the span of a publish, below the current span, or else below the context that ``carrier`` holds."""
    if _tracer is None:
        return OFF
    destination = _joined(exchange, routing_key)
    attributes = _messaging("send", "publish", destination, routing_key, message_id)
    parents = (carrier,) if carrier and _tracer.ids() is None else None
    return _tracer.span(f"publish {destination}", Kind.PRODUCER, attributes, parents=parents, links=())


def process(
    *,
    exchange: str,
    routing_key: str,
    queue: str,
    message_id: str | None,
    attempt: int,
    carrier: Mapping[str, object],
    previous: str,
) -> AbstractContextManager[Span]:
    """Begin the span of one attempt at a message.

    Args:
        exchange: by which it first came.
        routing_key: by which it first came.
        queue: the work queue.
        message_id: its id.
        attempt: counted from 1.
        carrier: holds the context in which the message was made; an unreadable one counts as none.
        previous: the context of the attempt before this one, to which the span is linked; empty for the first.
    """
    if _tracer is None:
        return OFF
    # The conventions leave out what is empty and what would be said twice.
    destination = _joined(exchange, routing_key, "" if queue == routing_key else queue)
    attributes = _messaging("process", "process", destination, routing_key, message_id)
    attributes |= {"hub.queue": queue, "hub.attempt": attempt}
    parents = (carrier, {TRACEPARENT: previous})
    links = (previous,) if previous else ()
    return _tracer.span(f"process {destination}", Kind.CONSUMER, attributes, parents=parents, links=links)


def process_batch(consumer: str, members: Sequence[str]) -> AbstractContextManager[Span]:
    """Begin the span of one call for many messages, linked to the span of each (``traceparent`` at its arrival)."""
    if _tracer is None:
        return OFF
    attributes: dict[str, Value] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.batch.message_count": len(members),
    }
    # The first one's trace goes on; the others are linked.
    parents = tuple({TRACEPARENT: member} for member in members[:1])
    return _tracer.span(
        f"process {consumer}", Kind.CONSUMER, attributes, parents=parents, links=[m for m in members if m]
    )


def call(method: str, host: str, port: int | None, partner: str) -> tuple[Span, Mapping[str, str]]:
    """Begin the span of an HTTP call, beside the current one; gives it with the headers a partner may be sent.

    The path is left out: it holds ids, and with some partners a secret.
    """
    if _tracer is None:
        return OFF, {}
    attributes: dict[str, Value] = {"http.request.method": method, "server.address": host}
    attributes |= {"hub.partner": partner}
    if port is not None:
        attributes["server.port"] = port
    return _tracer.aside(method, Kind.CLIENT, attributes)


def _messaging(
    operation: str, name: str, destination: str, routing_key: str, message_id: str | None
) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": operation,
        "messaging.operation.name": name,
        "messaging.destination.name": destination,
    }
    if routing_key:
        attributes["messaging.rabbitmq.destination.routing_key"] = routing_key
    if message_id:
        attributes["messaging.message.id"] = message_id
    return attributes


def _joined(*parts: str) -> str:
    return ":".join(part for part in parts if part) or "amq.default"
