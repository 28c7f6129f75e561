"""Traces of a hub process: one from the feed to the webhook, none without a collector, and a collector that is away."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.collector import Span, collecting
from tests.eventually import eventually
from tests.flows.rig import HubProcess, finished, staged

SOON = {"OTEL_BSP_SCHEDULE_DELAY": "200", "NO_PROXY": "127.0.0.1"}


async def test_one_trace_leads_from_the_feed_over_a_retry_to_the_webhook(
    broker_url: str, tmp_path: Path
) -> None:
    async with collecting() as collector, staged(broker_url, tmp_path, orders=3, seed=3) as stage:
        stage.hub.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON}
        stage.hub.environ |= {"HUB_WEBHOOKS__0__TRACEPARENT": "true", "HUB_LOG__FORMAT": "json"}
        acme, northwind = stage.scene.receivers
        acme.respond(503, webhook="confirmation")
        stage.hub.start()
        stage.scene.iqmetrix.add_orders(stage.scene.orders - stage.scene.placed)
        stage.scene.placed = stage.scene.orders
        await finished(stage, within=60)
        assert await asyncio.to_thread(stage.hub.stop) == 0

        refused = next(attempt for attempt in acme.attempts if attempt.status == 503)
        again = [attempt for attempt in acme.attempts if attempt.body == refused.body]
        trace = refused.headers["traceparent"].split("-")[1]
        spans = {span.id: span for span in collector.spans if span.trace == trace}
        first, second = (spans[attempt.headers["traceparent"].split("-")[2]] for attempt in again)

        assert [first.attributes["http.response.status_code"], first.failed] == [503, True]
        assert [second.attributes["http.response.status_code"], second.failed] == [200, False]
        assert set(second.attributes) == {
            "http.request.method",
            "http.response.status_code",
            "server.address",
            "server.port",
            "hub.partner",
        }
        failed, retried = spans[first.parent], spans[second.parent]
        assert (failed.attributes["hub.attempt"], retried.attributes["hub.attempt"]) == (1, 2)
        assert retried.links == (failed.id,)
        # From the retry back to the poll: the warehouse between them carries the context on, as any service can.
        way = _upward(retried, spans)
        assert [span.kind for span in way] == ["consumer", "producer", "internal", "internal"]
        assert [span.name for span in way] == [
            "process hub.fulfillment:order.shipped:hub.webhook.acme",
            "publish hub.orders:order.created.iqmetrix",
            f"announce iqmetrix.orders:{stage.scene.iqmetrix.supplier_id}",
            f"poll iqmetrix.orders:{stage.scene.iqmetrix.supplier_id}",
        ]
        assert failed.attributes["messaging.system"] == "rabbitmq"
        assert failed.attributes["messaging.operation.type"] == "process"
        assert failed.attributes["messaging.destination.name"] == (
            "hub.fulfillment:order.shipped:hub.webhook.acme"
        )

        settled = [json.loads(line) for line in stage.hub.log.splitlines() if "delivery_settled" in line]
        assert {(line["trace_id"], line["span_id"]) for line in settled} >= {
            (trace, failed.id),
            (trace, retried.id),
        }
        # The client that was not asked for, and partners that are not ours to choose, hear nothing of it.
        assert not [attempt for attempt in northwind.attempts if "traceparent" in attempt.headers]


def _upward(span: Span, spans: dict[str, Span]) -> list[Span]:
    way = [span]
    while way[-1].parent in spans:
        way.append(spans[way[-1].parent])
    return way


async def test_without_an_endpoint_nothing_of_opentelemetry_is_imported(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=2, seed=4) as stage:
        stage.hub.environ |= {"PYTHONPROFILEIMPORTTIME": "1"}
        stage.hub.start()
        stage.scene.placed = stage.scene.orders
        stage.scene.iqmetrix.add_orders(2)
        await eventually(lambda: len(stage.scene.iqmetrix.updates) >= 2, within=60)
        assert await asyncio.to_thread(stage.hub.stop) == 0

        imported = [line for line in stage.hub.log.splitlines() if line.startswith("import time:")]

    assert [line for line in imported if "hub.observability.tracing" in line]
    assert not [line for line in imported if "opentelemetry" in line]


@pytest.mark.long
async def test_a_collector_that_hangs_slows_nothing_and_is_named_once(
    broker_url: str, tmp_path: Path
) -> None:
    async with collecting() as collector, staged(broker_url, tmp_path, orders=3, seed=5) as stage:
        collector.hangs = True
        stage.hub.environ |= {"HUB_TELEMETRY__OTLP_ENDPOINT": collector.url, **SOON}
        stage.hub.start()
        stage.scene.iqmetrix.add_orders(stage.scene.orders - stage.scene.placed)
        stage.scene.placed = stage.scene.orders
        await finished(stage, within=60)
        await eventually(lambda: _lost(stage.hub) == 1, within=20, because=stage.hub.log[-2000:])
        await eventually(lambda: collector.requests >= 2, within=20)

        begun = time.monotonic()
        assert await asyncio.to_thread(stage.hub.stop) == 0
        # 3 s for the last spans, and what a stop takes on a busy machine.
        assert time.monotonic() - begun < 10
        assert _lost(stage.hub) == 1
        assert "Traceback" not in stage.hub.log


def _lost(hub: HubProcess) -> int:
    return hub.log.count("traces_lost")
