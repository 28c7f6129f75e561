"""The time budget of the event loop: no hostile input of a size that is taken keeps it for long.

The budget is 100 ms of processor time, and more for threads and commands; `make bench NAME=budget` prints what each input
takes. Here the bound is a second more, which a busy machine does not reach and anything quadratic does.
"""

import gc
from collections.abc import Iterator

import pytest

from bench.budget import WAYS_IN

SPARE_MS = 1000


@pytest.fixture(autouse=True)
def _nothing_else_to_collect() -> Iterator[None]:
    """Keep the garbage collector from walking through what the other tests have loaded: a hub has nothing of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("ways_in", WAYS_IN)
def test_no_hostile_input_keeps_the_event_loop_for_long(ways_in: str) -> None:
    slow = [
        (case.entry, case.name, case.size)
        for case in WAYS_IN[ways_in]()
        if case.milliseconds() > case.budget_ms + SPARE_MS
    ]

    assert slow == []
