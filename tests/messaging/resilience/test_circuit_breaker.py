"""The states of a circuit breaker, with a clock that the test moves."""

from datetime import timedelta

import pytest

from hub.messaging.resilience.circuit_breaker import (
    LONGEST_HINT,
    RAMP_SECONDS,
    RAMP_TO,
    Breaker,
    Call,
    Phase,
    Thresholds,
)

THRESHOLDS = Thresholds(
    failures=3,
    over=timedelta(seconds=5),
    probe_after=timedelta(seconds=2),
    probe_at_most=timedelta(seconds=15),
)


class Bench:
    """A breaker whose time and chance are the test's."""

    def __init__(self, thresholds: Thresholds = THRESHOLDS) -> None:
        self.now = 1000.0
        self.jitter = 0.0
        self.phases: list[Phase] = []
        self.breaker = Breaker(
            thresholds, on_change=self.phases.append, clock=lambda: self.now, jitter=lambda: self.jitter
        )

    def begin(self) -> Call:
        call = self.breaker.begin()
        assert isinstance(call, Call), f"held back for {call}"
        return call

    def held_back(self) -> float:
        """For how many seconds a call is held back."""
        after = self.breaker.begin()
        assert isinstance(after, timedelta), "let through"
        return after.total_seconds()

    def fail(self, *, lasting: float = 0.0) -> None:
        call = self.begin()
        self.now += lasting
        self.breaker.failed(call)

    def succeed(self) -> None:
        self.breaker.answered(self.begin())

    def open(self) -> None:
        for lasting in (2.5, 2.5, 0.0):
            self.fail(lasting=lasting)
        assert self.breaker.phase is Phase.OPEN


def test_it_opens_after_so_many_failures_in_a_row_that_lasted_so_long() -> None:
    bench = Bench()

    bench.fail()
    bench.fail(lasting=4.9)
    bench.fail()
    before = bench.breaker.phase
    bench.now += 0.1
    bench.fail()

    assert before is Phase.CLOSED
    assert bench.breaker.phase is Phase.OPEN
    assert bench.breaker.away_for == timedelta(seconds=5)


def test_few_failures_do_not_open_it_however_long_the_row() -> None:
    bench = Bench()

    bench.fail(lasting=3600)
    bench.fail(lasting=3600)

    assert bench.breaker.phase is Phase.CLOSED


def test_one_answer_between_failures_begins_the_row_anew() -> None:
    bench = Bench()

    for _ in range(20):
        bench.fail(lasting=5)
        bench.fail(lasting=5)
        bench.succeed()

    assert bench.phases == []


def test_calls_that_hang_at_once_are_a_row_as_long_as_their_timeout() -> None:
    bench = Bench()
    calls = [bench.begin() for _ in range(3)]

    bench.now += 30
    for call in calls:
        bench.breaker.failed(call)

    assert bench.breaker.phase is Phase.OPEN
    assert bench.breaker.away_for == timedelta(seconds=30)


def test_a_call_that_hung_while_others_were_answered_counts_from_the_last_answer() -> None:
    bench = Bench()
    hanging = [bench.begin() for _ in range(3)]
    bench.now += 29
    bench.succeed()

    bench.now += 1
    for call in hanging:
        bench.breaker.failed(call)

    assert bench.breaker.phase is Phase.CLOSED


def test_while_it_is_open_nothing_is_let_through_and_a_late_answer_to_an_older_call_changes_nothing() -> None:
    bench = Bench()
    old = bench.begin()
    bench.open()

    assert bench.held_back() == 2.0
    bench.breaker.answered(old)
    assert bench.breaker.width == 0
    assert bench.held_back() == pytest.approx(2.0)


def test_one_is_parked_until_the_probe_and_the_others_are_spread_over_as_long_as_it_lasts() -> None:
    bench = Bench()
    bench.open()
    bench.jitter = 0.5
    first, second = bench.held_back(), bench.held_back()
    assert (first, second) == (2.0, 2.0 + 0.5 * 5.0)

    for _ in range(100):
        bench.now += 15
        bench.fail()
    bench.held_back()

    assert bench.held_back() == 15 + 0.5 * 300


