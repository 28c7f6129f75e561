"""Faults on purpose: what a partner's server does on a bad day, repeatable by seed or by script.

Every simulated endpoint is wrapped by `Faults.around`. A scripted fault is used up first; otherwise one random number
per request, from a stream that belongs to the endpoint, decides. So the same requests to one endpoint meet the same faults,
whatever happens at the other endpoints meanwhile. The wrapper knows no partner: it is told how a refusal is worded.
"""

import asyncio
import hashlib
import random
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from socket import SO_LINGER, SOL_SOCKET
from typing import assert_never

from aiohttp import web

__all__ = [
    "DISRUPTIVE",
    "Fault",
    "Faults",
    "Handler",
    "Refusal",
    "answer_arrives",
    "fault_of",
    "mute",
    "refuse_in_text",
    "throttle_headers",
]


class Fault(StrEnum):
    """What goes wrong with one request."""

    unauthorized = "unauthorized"
    """401, although the token is good."""
    throttled = "throttled"
    """429 with `X-RateLimit-ResetSeconds`."""
    throttled_retry_after = "throttled_retry_after"
    """429 with `Retry-After` and no rate limit headers."""
    throttled_bare = "throttled_bare"
    """429 that names no time."""
    unavailable = "unavailable"
    """503."""
    reset_before = "reset_before"
    """The connection is reset and nothing was done."""
    reset_after = "reset_after"
    """The effect is applied, then the connection is reset without an answer."""
    slow = "slow"
    """A long wait, then the normal answer."""
    truncated = "truncated"
    """The effect is applied, and the answer ends before its Content-Length."""
    rolled_over = "rolled_over"
    """The feed's current page is rolled over right after it was read; for other endpoints nothing."""


# What a random fault may be when nothing else is said: everything that a client has to survive by trying again.
DISRUPTIVE = tuple(fault for fault in Fault if fault is not Fault.rolled_over)

# The effect is there and the client cannot know it.
_CUTTING = frozenset({Fault.reset_after, Fault.truncated})

# With these the client never sees a status line.
_MUTE = frozenset({Fault.reset_before, Fault.reset_after})

# SO_LINGER on, zero seconds: closing sends RST instead of FIN, which is what "connection reset by peer" is.
_LINGER_ZERO = struct.pack("ii", 1, 0)

_FAULT = web.RequestKey("fault", Fault)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refusal = Callable[[Fault, timedelta], web.Response]


def fault_of(request: web.Request) -> Fault | None:
    """Return the fault that was chosen for this request, None when it goes well."""
    return request.get(_FAULT)


def answer_arrives(request: web.Request) -> bool:
    """Return whether the client is still there and will see the answer; otherwise repeating the request is no fault of its."""
    transport = request.transport
    return fault_of(request) not in _CUTTING and transport is not None and not transport.is_closing()


def mute(fault: Fault | None) -> bool:
    """Return whether this fault leaves the client without a status line."""
    return fault in _MUTE


def throttle_headers(fault: Fault, wait: timedelta) -> dict[str, str]:
    """Return the headers by which this 429 names its wait; empty for the kind that names none."""
    seconds = str(max(1, round(wait.total_seconds())))
    if fault is Fault.throttled:
        return {"X-RateLimit-ResetSeconds": seconds}
    if fault is Fault.throttled_retry_after:
        return {"Retry-After": seconds}
    return {}


def refuse_in_text(fault: Fault, wait: timedelta) -> web.Response:
    """Word a refusal as plain text, as in the iQmetrix rate limiting page, 23-03-2016, and authentication FAQ, 05-05-2016."""
    if fault is Fault.unauthorized:
        return web.Response(status=401, text="Invalid token")
    if fault is Fault.unavailable:
        return web.Response(status=503, text="Service Unavailable")
    return web.Response(status=429, text="rate limit exceeded", headers=throttle_headers(fault, wait))


