"""Several replicas of the hub on one PostgreSQL and one broker, killed at random: one polls, all consume, nothing is done twice.

Where the rights are there, each replica has process ids of its own, as on a host of its own: then no other can see that it
has died, and only its silence tells.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.flows.replicas import Replica, replicas
from tests.flows.rig import (
    Stage,
    completed_with_less,
    finished,
    on_the_work_list,
    staged,
    unexplained,
)
from tests.postgres import PostgresServer

KILLS = 5
# A silence of 10 s, a look each second, and a machine that has more to do.
TAKEN_OVER_WITHIN = 16
# Given back at the end of the drain, and a look each second.
HANDED_OVER_WITHIN = 6


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
