"""Plans are data: the same seed is the same plan, and the seeds together meet every cell of the matrix."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import StoreUnavailable
from tests.faults import clock
from tests.faults.points import CELLS, CELLS_ALONE, Fault, Kind, Script, plan
from tests.faults.store import FaultyStore


def test_the_same_seed_is_the_same_plan() -> None:
    assert plan(17) == plan(17)
    assert plan(17) != plan(18)


def test_a_thousand_seeds_begin_with_every_cell_of_the_matrix() -> None:
    first = {(item.faults[0].point, item.faults[0].kind) for item in map(plan, range(1000))}

    assert first == {*CELLS, *CELLS_ALONE}


def test_a_script_meets_each_fault_once_at_its_passing() -> None:
    second = Fault("broker.ack", Kind.error_before, 2)
    script = Script([second])

    met = [script.passing(point) for point in ("broker.ack", "broker.publish", "broker.ack", "broker.ack")]

    assert met == [None, None, second, None]


class Ledger:
    """A store with one method that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def record_effect(self, key: str) -> str:
        self.calls += 1
        return key


@pytest.mark.parametrize(
    ("kind", "calls"), [(Kind.error_before, 0), (Kind.error_after, 1), (Kind.timeout_after, 1)]
)
async def test_a_faulty_store_fails_before_or_after_the_real_call(kind: Kind, calls: int) -> None:
    ledger = Ledger()
    store = FaultyStore(ledger, Script([Fault("store.record_effect", kind, 1)]))  # type: ignore[arg-type]

    with pytest.raises(StoreUnavailable):
        await store.record_effect("k")
    assert ledger.calls == calls

    assert await store.record_effect("k") == "k"


@pytest.mark.parametrize(("kind", "calls"), [(Kind.crash_before, 0), (Kind.crash_after, 1)])
async def test_a_crash_at_the_store_falls_before_or_after_the_real_call(kind: Kind, calls: int) -> None:
    ledger, deaths = Ledger(), []
    script = Script([Fault("store.record_effect", kind, 1)])
    store = FaultyStore(ledger, script, die=lambda: deaths.append(ledger.calls))  # type: ignore[arg-type]

    await store.record_effect("k")

    assert deaths == [calls]


def test_the_clock_can_be_moved_and_real_moments_stay_moments() -> None:
    clock.move(timedelta(hours=1))
    try:
        ahead = clock.MovableDatetime.now(UTC) - datetime.now(UTC)
    finally:
        clock.move(timedelta(hours=-1))

    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)
    assert isinstance(datetime.now(UTC), clock.MovableDatetime)
