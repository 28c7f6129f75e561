from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.messaging.outcome import Retry
from hub.messaging.resilience.retry import GiveUp, RetryPolicy, Wait, decide, parked_again, rung_for
from hub.topology import ladder

NOW = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)
WAITS = tuple(timedelta(seconds=s) for s in (5, 25, 120, 600, 3120))
RUNGS = ladder(WAITS)
POLICY = RetryPolicy(WAITS)


def _decide(outcome: Retry, attempt: int) -> Wait | GiveUp:
    return decide(outcome, attempt=attempt, policy=POLICY, rungs=RUNGS, now=NOW)


def test_five_retries_follow_the_policy_and_the_sixth_failure_gives_up() -> None:
    decisions = [_decide(Retry("503"), attempt) for attempt in range(1, 7)]

    assert decisions[:5] == [Wait(wait, attempt) for attempt, wait in enumerate(WAITS, 1)]
    assert decisions[5] == GiveUp("gave up after 6 attempts: 503")
    assert POLICY.attempts == 6


def test_a_hint_longer_than_the_policy_is_kept_as_the_time_not_to_come_before() -> None:
    decision = _decide(Retry("429", after=timedelta(seconds=37)), 1)

    assert decision == Wait(timedelta(seconds=32), 1, NOW + timedelta(seconds=37))


def test_a_hint_shorter_than_the_policy_does_not_spend_the_attempts_faster() -> None:
    assert _decide(Retry("429", after=timedelta(seconds=1)), 4) == Wait(timedelta(seconds=600), 4)


def test_a_hint_is_cut_at_24_hours() -> None:
    decision = _decide(Retry("429", after=timedelta(days=9)), 1)

    assert isinstance(decision, Wait)
    assert decision.not_before == NOW + timedelta(hours=24)


def test_parking_for_somebody_else_costs_no_attempt() -> None:
    decision = _decide(Retry("busy", after=timedelta(seconds=2), counts=False), 6)

    assert decision == Wait(timedelta(seconds=2), 5, NOW + timedelta(seconds=2))


def test_a_message_whose_time_has_come_is_not_parked_again() -> None:
    assert parked_again(NOW, made=1, rungs=RUNGS, now=NOW) is None


@given(st.integers(min_value=1, max_value=86_400_000))
def test_parking_again_and_again_comes_never_early_and_at_most_a_tenth_or_a_smallest_rung_late(
    ms: int,
) -> None:
    total = timedelta(milliseconds=ms)
    waited = timedelta()
    hops = 0

    while waited < total:
        waited += rung_for(total - waited, RUNGS)
        hops += 1

    assert total <= waited <= total + max(total * 0.1, RUNGS[0])
    assert hops <= 50


@pytest.mark.parametrize(("seconds", "rung"), [(1, 1), (2.5, 2), (31, 32), (37, 32), (5000, 3120)])
def test_the_rung_is_the_longest_that_is_not_too_long(seconds: float, rung: float) -> None:
    assert rung_for(timedelta(seconds=seconds), RUNGS) == timedelta(seconds=rung)
