"""The order of the calls about one purchase order."""

import pytest

from hub.partners.retailops.steps import NEVER_AFTER, WAITS_FOR, Step, out_of_order


def test_each_step_has_its_row_in_both_tables() -> None:
    assert set(WAITS_FOR) == set(NEVER_AFTER) == set(Step)


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.SUBMIT])
def test_each_call_but_the_mark_waits_for_it(step: Step) -> None:
    assert out_of_order([("D1", step)]) == (f"D1: {step} before MarkSubmitted",)
    assert out_of_order([("D1", Step.SUBMIT), ("D1", step)]) == ()


@pytest.mark.parametrize("step", [Step.SUBMIT, Step.ACCEPT, Step.DATE])
def test_nothing_comes_after_completion(step: Step) -> None:
    taken = [("D1", Step.SUBMIT), ("D1", Step.COMPLETE), ("D2", Step.SUBMIT), ("D1", step)]

    assert out_of_order(taken) == (f"D1: {step} after Complete",)
