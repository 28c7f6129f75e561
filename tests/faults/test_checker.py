"""The checker can fail: each broken promise, shown to it once, is found."""

from datetime import UTC, datetime, timedelta

from tests.faults.checker import Observed, judge

AT = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)
CALL = ("webhook confirmation", "acme 1f")


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_a_schedule_that_kept_every_promise_has_no_faults() -> None:
    seen = Observed(placed=4, effects={CALL: [(AT, True)]})

    verdict = judge(seen)

    assert verdict.faults == ()
    assert (verdict.attempted, verdict.applied) == (4, 1)


def test_an_order_that_is_not_final_is_lost() -> None:
    verdict = judge(Observed(placed=4, missing=["1 orders not final at iQmetrix, such as 7a0e"]))

    assert verdict.lost == ("1 orders not final at iQmetrix, such as 7a0e",)
    assert verdict.faults == ("lost: 1 orders not final at iQmetrix, such as 7a0e",)


def test_an_effect_asked_for_again_after_its_answer_is_doubled() -> None:
    verdict = judge(Observed(placed=1, effects={CALL: [(AT, True), (after(2), True)]}))

    assert len(verdict.doubled) == 1
    assert verdict.faults[0].startswith("doubled: webhook confirmation acme 1f")


def test_an_effect_whose_answer_was_lost_may_be_asked_for_again() -> None:
    verdict = judge(Observed(placed=1, effects={CALL: [(AT, False), (after(2), True)]}))

    assert verdict.faults == ()
    assert verdict.unheard == 1


def test_a_kill_right_after_the_effect_opens_the_window_and_its_size_is_told() -> None:
    moments = [(AT, True), (after(2), True)]

    verdict = judge(Observed(placed=1, effects={CALL: moments}, kills=[after(0.04)]))

    assert verdict.faults == ()
    assert [(resent.call, resent.window) for resent in verdict.in_window] == [
        ("webhook confirmation", timedelta(seconds=0.04))
    ]


def test_a_kill_long_after_the_effect_or_after_its_repetition_excuses_nothing() -> None:
    moments = [(AT, True), (after(10), True)]

    late = judge(Observed(placed=1, effects={CALL: moments}, kills=[after(5)]))
    never = judge(Observed(placed=1, effects={CALL: [(AT, True), (after(1), True)]}, kills=[after(2)]))

    assert len(late.doubled) == 1
    assert len(never.doubled) == 1


def test_one_kill_does_not_excuse_a_third_time() -> None:
    moments = [(AT, True), (after(0.5), True), (after(9), True)]

    verdict = judge(Observed(placed=1, effects={CALL: moments}, kills=[after(0.1)]))

    assert len(verdict.in_window) == 1
    assert len(verdict.doubled) == 1


def test_a_status_gone_backward_a_breach_a_message_left_and_a_hub_that_ended_are_faults() -> None:
    seen = Observed(
        placed=1,
        regressions=["Shipped -> Ordered"],
        violations=["body: not a JSON object"],
        left={"hub.wait.100": 2},
        ended_alone="the hub ended by itself",
    )

    assert judge(seen).faults == (
        "backward: Shipped -> Ordered",
        "violation: body: not a JSON object",
        "other: 2 messages left in hub.wait.100",
        "other: the hub ended by itself",
    )