@dataclass(eq=False)
class Faults:
    """A source of faults for one simulated partner; `rate` is the share of requests that meet one, 0 to 1.

    A random fault never hits the same request (method, path and body) more than `limit` times running, so a client with
    five retries always gets through. Scripted faults are not limited.
    """

    seed: int = 0
    rate: float = 0.0
    kinds: tuple[Fault, ...] = DISRUPTIVE
    limit: int = 3
    slow_for: timedelta = timedelta(seconds=2)
    # How long a 429 asks the client to wait.
    retry_after: timedelta = timedelta(seconds=1)
    # No random faults here: failures of the token endpoint would add to those of the call itself and break the limit.
    exempt: frozenset[str] = frozenset({"token"})
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    injected: Counter[tuple[str, Fault]] = field(default_factory=Counter, init=False)
    _scripts: dict[str, deque[Fault | None]] = field(default_factory=dict, init=False, repr=False)
    _streams: dict[str, random.Random] = field(default_factory=dict, init=False, repr=False)
    _streaks: Counter[bytes] = field(default_factory=Counter, init=False, repr=False)

    def script(self, endpoint: str, faults: Iterable[Fault | None]) -> None:
        """Say what the next requests to this endpoint meet, one element each; None is a request that goes well."""
        self._scripts.setdefault(endpoint, deque()).extend(faults)

    def choose(self, endpoint: str, fingerprint: bytes) -> Fault | None:
        """Decide what happens to the next request to this endpoint, and count it."""
        script = self._scripts.get(endpoint)
        fault = script.popleft() if script else self._draw(endpoint, fingerprint)
        if fault is None:
            self._streaks.pop(fingerprint, None)
            return None
        self.injected[endpoint, fault] += 1
        self._streaks[fingerprint] += 1
        return fault

    def around(self, endpoint: str, handler: Handler, refuse: Refusal = refuse_in_text) -> Handler:
        """Wrap an endpoint's handler, so that its requests meet the faults chosen for `endpoint`."""

        async def faulty(request: web.Request) -> web.StreamResponse:
            fault = self.choose(endpoint, await _fingerprint(request))
            if fault is None:
                return await handler(request)
            request[_FAULT] = fault
            return await self._suffer(fault, request, handler, refuse)

        return faulty

    def _draw(self, endpoint: str, fingerprint: bytes) -> Fault | None:
        if not self.rate or endpoint in self.exempt:
            return None
        stream = self._streams.setdefault(endpoint, random.Random(f"{self.seed}:{endpoint}"))
        # Both numbers are drawn every time, so that a request held back by the limit does not shift the ones after it.
        hit, kind = stream.random() < self.rate, stream.choice(self.kinds)
        return kind if hit and self._streaks[fingerprint] < self.limit else None

    async def _suffer(
        self, fault: Fault, request: web.Request, handler: Handler, refuse: Refusal
    ) -> web.StreamResponse:
        match fault:
            case Fault.unauthorized | Fault.unavailable:
                return refuse(fault, self.retry_after)
            case Fault.throttled | Fault.throttled_retry_after | Fault.throttled_bare:
                return refuse(fault, self.retry_after)
            case Fault.reset_before:
                return _reset(request)
            case Fault.reset_after:
                await handler(request)
                return _reset(request)
            case Fault.slow:
                await self.sleep(self.slow_for.total_seconds())
                return await handler(request)
            case Fault.truncated:
                return await _truncate(request, await handler(request))
            case Fault.rolled_over:
                return await handler(request)
            case _:
                assert_never(fault)


async def _fingerprint(request: web.Request) -> bytes:
    digest = hashlib.sha256(f"{request.method} {request.path_qs}\n".encode())
    digest.update(await request.read())
    return digest.digest()


def _reset(request: web.Request) -> web.Response:
    """Cut the connection without a word; the response returned is never seen by the client."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(SOL_SOCKET, SO_LINGER, _LINGER_ZERO)
        transport.abort()
    return web.Response(status=503)


async def _truncate(request: web.Request, whole: web.StreamResponse) -> web.StreamResponse:
    """Promise the whole body, send half of it and close."""
    body = whole.body if isinstance(whole, web.Response) and isinstance(whole.body, bytes) else b""
    partial = web.StreamResponse(status=whole.status, headers=whole.headers)
    partial.content_length = len(body) or 64
    # The client may be gone already.
    with suppress(ConnectionError):
        await partial.prepare(request)
        await partial.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return partial
