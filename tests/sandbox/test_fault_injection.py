"""Faults: repeatable by seed, scripted by tests, and never so many that five retries do not suffice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from hub.sandbox.fault_injection import DISRUPTIVE, Fault, Faults
from hub.sandbox.http_server import LocalServer


class Echo:
    """An endpoint that counts how often its effect was applied."""

    def __init__(self) -> None:
        self.effects = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.effects += 1
        return web.json_response({"effects": self.effects})


@asynccontextmanager
async def running(faults: Faults, echo: Echo) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/thing", faults.around("things/post", echo))
    server = LocalServer(app)
    await server.start()
    try:
        yield f"{server.url}/thing"
    finally:
        await server.stop()


def draw(faults: Faults, endpoint: str, count: int) -> list[Fault | None]:
    return [faults.choose(endpoint, str(number).encode()) for number in range(count)]


def test_the_same_seed_gives_the_same_faults() -> None:
    one, two, other = (Faults(seed, 0.4) for seed in (5, 5, 6))

    drawn = draw(one, "feed", 200)

    assert drawn == draw(two, "feed", 200)
    assert drawn != draw(other, "feed", 200)
    assert set(drawn) == {None, *DISRUPTIVE}


def test_an_endpoint_meets_the_same_faults_whatever_happens_at_another() -> None:
    alone, busy = Faults(5, 0.4), Faults(5, 0.4)

    draw(busy, "orders/update", 77)

    assert draw(busy, "feed", 100) == draw(alone, "feed", 100)


def test_the_same_request_is_never_failed_more_than_three_times_running() -> None:
    faults = Faults(1, rate=1.0)

    chosen = [faults.choose("feed", b"same") is not None for _ in range(12)]

    assert chosen == [True, True, True, False] * 3


def test_a_request_held_back_by_the_limit_does_not_shift_the_faults_after_it() -> None:
    limited, free = Faults(3, 0.5, limit=0), Faults(3, 0.5)

    draw(limited, "feed", 10)
    draw(free, "feed", 10)
    limited.limit = 3

    assert draw(limited, "feed", 50) == draw(free, "feed", 50)


def test_a_script_is_used_up_before_chance_decides() -> None:
    faults = Faults(seed=1, rate=0.0)
    faults.script("feed", [Fault.slow, None, Fault.unavailable])

    assert draw(faults, "feed", 4) == [Fault.slow, None, Fault.unavailable, None]
    assert faults.injected == {("feed", Fault.slow): 1, ("feed", Fault.unavailable): 1}


def test_the_token_endpoint_meets_scripted_faults_only() -> None:
    faults = Faults(1, rate=1.0)
    faults.script("token", [Fault.unavailable])

    assert draw(faults, "token", 3) == [Fault.unavailable, None, None]


@pytest.mark.parametrize(
    ("fault", "status", "header"),
    [
        (Fault.unauthorized, 401, None),
        (Fault.unavailable, 503, None),
        (Fault.throttled, 429, "X-RateLimit-ResetSeconds"),
        (Fault.throttled_retry_after, 429, "Retry-After"),
        (Fault.throttled_bare, 429, None),
    ],
)
async def test_a_refusal_has_no_effect_and_names_its_wait(
    client: aiohttp.ClientSession, fault: Fault, status: int, header: str | None
) -> None:
    faults, echo = Faults(retry_after=timedelta(seconds=37)), Echo()
    faults.script("things/post", [fault])

    async with running(faults, echo) as url, client.post(url, data=b"{}") as response:
        waits = {
            name: response.headers[name]
            for name in ("X-RateLimit-ResetSeconds", "Retry-After")
            if name in response.headers
        }

    assert response.status == status
    assert waits == ({header: "37"} if header else {})
    assert echo.effects == 0


@pytest.mark.parametrize(
    ("fault", "effects"), [(Fault.reset_before, 0), (Fault.reset_after, 1), (Fault.truncated, 1)]
)
async def test_a_cut_connection_fails_the_client_with_or_without_the_effect(
    client: aiohttp.ClientSession, fault: Fault, effects: int
) -> None:
    faults, echo = Faults(), Echo()
    faults.script("things/post", [fault])

    async def post(url: str) -> None:
        async with client.post(url, data=b"{}") as response:
            await response.read()

    async with running(faults, echo) as url:
        with pytest.raises(aiohttp.ClientError):
            await post(url)

    assert echo.effects == effects


async def test_a_slow_answer_is_a_normal_answer_after_the_wait(client: aiohttp.ClientSession) -> None:
    waited, release = asyncio.Event(), asyncio.Event()
    seconds: list[float] = []

    async def wait(duration: float) -> None:
        seconds.append(duration)
        waited.set()
        await release.wait()

    faults, echo = Faults(slow_for=timedelta(seconds=9), sleep=wait), Echo()
    faults.script("things/post", [Fault.slow])

    async with running(faults, echo) as url, asyncio.TaskGroup() as tasks:
        request = tasks.create_task(client.post(url, data=b"{}").__aenter__())
        await waited.wait()
        before = echo.effects
        release.set()
        response = await request

    assert (before, echo.effects, response.status, seconds) == (0, 1, 200, [9.0])
