"""Spans of HTTP calls, by the hooks of aiohttp's client; no hook is set while tracing is off."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import aiohttp

from hub.observability import tracing


def trace_configs(partner: str, told: Collection[str]) -> list[aiohttp.TraceConfig]:
    """Return the hooks of a session.

    Args:
        partner: how spans call the other side.
        told: the addresses that are sent ``traceparent`` and ``tracestate``; all others are not.
    """
    if not tracing.is_on():
        return []

    async def begins(_: object, call: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        url = params.url
        call.span, context = tracing.call(params.method, url.host or "?", url.port, partner)
        if str(url) in told:
            params.headers.update(context)

    async def answered(_: object, call: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
        status = params.response.status
        call.span.note("http.response.status_code", status)
        if status >= 400:
            call.span.failed(str(status))
        call.span.end()

    async def failed(_: object, call: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams) -> None:
        # The class alone: the text names addresses.
        call.span.failed(type(params.exception).__name__)
        call.span.end()

    hooks = aiohttp.TraceConfig()
    hooks.on_request_start.append(begins)
    hooks.on_request_end.append(answered)
    hooks.on_request_exception.append(failed)
    return [hooks]
