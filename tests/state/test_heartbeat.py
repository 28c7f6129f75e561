"""A process says that it is there, and lets go of its partner calls before others may take over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web

from hub.config.settings import Settings
from hub.errors import PartnerUnavailable
from hub.http.session import HttpSession
from hub.process.lifecycle import Resources
from hub.sandbox.http_server import LocalServer
from hub.state.heartbeat import Heartbeat
from hub.state.process_identity import this_process
from hub.state.protocols import PRESENCE, Store
from tests.eventually import eventually
from tests.fakes import MemoryStore

ME = this_process()


class Hanging(MemoryStore):
    """A store that, once told to, takes requests and does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False

    async def renew_presence(self, holder: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await super().renew_presence(holder)


@asynccontextmanager
async def present(
    store: Store, hung_up: list[int], told: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Heartbeat]:
    async def abort_calls() -> None:
        hung_up.append(1)

    shorter = timedelta(milliseconds=50)
    presence = Heartbeat(store, ME, abort_calls, every=shorter, hang_up_after=3 * shorter, on_renewal=told)
    task = asyncio.create_task(presence.run())
    try:
        yield presence
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_presence_is_renewed_without_a_break() -> None:
    store = MemoryStore()
    hung_up: list[int] = []

    async with present(store, hung_up):
        await eventually(lambda: ME in store._holders)
        since, until = store._holders[ME]
        await eventually(lambda: store._holders[ME][1] > until, because="it is renewed")

    assert store._holders[ME][0] == since
    assert hung_up == []


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_calls_are_ended_again_and_again_while_the_store_does_not_hear_us(fault: str) -> None:
    store = Hanging()
    hung_up: list[int] = []

    async with present(store, hung_up):
        await eventually(lambda: ME in store._holders)
        assert hung_up == []
        setattr(store, fault, True)
        await eventually(lambda: len(hung_up) >= 2)

        setattr(store, fault, False)
        until = store._holders[ME][1]
        await eventually(lambda: store._holders[ME][1] > until, because="it goes on by itself")


@pytest.mark.parametrize(
    ("fault", "said"), [("away", "locked"), ("hangs", "expected the state store to write within 0.05 s")]
)
async def test_each_renewal_tells_whether_the_store_can_be_written(fault: str, said: str) -> None:
    store = Hanging()
    told: list[str] = []

    async with present(store, [], told.append):
        await eventually(lambda: told == [""] * len(told) != [])
        setattr(store, fault, "locked")
        await eventually(lambda: told[-1].startswith(said))
        setattr(store, fault, "")
        await eventually(lambda: told[-1] == "")


async def test_a_store_that_is_late_once_is_not_told_to_be_away() -> None:
    class LateOnce(MemoryStore):
        asked = 0

        async def renew_presence(self, holder: str) -> None:
            self.asked += 1
            if self.asked == 2:
                await asyncio.Event().wait()
            await super().renew_presence(holder)

    async def abort_calls() -> None:
        raise AssertionError("expected no call to be ended")

    store, told = LateOnce(), list[str]()
    presence = Heartbeat(
        store,
        ME,
        abort_calls,
        every=timedelta(milliseconds=50),
        hang_up_after=timedelta(minutes=1),
        on_renewal=told.append,
    )
    renewing = asyncio.create_task(presence.run())
    await eventually(lambda: store.asked >= 4)
    renewing.cancel()

    assert set(told) == {""}


async def test_calls_that_do_not_end_do_not_keep_it_from_saying_that_it_is_there() -> None:
    store = Hanging()
    begun: list[int] = []

    async def never_ends() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    shorter = timedelta(milliseconds=50)
    presence = Heartbeat(store, ME, never_ends, every=shorter, hang_up_after=3 * shorter)
    task = asyncio.create_task(presence.run())
    try:
        store.hangs = True
        await eventually(lambda: len(begun) >= 2, because="it is tried again")
        store.hangs = False
        await eventually(lambda: ME in store._holders)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_end_is_told_and_a_store_that_is_away_does_not_hold_it_up() -> None:
    store = MemoryStore()
    hung_up: list[int] = []
    async with present(store, hung_up) as presence:
        await eventually(lambda: ME in store._holders)
        until = store._holders[ME][1]

        store.away = "locked"
        await presence.end()
        store.away = ""
        await presence.end()

    assert store._holders[ME][1] < until - PRESENCE / 2


async def test_hanging_up_ends_the_calls_in_flight_and_later_ones_connect_anew() -> None:
    answer, asked = asyncio.Event(), []

    async def slow(request: web.Request) -> web.Response:
        asked.append(request)
        await answer.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", slow)
    server = LocalServer(app)
    await server.start()
    resources = Resources(Settings(), MemoryStore(), ME)
    session = resources.shared("partner", lambda: HttpSession("partner", timeout=timedelta(seconds=20)))

    async def call() -> int:
        answered = await session.request("GET", server.url, headers={}, body=None, read_at_most=1)
        return answered.status

    try:
        calling = asyncio.create_task(call())
        await eventually(lambda: len(asked) == 1)
        await resources.abort_calls()
        with pytest.raises(PartnerUnavailable):
            await asyncio.wait_for(calling, 30)

        answer.set()
        assert await call() == 200
    finally:
        await resources.close()
        await server.stop()
