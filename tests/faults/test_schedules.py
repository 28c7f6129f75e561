"""Two dozen of the schedules that `make faults` plays by the thousand: each kind of fault at least once."""

from collections.abc import Sequence

import pytest

from hub.local_broker.node import PrivateNode
from tests.faults.lanes import lanes, play_all
from tests.faults.points import ALONE, AT_THE_POINT, IN_THE_WORLD, plan
from tests.faults.schedule import told

# Together they meet every kind that leaves the broker alone; the brokers that are killed are in tests/flows/test_kills.py.
SEEDS = (0, 1, 2, 10, 17, 33, 65, 72, 75, 82, 95, 106, 111, 129, 258, 288, 306, 382, 390)
# So many of them are part of every test run; the rest is `make test-long`.
SHORT = 5


def test_the_seeds_plan_every_kind_of_fault_but_those_that_take_the_broker_alone() -> None:
    kinds = {fault.kind for seed in SEEDS for fault in plan(seed).faults}

    assert kinds == {*AT_THE_POINT, *IN_THE_WORLD}
    assert not kinds & {*ALONE}


@pytest.mark.parametrize("seeds", [SEEDS[:SHORT], pytest.param(SEEDS[SHORT:], marks=pytest.mark.long)])
async def test_no_schedule_loses_an_order_doubles_an_effect_or_takes_a_status_back(
    node: PrivateNode, seeds: Sequence[int]
) -> None:
    async with lanes(node, 3) as opened:
        results = await play_all(seeds, opened)

    assert "\n".join(told(result) for result in results if result.faults) == ""
    assert sum(bool(result.met) for result in results) >= len(seeds) * 3 // 5
