"""The trace of a message on a real broker: continued, kept over retries and replays, and never in the way."""

from collections.abc import Iterator

import aio_pika
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hub.amqp.dead_letters.dead_letter_queue import open_letters, replay
from hub.messaging.outcome import Reject, Retry
from hub.observability import tracing
from hub.observability.otlp import OtelTracer
from tests.broker.rig import ORDER_ID, QUEUE, SIGNER, Handler, depth, outsider, running, send
from tests.eventually import eventually

BODY = f'{{"order_id": "{ORDER_ID}"}}'.encode()
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FOREIGN = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Tracing is on for the test; what has ended is in here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.begin(OtelTracer(provider))
    yield exporter
    tracing.end()


async def test_a_foreign_trace_goes_on_over_a_retry_that_is_linked_to_the_attempt_before(
    broker_url: str, spans: InMemorySpanExporter
) -> None:
    handler = Handler(script=[Retry("partner answered 503")])

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await _publish(channel, traceparent=FOREIGN, tracestate="vendor=1")
        await eventually(lambda: len(_attempts(spans)) == 2)

    first, second = _attempts(spans)
    assert [_trace(span) for span in (first, second)] == [TRACE, TRACE]
    assert [f"{span.parent.span_id:016x}" for span in (first, second) if span.parent] == [PARENT, PARENT]
    assert [link.context.span_id for link in second.links] == [_id(first)]
    assert first.links == ()
    assert first.context is not None
    assert first.context.trace_state.get("vendor") == "1"
    assert (first.name, first.kind.name) == (
        "process hub.fulfillment:order.accepted.iqmetrix:hub.test.try-things",
        "CONSUMER",
    )
    assert (first.status.status_code.name, first.status.description) == ("ERROR", "partner answered 503")
    assert second.status.status_code.name == "UNSET"
    assert (second.attributes or {})["hub.order_id"] == ORDER_ID


async def test_a_replayed_letter_is_linked_to_the_attempt_it_died_of(
    broker_url: str, spans: InMemorySpanExporter
) -> None:
    handler = Handler(script=[Reject("refused")])

    async with running(broker_url, handler) as rig, outsider(broker_url) as channel:
        await _publish(channel, traceparent=FOREIGN)
        await eventually(lambda: len(_attempts(spans)) == 1)
        async with (
            await aio_pika.connect(broker_url) as connection,
            open_letters(connection, QUEUE.dead) as open_pile,
        ):
            async for letter in open_pile.letters():
                await replay(letter, rig.publisher, SIGNER)
        await eventually(lambda: len(_attempts(spans)) == 2)

    died, replayed = _attempts(spans)
    assert _trace(replayed) == TRACE
    assert [link.context.span_id for link in replayed.links] == [_id(died)]


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 55, "x" * 4000, 17, bytearray(b"\xff")],
)
async def test_a_traceparent_that_makes_no_sense_begins_a_trace_of_its_own_and_stops_nothing(
    broker_url: str, spans: InMemorySpanExporter, traceparent: object
) -> None:
    handler = Handler(script=[Retry("partner answered 503")])

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await _publish(channel, traceparent=traceparent, tracestate="===,,=")
        await eventually(lambda: len(_attempts(spans)) == 2)
        assert await depth(broker_url, QUEUE.dead) == 0

    first, second = _attempts(spans)
    assert first.parent is None
    assert _trace(second) == _trace(first) != TRACE
    assert [link.context.span_id for link in second.links] == [_id(first)]


async def test_a_trace_that_stands_in_the_cloudevent_alone_is_continued(
    broker_url: str, spans: InMemorySpanExporter
) -> None:
    document = (
        b'{"specversion":"1.0","id":"1","type":"order.accepted","source":"/oms","traceparent":"%s","data":%s}'
        % (FOREIGN.encode(), BODY)
    )

    async with running(broker_url, Handler()), outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted.iqmetrix",
            document,
            content_type="application/cloudevents+json",
        )
        await eventually(lambda: len(_attempts(spans)) == 1)

    assert _trace(_attempts(spans)[0]) == TRACE


async def _publish(channel, **headers) -> None:
    await send(
        channel,
        "hub.fulfillment",
        "order.accepted.iqmetrix",
        BODY,
        content_type="application/json",
        headers=headers,
    )


def _attempts(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name.startswith("process ")]


def _trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)
