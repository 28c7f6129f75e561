"""Several replicas of the hub on one PostgreSQL and one broker, killed at random: one polls, all consume, nothing is done twice.

Where the rights are there, each replica has process ids of its own, as on a host of its own: then no other can see that it
has died, and only its silence tells.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.flows.rig import (
    HubProcess,
    Stage,
    completed_with_less,
    finished,
    on_the_work_list,
    staged,
    unexplained,
)
from tests.ports import free_port
from tests.postgres import PostgresServer

KILLS = 5
# A silence of 10 s, a look each second, and a machine that has more to do.
TAKEN_OVER_WITHIN = 16
# Given back at the end of the drain, and a look each second.
HANDED_OVER_WITHIN = 6
# Longer together than what a dead replica holds: a PO is completed after it was marked, which may wait that long.
WAITS = '["200ms", "1s", "3s", "6s", "12s"]'
OF_ITS_OWN = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")


@cache
def on_hosts_of_their_own() -> bool:
    """Whether replicas can be kept from seeing each other's processes here."""
    try:
        return subprocess.run([*OF_ITS_OWN, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Replica(HubProcess):
    """A hub process that sees no other, as far as that can be had."""

    def start(self) -> None:
        apart = OF_ITS_OWN if on_hosts_of_their_own() else ()
        with (self.folder / "hub.log").open("ab") as log:
            self.child = subprocess.Popen(
                [*apart, sys.executable, "-m", "hub", "run"],
                env=os.environ | self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        assert self.child is not None
        inner = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        os.kill(int(inner[0]) if on_hosts_of_their_own() else self.pid, number)
        return self.child.wait(timeout)

    async def polls(self) -> bool:
        """Whether all pollers run here."""
        pollers = (await self.readiness()).get("pollers", {})
        return bool(pollers) and all(standing == "polls" for standing in pollers.values())

    async def stands_by(self) -> bool:
        """Whether it is ready and another replica polls."""
        readiness = await self.readiness()
        return readiness["ready"] and all(
            standing.startswith("standing by: process") for standing in readiness["pollers"].values()
        )


@asynccontextmanager
async def replicas(stage: Stage, count: int, state_url: str) -> AsyncIterator[list[Replica]]:
    """Replicas that are not started yet; their kills are those of the stage's hub."""
    # What `finished` quotes; each replica has a log of its own.
    (stage.hub.folder / "hub.log").touch()
    made = []
    for number in range(count):
        folder = stage.hub.folder / f"replica-{number}"
        folder.mkdir()
        own = {"HUB_STATE__URL": state_url, "HUB_HTTP__PORT": str(free_port()), "HUB_RETRY__WAITS": WAITS}
        made.append(Replica(folder, stage.hub.environ | own, killed_at=stage.hub.killed_at))
    try:
        yield made
    finally:
        for replica in made:
            if replica.child is not None and replica.child.poll() is None:
                replica.child.kill()
                replica.child.wait()


async def who_polls(running: Sequence[Replica], *, within: float) -> Replica:
    """Wait until the pollers run somewhere, all in one replica, and give it."""
    found: list[Replica] = []

    async def some_polls() -> bool:
        found[:] = [replica for replica in running if await replica.polls()]
        return bool(found)

    await eventually(some_polls, within=within, every=0.1, because="one replica polls")
    (one,) = found
    return one


@pytest.mark.long
async def test_replicas_killed_at_random_finish_every_order_and_do_nothing_twice(
    broker_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    chance = random.Random(31)
    async with (
        staged(
            broker_url, tmp_path, orders=4 * KILLS, seed=31, fault_rate=0.05, with_retailops=True
        ) as stage,
        replicas(stage, 3, postgresql_url) as running,
    ):
        for replica in running:
            replica.start()
        for replica in running:
            await eventually(replica.ready, within=40, every=0.1)
        for _ in range(KILLS):
            stage.place(orders=2, purchase_orders=1)
            goal = stage.work_seen() + chance.randrange(2, 20)
            await eventually(partial(_busy, stage, goal), within=30)
            victim = chance.choice(running)
            victim.kill()
            victim.start()
        stage.place(stage.scene.orders - stage.scene.placed)

        await finished(stage, within=90)
        ended = [await asyncio.to_thread(replica.stop) for replica in running]

    assert ended == [0, 0, 0]
    assert len(stage.hub.killed_at) == KILLS
    assert unexplained(stage) == []
    assert await on_the_work_list(broker_url) == completed_with_less(stage.retailops)


def _busy(stage: Stage, goal: int) -> bool:
    return stage.work_seen() >= goal or not stage.scene.unfinished()


@pytest.mark.long
async def test_another_replica_polls_within_seconds_when_the_one_that_polls_dies_or_stops(
    broker_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    async with (
        staged(broker_url, tmp_path, orders=6, seed=32) as stage,
        replicas(stage, 3, postgresql_url) as running,
    ):
        for replica in running:
            replica.start()
        first = await who_polls(running, within=40)
        others = [replica for replica in running if replica is not first]
        for replica in others:
            await eventually(replica.stands_by, within=30, every=0.1)

        killed_at = time.monotonic()
        first.kill()
        stage.place(2)
        second = await who_polls(others, within=TAKEN_OVER_WITHIN)
        taken_over = time.monotonic() - killed_at
        (third,) = (replica for replica in others if replica is not second)
        status = await asyncio.to_thread(second.stop)
        stopped_at = time.monotonic()
        await who_polls([third], within=HANDED_OVER_WITHIN)
        handed_over = time.monotonic() - stopped_at
        stage.place(stage.scene.orders - stage.scene.placed)
        await finished(stage, within=60)
        await asyncio.to_thread(third.stop)

    print(f"taken over after {taken_over:.1f} s, handed over after {handed_over:.1f} s")
    assert taken_over < TAKEN_OVER_WITHIN
    assert handed_over < HANDED_OVER_WITHIN
    assert status == 0
    assert unexplained(stage) == []
    assert third.log.count('"standing_by"') <= 2 * 2


@pytest.mark.long
async def test_a_database_that_is_away_for_longer_than_a_presence_costs_nothing(
    broker_url: str, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Nobody takes from anybody what could not be renewed, and the calls in flight were ended before."""
    async with (
        own_postgres.database() as state_url,
        staged(broker_url, tmp_path, orders=12, seed=33, with_retailops=True) as stage,
        replicas(stage, 2, state_url) as running,
    ):
        for replica in running:
            replica.start()
        for replica in running:
            await eventually(replica.ready, within=40, every=0.1)
        stage.place(orders=4, purchase_orders=2)
        await eventually(partial(_busy, stage, stage.work_seen() + 10), within=30)

        own_postgres.stop()
        for replica in running:
            await eventually(partial(_fell_silent, replica), within=20, every=0.1)
        own_postgres.start()
        for replica in running:
            await eventually(replica.ready, within=20, every=0.1)
        stage.place(stage.scene.orders - stage.scene.placed)
        await finished(stage, within=60)
        ended = [await asyncio.to_thread(replica.stop) for replica in running]

    assert ended == [0, 0]
    assert unexplained(stage) == []


def _fell_silent(replica: Replica) -> bool:
    return "was not told in time that this process is there" in replica.log
