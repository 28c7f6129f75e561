"""The hub as a process of its own beside sandbox partners that run in the test."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from hub.cli.scene import SANDBOX_WAITS, Scene, as_toml, sandbox_scene, scene_settings
from tests.eventually import eventually

# A request may be on its way when its sender is killed, and take effect after that.
ON_ITS_WAY = timedelta(seconds=1)


@dataclass
class HubProcess:
    """`hub run` in a process that can be killed."""

    folder: Path
    environ: dict[str, str]
    names: tuple[str, ...] = ()
    child: subprocess.Popen[bytes] | None = None
    killed_at: list[datetime] = field(default_factory=list)

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(encoding="utf-8")

    def start(self) -> None:
        with (self.folder / "hub.log").open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "hub", "run", *self.names],
                env=os.environ | self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def ended(self, *, within: float) -> int:
        assert self.child is not None
        return self.child.wait(within)

    def desk(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the operator's desk with the settings of this process."""
        return subprocess.run(
            [sys.executable, "-m", "hub", *words],
            env=os.environ | self.environ,
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kill(self) -> None:
        assert self.child is not None
        self.killed_at.append(datetime.now(UTC))
        self.child.kill()
        self.child.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        return self.child.wait(timeout)

    async def readiness(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.environ['HUB_HTTP__PORT']}/readyz"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                answered: dict[str, Any] = await answer.json()
                return answered
        except aiohttp.ClientError:
            return {"ready": False}

    async def ready(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, f"the hub ended with {self.child.returncode}: {self.log[-2000:]}"
        return bool((await self.readiness())["ready"])


def environment(scene: Scene, folder: Path, broker_url: str) -> dict[str, str]:
    """Settings of a hub process that points at the scene."""
    file = folder / "partners.toml"
    acme, northwind = scene.receivers
    settings = scene_settings(None, folder, scene.iqmetrix, acme, northwind)
    file.write_text(as_toml({table: settings[table] for table in ("iqmetrix", "webhooks")}))
    return {
        "HUB_CONFIG": str(file),
        "HUB_BROKER__URL": broker_url,
        "HUB_BROKER__RECONNECT_AFTER": "100ms",
        "HUB_BROKER__RECONNECT_AT_MOST": "500ms",
        "HUB_STATE__URL": f"sqlite+aiosqlite:///{folder / 'hub.db'}",
        "HUB_HTTP__HOST": "127.0.0.1",
        "HUB_HTTP__PORT": str(free_port()),
        "HUB_RETRY__WAITS": str(list(SANDBOX_WAITS)).replace("'", '"'),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stage:
    scene: Scene
    hub: HubProcess


@asynccontextmanager
async def staged(
    broker_url: str, folder: Path, *, orders: int, seed: int, fault_rate: float = 0.0
) -> AsyncIterator[Stage]:
    """The scene with its warehouse at work, and a hub process that is not started yet."""
    async with sandbox_scene(broker_url, folder, orders=orders, seed=seed, fault_rate=fault_rate) as scene:
        hub = HubProcess(folder, environment(scene, folder, broker_url))
        beside = [asyncio.create_task(scene.warehouse.run())]
        await asyncio.wait_for(scene.warehouse.listening(), 30)
        try:
            yield Stage(scene, hub)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            if hub.child is not None and hub.child.poll() is None:
                hub.child.kill()
                hub.child.wait()


async def finished(stage: Stage, *, within: float) -> None:
    """Wait until everything has its final state; say what is missing otherwise."""
    deadline = time.monotonic() + within
    try:
        await eventually(lambda: not stage.scene.unfinished(), within=within, every=0.1)
    except AssertionError:
        left = stage.scene.unfinished()
        raise AssertionError(f"not finished in time: {left}\n{stage.hub.log[-3000:]}") from None
    assert time.monotonic() < deadline + 1


def unexplained(stage: Stage) -> list[str]:
    """Breaches, regressions, and effects done twice without a lost answer or a kill of the hub between the two."""
    scene, kills = stage.scene, stage.hub.killed_at
    servers: tuple[Any, ...] = (scene.iqmetrix, *scene.receivers)
    found = [f"violation: {item}" for server in servers for item in server.violations]
    found += [f"backward: {item}" for item in scene.iqmetrix.regressions()]
    effects: dict[tuple, list[tuple[datetime, bool]]] = {}
    for applied in scene.iqmetrix.updates:
        key = ("iqmetrix", applied.order_id, applied.path, applied.digest)
        effects.setdefault(key, []).append((applied.at, applied.answered))
    for receiver in scene.receivers:
        for item in receiver.received:
            effects.setdefault((receiver.name, item.webhook, item.body), []).append((item.at, item.answered))
    return found + [
        f"twice without cause: {key}"
        for key, times in effects.items()
        for (first, answered), (second, _) in pairwise(sorted(times))
        if answered and not any(first - ON_ITS_WAY <= kill <= second for kill in kills)
    ]
