"""/livez, /readyz and /metrics of a process; the last may have an address of its own.

Live means: the event loop answers. Ready means: every check passes now (the broker itself lists our consumers, the
state store takes a write); the body says which does not and why. A partner that is away is a note in it and no fault: to
restart the hub would not bring it back. The body also says what each poller does here: a replica that stands by is as
ready as the one that polls. Metrics are Prometheus text.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Check = Callable[[], Awaitable[str | None]]
"""Returns None when all is well, else a sentence that says what is not."""

Notes = Callable[[], Mapping[str, str]]
"""Returns what is to be known beside the checks, by name; readiness does not depend on it."""


def _none() -> Mapping[str, str]:
    return {}


# A check that hangs is a check that fails.
_CHECK_SECONDS = 5.0
# From the connection to the last byte of the answer: whoever sends half a request, or reads none of the answer, is
# disconnected. Longer than all checks.
_CONNECTION_SECONDS = 10.0
# Connections at once to one address; the oldest makes room, so that a probe is answered beside a crowd of others.
_CONNECTIONS = 64


async def failing(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run all checks at once and give what fails, by name."""

    async def run(check: Check) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return await check()
        except TimeoutError:
            return f"no answer within {_CHECK_SECONDS:g} s"

    found = await asyncio.gather(*(run(check) for check in checks.values()))
    return {name: fault for name, fault in zip(checks, found, strict=True) if fault}


class _Connections:
    """Bounds the connections to one address, in number and time."""

    def __init__(self, server: Callable[[], asyncio.Protocol]) -> None:
        self._server = server
        self._open: dict[_Connection, None] = {}

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self._server(), self)

    def begun(self, connection: _Connection) -> None:
        """Count a connection; the oldest makes room for it where there are too many."""
        if len(self._open) >= _CONNECTIONS:
            next(iter(self._open)).abort()
        self._open[connection] = None

    def ended(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, for a bounded time."""

    def __init__(self, inner: asyncio.Protocol, connections: _Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Disconnect at once."""
        self._connections.ended(self)
        if self._transport is not None:
            # With a reset: else the system keeps for minutes what nobody reads.
            raw = self._transport.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Those of uvloop are no subclass.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.begun(self)
        self._timer = asyncio.get_running_loop().call_later(_CONNECTION_SECONDS, self.abort)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._connections.ended(self)
        if self._timer is not None:
            self._timer.cancel()
        self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()


@web.middleware
async def _once(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer one request a connection, so that no answer is cut off by the bound of its connection."""
    answer = await handler(request)
    answer.force_close()
    return answer


def _probes(checks: Mapping[str, Check], notes: Notes, pollers: Notes) -> list[web.RouteDef]:
    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    checking: asyncio.Task[dict[str, str]] | None = None

    async def readyz(_: web.Request) -> web.Response:
        nonlocal checking
        # A crowd of probes asks broker and store once.
        if checking is None or checking.done():
            checking = asyncio.create_task(failing(checks), name="readiness")
        faults = await asyncio.shield(checking)
        body: dict[str, Any] = {
            "ready": not faults,
            "checks": {name: faults.get(name, "ok") for name in checks},
        }
        if noted := notes():
            body["notes"] = dict(noted)
        if polling := pollers():
            body["pollers"] = dict(polling)
        return web.Response(
            status=503 if faults else 200,
            body=orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n",
            content_type="application/json",
        )

    return [web.get("/livez", livez), web.get("/readyz", readyz)]


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def answering(
    host: str,
    port: int,
    checks: Mapping[str, Check],
    notes: Notes = _none,
    *,
    pollers: Notes = _none,
    metrics: tuple[str, int] | None = None,
) -> AsyncIterator[int]:
    """Answer on ``host`` and ``port`` (0: any free one) while the context lasts; gives the port.

    Args:
        host: address to listen on.
        port: port to listen on.
        checks: what has to be well.
        notes: what is to be known beside that.
        pollers: gives what each poller does in this process.
        metrics: host and port of ``/metrics``, where it has an address of its own.

    Raises:
        OSError: the address is taken or not ours.
    """
    routes, of_metrics = _probes(checks, notes, pollers), [web.get("/metrics", _metrics)]
    async with AsyncExitStack() as stack:
        if metrics is not None:
            await stack.enter_async_context(_listening(*metrics, of_metrics))
        yield await stack.enter_async_context(
            _listening(host, port, routes if metrics is not None else [*routes, *of_metrics])
        )


@asynccontextmanager
async def _listening(host: str, port: int, routes: list[web.RouteDef]) -> AsyncIterator[int]:
    app = web.Application(middlewares=[_once])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        assert runner.server is not None
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(_Connections(runner.server), host, port)
        try:
            yield int(listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
    finally:
        await runner.cleanup()
