import asyncio

import aiohttp

from hub.health import answering, failing


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
    monkeypatch.setattr("hub.health._CHECK_SECONDS", 0.05)

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
