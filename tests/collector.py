"""An OpenTelemetry collector in small: takes OTLP over HTTP and keeps the spans, or does as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Span:
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    failed: bool
    text: str


@dataclass
class Collector:
    url: str = ""
    requests: int = 0
    hangs: bool = False
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, order_id: str) -> list[Span]:
        """All spans of the traces in which the order is named."""
        traces = {span.trace for span in self.spans if span.attributes.get("hub.order_id") == order_id}
        return [span for span in self.spans if span.trace in traces]

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        if self.hangs:
            await self.released.wait()
            return web.Response(status=503)
        self.raw.append(body)
        parsed = ExportTraceServiceRequest.FromString(body)
        for resource in parsed.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [_span(span) for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", collector._take)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        collector.released.set()
        await runner.cleanup()


def _span(span: Any) -> Span:
    kinds = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
    return Span(
        name=span.name,
        kind=kinds[span.kind],
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        attributes={item.key: _value(item.value) for item in span.attributes},
        failed=span.status.code == 2,
        text=span.status.message,
    )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))
