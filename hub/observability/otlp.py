"""Spans on their way to an OpenTelemetry collector (OTLP over HTTP). The only file that imports OpenTelemetry.

A span costs its maker one append to a queue; a thread of the SDK sends batches. A collector that is away costs spans,
and nothing else: the queue is bounded, what does not fit is dropped, and its absence is said once, not per batch.
The standard variables hold for what has no setting: ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_*``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import requests
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hub.observability.redaction import scrubbed
from hub.observability.tracing import TRACEPARENT, TRACESTATE, Kind, Span, Tracer, Value

_KINDS: Mapping[Kind, SpanKind] = {kind: SpanKind[kind.name] for kind in Kind}
_PATH = "/v1/traces"
# One export, retries included; a collector that takes longer is away.
_EXPORT_SECONDS = 5.0
# Characters of a trace context that are read: 55 of a traceparent, 512 of a tracestate.
_LONGEST = 512

OnChange = Callable[[bool], None]
"""Told when the collector stops taking spans (False) and when it takes them again (True)."""


class _Told(SpanExporter):
    """Passes spans on, and tells only when it begins or ceases to work. Called by the SDK's thread."""

    def __init__(self, inner: SpanExporter, on_change: OnChange) -> None:
        self._inner = inner
        self._on_change = on_change
        self._works = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; what is refused is lost."""
        result = self._inner.export(spans)
        works = result is SpanExportResult.SUCCESS
        if works is not self._works:
            self._works = works
            self._on_change(works)
        return result

    def shutdown(self) -> None:
        """Drop what is on its way."""
        self._inner.shutdown()


class OtelSpan:
    """A span of the SDK, with our three verbs."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, value: Value | None) -> None:
        """Set an attribute; None sets none."""
        if value is not None:
            self._span.set_attribute(name, scrubbed(value) if isinstance(value, str) else value)

    def failed(self, kind: str, text: str = "") -> None:
        """Mark it as failed."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, scrubbed(text) or None))

    def end(self) -> None:
        """End it now."""
        self._span.end()


class OtelTracer:
    """Makes spans that a provider of the SDK sends."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("dropship-hub")
        self._propagator = TraceContextTextMapPropagator()

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, Value],
        *,
        parents: Sequence[Mapping[str, object]] | None,
        links: Sequence[str],
    ) -> AbstractContextManager[Span]:
        """Return a span that is current within its ``with``.

        Its parent is the first of ``parents`` that is readable; none is: a root; not given: the current span.
        """
        context = None if parents is None else self._first(parents)
        linked = [
            Link(found)
            for link in links
            if (found := trace.get_current_span(self._read({TRACEPARENT: link})).get_span_context()).is_valid
        ]
        span = self._tracer.start_span(name, context, _KINDS[kind], attributes=dict(attributes), links=linked)
        return _current(span)

    def aside(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> tuple[Span, Mapping[str, str]]:
        """Begin a span without making it current; gives it with its own context."""
        span = self._tracer.start_span(name, kind=_KINDS[kind], attributes=dict(attributes))
        return OtelSpan(span), self._written(trace.set_span_in_context(span))

    def headers(self) -> dict[str, str]:
        """Return the context of the current span as W3C headers; empty without a span."""
        return self._written(None)

    def ids(self) -> tuple[str, str] | None:
        """Return trace id and span id of the current span in hexadecimal."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid:
            return None
        return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)

    def _written(self, context: Context | None) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context)
        return carrier

    def _first(self, carriers: Sequence[Mapping[str, object]]) -> Context:
        for carrier in carriers:
            context = self._read(carrier)
            if trace.get_current_span(context).get_span_context().is_valid:
                return context
        return Context()

    def _read(self, carrier: Mapping[str, object]) -> Context:
        """Read a context that a stranger may have written: anything but a short ASCII text counts as absent."""
        texts = {
            name: value
            for name in (TRACEPARENT, TRACESTATE)
            if isinstance(value := carrier.get(name), str) and len(value) <= _LONGEST and value.isascii()
        }
        return self._propagator.extract(texts, Context())


@contextmanager
def _current(span: trace.Span) -> Iterator[Span]:
    """Make a span current; of an exception it keeps the class alone, since texts may quote values."""
    token = otel_context.attach(trace.set_span_in_context(span))
    ours = OtelSpan(span)
    try:
        yield ours
    except BaseException as error:
        ours.failed(type(error).__name__)
        raise
    finally:
        otel_context.detach(token)
        span.end()


def tracer(
    endpoint: str, *, sample_ratio: float, instance: str, on_change: OnChange
) -> tuple[Tracer, TracerProvider]:
    """Make a tracer that sends to a collector, and the provider to ``flush`` at the end.

    Args:
        endpoint: address of the collector, without ``/v1/traces``.
        sample_ratio: share of the traces that are kept; what a publisher has decided for its trace holds.
        instance: tells this process from others.
        on_change: told when the collector goes away or comes back, from another thread.
    """
    # As with partners: neither a proxy nor a .netrc of the surroundings may redirect what is sent.
    session = requests.Session()
    session.trust_env = False
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + _PATH, timeout=_EXPORT_SECONDS, session=session)
    ours = Resource.create({"service.name": "dropship-hub", "service.instance.id": instance})
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(sample_ratio),
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before ours.
        resource=ours.merge(OTELResourceDetector().detect()),
        # Flushed within a deadline of ours, not by a wait at the end of the interpreter.
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(_Told(exporter, on_change)))
    return OtelTracer(provider), provider


async def flush(provider: TracerProvider, within: timedelta) -> bool:
    """Send what is left, for so long at most; True when all of it went. The provider takes no span afterwards."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    # A daemon, unlike the threads of the loop's executor: the end of the process does not wait for a dead collector.
    threading.Thread(target=shut_down, name="flush spans", daemon=True).start()
    try:
        async with asyncio.timeout(within.total_seconds()):
            await ended.wait()
    except TimeoutError:
        return False
    return True