def test_when_its_time_has_come_one_call_is_the_probe_and_the_others_wait_for_it() -> None:
    bench = Bench()
    bench.open()

    bench.now += 2
    assert bench.breaker.width == 1
    bench.begin()

    assert bench.breaker.phase is Phase.PROBING
    assert bench.breaker.is_away
    bench.held_back()


def test_probes_that_fail_are_twice_as_far_apart_up_to_a_cap() -> None:
    bench = Bench()
    bench.open()
    waits = []

    for _ in range(5):
        left = bench.breaker.probes_in
        assert left is not None
        waits.append(left.total_seconds())
        bench.now += left.total_seconds()
        bench.fail()

    assert waits == [2, 4, 8, 15, 15]


def test_a_probe_that_is_answered_lets_twice_as_many_through_each_time() -> None:
    bench = Bench()
    bench.open()
    bench.now += 2
    widths = []

    while (width := bench.breaker.width) is not None:
        widths.append(width)
        calls = [bench.begin() for _ in range(width)]
        assert isinstance(bench.breaker.begin(), timedelta)
        for call in calls:
            bench.breaker.answered(call)

    assert widths == [1, 2, 4, 8, 16, 32, RAMP_TO]
    assert bench.breaker.phase is Phase.CLOSED


def test_a_failure_in_the_ramp_opens_it_again_and_what_else_is_on_its_way_does_not_count() -> None:
    bench = Bench()
    bench.open()
    bench.now += 2
    bench.succeed()
    one, other = bench.begin(), bench.begin()

    bench.breaker.failed(one)
    bench.breaker.failed(other)

    assert bench.breaker.phase is Phase.OPEN
    assert bench.breaker.probes_in == timedelta(seconds=4)


def test_a_ramp_with_little_work_widens_when_none_is_on_its_way_and_ends_in_time() -> None:
    bench = Bench()
    bench.open()
    bench.now += 2
    bench.succeed()
    bench.succeed()
    assert (bench.breaker.width, bench.breaker.is_well) == (4, False)

    bench.now += RAMP_SECONDS
    assert (bench.breaker.width, bench.breaker.is_well) == (None, True)
    bench.fail()

    assert bench.breaker.phase is Phase.CLOSED


def test_a_call_that_proved_nothing_leaves_room_for_the_next_probe() -> None:
    bench = Bench()
    bench.open()
    bench.now += 2

    bench.breaker.forget(bench.begin())

    assert bench.breaker.phase is Phase.PROBING
    bench.succeed()
    assert not bench.breaker.is_away


@pytest.mark.parametrize(
    ("hint", "wait"), [(1, 2), (90, 90), (24 * 3600, LONGEST_HINT.total_seconds())], ids=str
)
def test_a_hint_when_it_is_back_delays_the_probe_within_reason(hint: int, wait: float) -> None:
    bench = Bench()
    bench.fail(lasting=5)
    bench.fail()

    bench.breaker.failed(bench.begin(), timedelta(seconds=hint))

    assert bench.breaker.probes_in == timedelta(seconds=wait)


@pytest.mark.parametrize("waits", [(5, 25, 120, 600, 3120), (0.05, 0.1, 0.15), (1,)], ids=str)
@pytest.mark.parametrize("failures", [1, 3, 1000])
def test_a_lone_message_never_fails_its_last_attempt_with_a_closed_breaker(
    waits: tuple[float, ...], failures: int
) -> None:
    spans = [timedelta(seconds=wait) for wait in waits]
    asked = Thresholds(failures, timedelta(hours=9), timedelta(seconds=2), timedelta(seconds=15))
    bench = Bench(asked.for_waits(spans))

    for wait in (*waits, 0):
        if bench.breaker.phase is Phase.CLOSED:
            bench.fail()
        bench.now += wait

    assert bench.breaker.phase is Phase.OPEN
