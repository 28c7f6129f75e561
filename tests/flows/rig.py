"""The hub as a process of its own beside sandbox partners that run in the test.

`staged` sets the scene; `finished` waits for what must come of it; `unexplained` names what no correct hub does.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from hub.cli.up.sandbox_scenario import (
    SANDBOX_WAITS,
    Scene,
    as_toml,
    retailops_settings,
    sandbox_scene,
    scene_settings,
)
from hub.sandbox import RetailopsSandbox
from tests.broker.rig import letters
from tests.eventually import eventually
from tests.ports import free_port

# A request may be on its way when its sender is killed, and take effect after that.
ON_ITS_WAY = timedelta(seconds=1)
# The documented window: an answer is there and is not recorded yet. It takes milliseconds, and some more on a busy machine.
NOT_YET_RECORDED = timedelta(seconds=3)


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


def environment(
    scene: Scene, folder: Path, broker_url: str, accounts: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Settings of a hub process that points at the scene, and at these vendor accounts besides."""
    file = folder / "partners.toml"
    acme, northwind = scene.receivers
    settings = scene_settings(None, folder, scene.iqmetrix, acme, northwind)
    tables = {table: settings[table] for table in ("iqmetrix", "webhooks")}
    own = [retailops_settings(scene.retailops)] if scene.retailops is not None else []
    file.write_text(as_toml({**tables, "retailops": [*own, *accounts]}))
    return {
        "HUB_CONFIG": str(file),
        "HUB_BROKER__URL": broker_url,
        "HUB_BROKER__RECONNECT_AFTER": "100ms",
        "HUB_BROKER__RECONNECT_AT_MOST": "500ms",
        "HUB_STATE__URL": f"sqlite+aiosqlite:///{folder / 'hub.db'}",
        "HUB_HTTP__HOST": "127.0.0.1",
        "HUB_HTTP__PORT": str(free_port()),
        "HUB_RETRY__WAITS": str(list(SANDBOX_WAITS)).replace("'", '"'),
        "HUB_RETRY__UNKNOWN_ORDER_WAIT": "2s",
    }


@dataclass
class Stage:
    scene: Scene
    hub: HubProcess

    @property
    def retailops(self) -> RetailopsSandbox:
        assert self.scene.retailops is not None, "staged(..., with_retailops=True)"
        return self.scene.retailops

    def place(self, orders: int, purchase_orders: int = 0) -> None:
        """Place orders at iQmetrix and purchase orders at RetailOps."""
        self.scene.iqmetrix.add_orders(orders)
        self.scene.placed += orders
        if purchase_orders:
            self.retailops.add_orders(purchase_orders)

    def work_seen(self) -> int:
        """How many requests of the hub the partners have met so far."""
        scene = self.scene
        asked = len(scene.iqmetrix.requests) + sum(len(receiver.attempts) for receiver in scene.receivers)
        return asked + (len(scene.retailops.requests) if scene.retailops is not None else 0)


@asynccontextmanager
async def staged(
    broker_url: str,
    folder: Path,
    *,
    orders: int,
    seed: int,
    fault_rate: float = 0.0,
    with_retailops: bool = False,
    accounts: Sequence[Mapping[str, Any]] = (),
) -> AsyncIterator[Stage]:
    """The scene with its warehouse at work, and a hub process that is not started yet.

    `accounts` are tables of vendor accounts whose sandboxes the test runs itself.
    """
    async with sandbox_scene(
        broker_url, folder, orders=orders, seed=seed, fault_rate=fault_rate, with_retailops=with_retailops
    ) as scene:
        hub = HubProcess(folder, environment(scene, folder, broker_url, accounts))
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
    try:
        await eventually(lambda: not stage.scene.unfinished(), within=within, every=0.1)
    except AssertionError:
        left = stage.scene.unfinished()
        raise AssertionError(f"not finished in time: {left}\n{stage.hub.log[-3000:]}") from None


def unexplained(stage: Stage) -> list[str]:
    """Breaches, statuses gone backward, and effects done twice without a lost answer or a kill of the hub in the window."""
    scene, kills = stage.scene, stage.hub.killed_at
    servers: list[Any] = [scene.iqmetrix, *scene.receivers]
    partners: list[Any] = [scene.iqmetrix]
    if scene.retailops is not None:
        servers.append(scene.retailops)
        partners.append(scene.retailops)
    found = [f"violation: {item}" for server in servers for item in server.violations]
    found += [f"backward: {item}" for partner in partners for item in partner.regressions()]
    return found + [
        f"twice without cause: {key} at {first} and {second}, kills {kills}"
        for key, moments in _effects(scene).items()
        for (first, answered), (second, _) in pairwise(sorted(moments))
        if answered
        and not any(first - ON_ITS_WAY <= kill <= min(second, first + NOT_YET_RECORDED) for kill in kills)
    ]


def _effects(scene: Scene) -> dict[tuple[object, ...], list[tuple[datetime, bool]]]:
    """When each effect was asked for at a partner, and whether the hub heard the answer."""
    effects: dict[tuple[object, ...], list[tuple[datetime, bool]]] = {}
    for applied in scene.iqmetrix.updates:
        key = ("iqmetrix", applied.order_id, applied.path, applied.digest)
        effects.setdefault(key, []).append((applied.at, applied.answered))
    for receiver in scene.receivers:
        for item in receiver.received:
            effects.setdefault((receiver.name, item.webhook, item.body), []).append((item.at, item.answered))
    if scene.retailops is not None:
        for number, effect in enumerate(scene.retailops.doubled()):
            effects["retailops", effect.operation, effect.po, number] = effect.moments
    return effects


async def on_the_work_list(broker_url: str) -> set[str]:
    """The orders whose cancellations wait for a person, taken off the list."""
    found = await letters(broker_url, "hub.retailops.cancel-purchase-order.dead")
    return {orjson.loads(letter.body)["order_id"].rpartition(":")[2] for letter in found}


def completed_with_less(retailops: RetailopsSandbox) -> set[str]:
    """The purchase orders that RetailOps heard to be complete with fewer units than it ordered."""
    return {
        po
        for po, order in retailops.orders.items()
        if retailops.is_final(po)
        and sum(parcel.unit_count for parcel in retailops.packages(po))
        < sum(line.quantity for line in order.lines or ())
    }
