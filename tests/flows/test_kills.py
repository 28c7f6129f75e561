"""Both sources at once, while the hub or its broker is killed: nothing lost, nothing doubled beyond the documented window."""

import random
from functools import partial
from pathlib import Path

import pytest

from hub.local_broker.node import PrivateNode
from tests.eventually import eventually
from tests.flows.rig import Stage, completed_with_less, finished, on_the_work_list, staged, unexplained
from tests.nodes import queues_settled

# Kills of every test run, and of `make test-long`.
FEW, MANY = 7, 20


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
async def test_the_hub_killed_at_random_moments_loses_nothing_and_doubles_nothing_unexplained(
    broker_url: str, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(20)

    async with staged(
        broker_url, tmp_path, orders=3 * kills, seed=5, fault_rate=0.05, with_retailops=True
    ) as stage:
        for _ in range(kills):
            stage.hub.start()
            # The kill falls into work: while the process starts, polls, publishes, delivers, or waits for a retry.
            stage.place(orders=1, purchase_orders=1)
            goal = stage.work_seen() + chance.randrange(0, 14)
            await eventually(partial(_busy, stage, goal), within=30)
            stage.hub.kill()
        stage.place(stage.scene.orders - stage.scene.placed)
        stage.hub.start()
        await finished(stage, within=120)
        stage.hub.stop()

    assert len(stage.hub.killed_at) == kills
    assert unexplained(stage) == []
    assert await on_the_work_list(broker_url) == completed_with_less(stage.retailops) != set()


def _busy(stage: Stage, goal: int) -> bool:
    return stage.work_seen() >= goal or not stage.scene.unfinished()


async def test_the_broker_killed_in_mid_flow_costs_nothing(own_node: PrivateNode, tmp_path: Path) -> None:
    async with staged(own_node.url, tmp_path, orders=24, seed=8, with_retailops=True) as stage:
        stage.hub.start()
        await eventually(lambda: len(stage.scene.warehouse.answered) >= 5, within=30)

        await queues_settled(own_node)
        await own_node.kill()
        stage.place(stage.scene.orders - stage.scene.placed, purchase_orders=6)

        async def not_ready() -> bool:
            return not (await stage.hub.readiness())["ready"]

        await eventually(not_ready)
        await own_node.start()
        await eventually(stage.hub.ready, within=20)
        await finished(stage, within=60)
        stage.hub.stop()
        assert await on_the_work_list(own_node.url) == completed_with_less(stage.retailops)

    assert unexplained(stage) == []
