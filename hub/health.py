"""/livez, /readyz and /metrics of a process.

Live means: the event loop answers. Ready means: every check passes now (the broker itself lists our consumers, the
state store answers); the body says which does not and why. A partner that is away is a note in it and no fault: to
restart the hub would not bring it back. So is a state store that answers and cannot be written. The body also says what
each poller does here: a replica that stands by is as ready as the one that polls. Metrics are Prometheus text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Check = Callable[[], Awaitable[str | None]]
"""Gives None when all is well, else a sentence that says what is not."""

Notes = Callable[[], Mapping[str, str]]
"""Gives what is to be known beside the checks, by name; it makes nobody unready."""


def _none() -> Mapping[str, str]:
    return {}


# A check that hangs is a check that fails.
_CHECK_SECONDS = 5.0


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


def _app(checks: Mapping[str, Check], notes: Notes, pollers: Notes) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        faults = await failing(checks)
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

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def answering(
    host: str, port: int, checks: Mapping[str, Check], notes: Notes = _none, *, pollers: Notes = _none
) -> AsyncIterator[int]:
    """Answer on ``host`` and ``port`` (0: any free one) while the context lasts; gives the port.

    Args:
        host: address to listen on.
        port: port to listen on.
        checks: what has to be well.
        notes: what is to be known beside that.
        pollers: gives what each poller does in this process.

    Raises:
        OSError: the address is taken or not ours.
    """
    runner = web.AppRunner(_app(checks, notes, pollers), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
