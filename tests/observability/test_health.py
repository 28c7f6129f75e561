import asyncio
import select
import socket

import aiohttp
import pytest
import uvloop

from hub.observability.health import answering, failing
from tests.eventually import eventually


async def _fine() -> None:
    return None


async def _broken() -> str:
    return "not connected: nobody answers"


async def test_ready_is_503_with_a_sentence_while_a_check_fails() -> None:
    checks = {"state_store": _fine, "broker": _broken}

    async with answering("127.0.0.1", 0, checks) as port, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            status, body = answer.status, await answer.json()
        async with session.get(f"http://127.0.0.1:{port}/livez") as live:
            alive = live.status

    assert status == 503
    assert body == {
        "ready": False,
        "checks": {"state_store": "ok", "broker": "not connected: nobody answers"},
    }
    assert alive == 200


async def test_a_replica_that_stands_by_is_ready_and_says_who_polls() -> None:
    standing = {"iqmetrix.orders:71204": "standing by: process 4711 on web-1 polls"}

    async with (
        answering("127.0.0.1", 0, {"broker": _fine}, pollers=lambda: standing) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as answer,
    ):
        status, body = answer.status, await answer.json()

    assert (status, body["pollers"]) == (200, standing)


async def test_a_check_that_hangs_is_a_check_that_fails(monkeypatch) -> None:
    monkeypatch.setattr("hub.observability.health._CHECK_SECONDS", 0.05)

    async def hangs() -> None:
        await asyncio.Event().wait()

    assert await failing({"broker": hangs}) == {"broker": "no answer within 0.05 s"}


async def test_a_note_is_told_and_makes_nobody_unready() -> None:
    notes = {"webhook:acme": "paused: webhook:acme is away since 2026-05-14T16:02:09Z, next probe in 4 s"}

    async with (
        answering("127.0.0.1", 0, {"broker": _fine}, lambda: notes) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as answer,
    ):
        status, body = answer.status, await answer.json()

    assert status == 200
    assert body == {"ready": True, "checks": {"broker": "ok"}, "notes": notes}


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(4096):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /live",
        b"GET /livez HTTP/1.1\r\nHost: a\r\n",
        b"GET /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ],
)
async def test_a_half_sent_request_is_closed_in_time(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("hub.observability.health._CONNECTION_SECONDS", 0.1)

    async with answering("127.0.0.1", 0, {}) as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await until_closed(reader)
        writer.close()


async def test_a_client_that_reads_no_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.observability.health._CONNECTION_SECONDS", 0.2)
    loop, asked = asyncio.get_running_loop(), 0

    async def long_fault() -> str:
        nonlocal asked
        asked += 1
        return "x" * 20_000_000

    async with answering("127.0.0.1", 0, {"broker": long_fault}) as port, asyncio.timeout(10):
        with socket.socket() as reader_of_nothing:
            reader_of_nothing.setblocking(False)
            await loop.sock_connect(reader_of_nothing, ("127.0.0.1", port))
            await loop.sock_sendall(reader_of_nothing, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually(lambda: asked == 1)
            await asyncio.get_running_loop().run_in_executor(None, until_reset, reader_of_nothing.dup())


def until_reset(client: socket.socket) -> None:
    """Wait without reading until the other side has reset the connection."""
    with client:
        poll = select.poll()
        poll.register(client, select.POLLHUP | select.POLLERR)
        assert poll.poll(8000)


async def test_a_probe_is_answered_beside_a_crowd_of_half_sent_requests() -> None:
    async with answering("127.0.0.1", 0, {"broker": _fine}) as port, asyncio.timeout(20):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(80)]
        for _, writer in crowd:
            writer.write(b"GET /livez HTTP/1.1\r\n")
        # The oldest made room.
        await until_closed(crowd[0][0])
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as live:
            status = live.status
        for _, writer in crowd:
            writer.close()

    assert status == 200


async def test_a_crowd_of_probes_asks_the_checks_once() -> None:
    asked, released = 0, asyncio.Event()

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await released.wait()

    async with answering("127.0.0.1", 0, {"broker": counted}) as port, aiohttp.ClientSession() as session:
        probes = [asyncio.create_task(status_of(session, port, "/readyz")) for _ in range(20)]
        await eventually(lambda: asked == 1)
        released.set()
        statuses = await asyncio.gather(*probes)

    assert set(statuses) == {200}
    assert asked < 20


async def status_of(session: aiohttp.ClientSession, port: int, path: str) -> int:
    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status


def test_the_loop_that_the_hub_runs_on_answers_and_disconnects_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.observability.health._CONNECTION_SECONDS", 0.1)

    async def main() -> bytes:
        async with answering("127.0.0.1", 0, {}) as port, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.read()
            half, other = await asyncio.open_connection("127.0.0.1", port)
            other.write(b"GET /live")
            await until_closed(half)
            writer.close()
            other.close()
            return answer

    answer = uvloop.run(main())

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer


async def test_metrics_may_have_an_address_of_their_own(unused_tcp_port: int) -> None:
    async with (
        answering("127.0.0.1", 0, {"broker": _fine}, metrics=("127.0.0.1", unused_tcp_port)) as port,
        aiohttp.ClientSession() as session,
    ):
        found = {
            path: (await status_of(session, port, path), await status_of(session, unused_tcp_port, path))
            for path in ("/livez", "/readyz", "/metrics")
        }

    assert found == {"/livez": (200, 404), "/readyz": (200, 404), "/metrics": (404, 200)}
