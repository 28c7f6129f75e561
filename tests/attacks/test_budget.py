"""The time budget of the event loop: no hostile input of a size that is taken keeps it for long.

The budget is 100 ms of processor time; `make bench NAME=budget` prints what each input takes. Here the bound is ten times as
much, which a busy machine does not reach and anything quadratic does.
"""

import pytest

from bench.budget import BUDGET_MS, COMMANDS, WAYS_IN

BOUND_MS = 10 * BUDGET_MS


@pytest.mark.parametrize("ways_in", WAYS_IN)
def test_no_hostile_input_keeps_the_event_loop_for_long(ways_in: str) -> None:
    cases = (case for case in WAYS_IN[ways_in]() if case.entry not in COMMANDS)

    slow = [(case.entry, case.name, case.size) for case in cases if case.milliseconds() > BOUND_MS]

    assert slow == []
