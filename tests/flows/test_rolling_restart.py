"""A rolling restart to the release to come, which adds to the schema: both work side by side, and nothing is done twice."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.flows.replicas import Replica, replicas
from tests.flows.rig import Stage, completed_with_less, finished, on_the_work_list, staged, unexplained
from tests.next_release import NEXT, write_next_release


@pytest.mark.long
async def test_two_releases_work_side_by_side_through_a_rolling_restart(
    broker_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    async with (
        staged(broker_url, tmp_path, orders=21, seed=34, with_retailops=True) as stage,
        replicas(stage, 2, postgresql_url) as (first, second),
    ):
        for replica in (first, second):
            replica.start()
        for replica in (first, second):
            await eventually(replica.ready, within=40, every=0.1)
        stage.place(orders=4, purchase_orders=1)
        await _works(stage)

        await _restarted_as_next(first)
        stage.place(orders=4, purchase_orders=1)
        await _works(stage)
        assert await second.ready(), await second.readiness()
        # An old process may also come back, as when the way is back.
        await asyncio.to_thread(second.stop)
        second.start()
        await eventually(second.ready, within=40, every=0.1)
        stage.place(orders=4, purchase_orders=1)
        await _works(stage)
        assert await second.ready(), await second.readiness()
        await _restarted_as_next(second)
        stage.place(stage.scene.orders - stage.scene.placed)

        await finished(stage, within=90)
        ended = [await asyncio.to_thread(replica.stop) for replica in (first, second)]

    assert ended == [0, 0]
    assert unexplained(stage) == []
    assert await on_the_work_list(broker_url) == completed_with_less(stage.retailops)


@pytest.mark.long
async def test_a_process_that_a_release_leaves_behind_is_not_ready_and_says_why(
    broker_url: str, postgresql_url: str, tmp_path: Path
) -> None:
    async with (
        staged(broker_url, tmp_path, orders=3, seed=35) as stage,
        replicas(stage, 2, postgresql_url) as (first, second),
    ):
        second.start()
        await eventually(second.ready, within=40, every=0.1)

        write_next_release(first.folder, works_from=NEXT)
        first.start()
        await eventually(first.ready, within=40, every=0.1)
        readiness = await second.readiness()

    assert not readiness["ready"]
    assert f"takes a hub of schema {NEXT} or newer" in readiness["checks"]["state_store"]


async def _restarted_as_next(replica: Replica) -> None:
    await asyncio.to_thread(replica.stop)
    write_next_release(replica.folder)
    replica.start()
    await eventually(replica.ready, within=40, every=0.1)


async def _works(stage: Stage) -> None:
    goal = stage.work_seen() + 10
    await eventually(partial(_is_at, stage, goal), within=30)


def _is_at(stage: Stage, goal: int) -> bool:
    return stage.work_seen() >= goal
