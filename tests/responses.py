"""Answers in place of a partner: aioresponses at the client's edge, and a server for what only a socket can do.

aioresponses 0.7.9 does not know an argument that aiohttp 3.14 asks of every response. See
https://github.com/pnuckowski/aioresponses/issues/289; with a release that mends it, ``_Answer`` and ``add`` can go.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses
from yarl import URL


class _Answer(aiohttp.ClientResponse):
    """A response that counts no bytes sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"stream_writer": SimpleNamespace(output_size=0), **kwargs})


class Responses(aioresponses):
    """Answers requests in place of a partner, and records them."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def add(self, *args: Any, **kwargs: Any) -> None:
        super().add(*args, **{"response_class": _Answer, **kwargs})

    def sent(self, method: str, url: str) -> list[dict[str, Any]]:
        """What requests of this method to this address were made with, in their order."""
        return [call.kwargs for call in self.requests.get((method, URL(url, encoded=True)), [])]


@asynccontextmanager
async def breaking_off(*, status: int = 200, body: bytes = b"only this") -> AsyncIterator[str]:
    """The address of a server that closes each connection in the middle of an answer's body."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            status=status, headers={"Content-Length": str(len(body) + 100), "Retry-After": "7"}
        )
        await response.prepare(request)
        await response.write(body)
        assert request.transport is not None
        request.transport.close()
        return response

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
