"""Spans go to the collector that the settings name, and to nobody else."""

import asyncio
from datetime import timedelta

import pytest

from hub.observability import otlp
from hub.observability.tracing import Kind
from tests.collector import collecting


async def test_a_proxy_of_the_surroundings_is_not_used_for_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        # Nothing listens there.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    changes: list[bool] = []

    async with collecting() as collector:
        tracer, provider = otlp.tracer(
            collector.url, sample_ratio=1, instance="test", on_change=changes.append
        )
        with tracer.span("ask", Kind.CLIENT, {}, parents=[], links=()):
            await asyncio.sleep(0)
        await otlp.flush(provider, timedelta(seconds=10))

    assert ([span.name for span in collector.spans], changes) == (["ask"], [])
