"""``hub run`` as a process, with a log reader that is stuck or gone, and with signals; no broker is needed for that."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.eventually import eventually
from tests.observability.test_log_lines import fill


class Process:
    """A hub whose broker is away: it lives, and answers probes."""

    def __init__(self, child: asyncio.subprocess.Process, port: int) -> None:
        self.child = child
        self.port = port

    async def lives(self) -> bool:
        assert self.child.returncode is None
        try:
            return (await self.get("/livez"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            return await self.child.wait()


@asynccontextmanager
async def running(folder: Path, port: int, stderr: int) -> AsyncIterator[Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    settings = {
        "HUB_BROKER__URL": "amqp://127.0.0.1:1/",
        "HUB_STATE__URL": f"sqlite+aiosqlite:///{folder}/hub.db",
        "HUB_HTTP__HOST": "127.0.0.1",
        "HUB_HTTP__PORT": str(port),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", "run", cwd=folder, env=kept | settings, stderr=stderr
    )
    try:
        process = Process(child, port)
        await eventually(process.lives, within=30, because="the hub answers")
        yield process
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_a_stuck_log_reader_stops_neither_probes_nor_the_end(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    reader, writer = os.pipe()
    fill(writer)

    async with running(tmp_path, unused_tcp_port, writer) as hub:
        status, body = await hub.get("/readyz")
        hub.child.send_signal(signal.SIGTERM)
        ended = await hub.ended()
    os.close(reader)
    os.close(writer)

    assert (status, '"ready": false' in body) == (503, True)
    assert ended == 0


async def test_a_log_reader_that_has_gone_changes_no_exit_status(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    async with running(tmp_path, unused_tcp_port, writer) as hub:

        async def counted() -> bool:
            _, metrics = await hub.get("/metrics")
            return "hub_log_lines_dropped_total 0.0" not in metrics

        await eventually(counted, because="dropped lines are counted")
        hub.child.send_signal(signal.SIGTERM)
        ended = await hub.ended()
    os.close(writer)

    assert ended == 0


async def test_a_hang_up_is_said_and_ends_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        async with running(tmp_path, unused_tcp_port, file.fileno()) as hub:
            hub.child.send_signal(signal.SIGHUP)
            await eventually(lambda: "reload_ignored" in log.read_text(), because="it is said")
            alive = await hub.lives()
            hub.child.send_signal(signal.SIGINT)
            ended = await hub.ended()

    assert (alive, ended) == (True, 130)
