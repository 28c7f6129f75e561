"""When a poller is silent for too long: measured by its own history."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.messaging.polling.habit import Habit

START = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def after(*gaps: timedelta) -> Habit:
    habit, now = Habit(START), START
    for gap in gaps:
        now += gap
        habit.news(now)
    return Habit.read(habit.facts(), now)


@pytest.mark.parametrize(
    ("gaps", "limit"),
    [
        ([], 24 * HOUR),
        ([5 * MINUTE] * 10, 24 * HOUR),
        ([3 * DAY] * 3, 6 * DAY),
        ([5 * MINUTE] * 100, 4 * HOUR),
        ([2 * HOUR] * 100, 10 * HOUR),
        # Weekends, and one fault that is not a habit.
        ([HOUR] * 9 + [15 * HOUR] + [HOUR] * 9 + [63 * HOUR] + [HOUR] * 90 + [62 * HOUR], 62 * 1.2 * HOUR),
        ([5 * MINUTE] * 50 + [5 * DAY] + [5 * MINUTE] * 50, 4 * HOUR),
    ],
)
def test_a_silence_is_measured_by_the_habit(gaps: list[timedelta], limit: timedelta) -> None:
    habit = after(*gaps)

    assert habit.limit == limit
    assert not habit.is_silent(habit.last_news + limit)
    assert habit.is_silent(habit.last_news + limit + MINUTE)


def test_news_within_a_minute_is_the_same_news_and_is_not_written() -> None:
    habit = Habit(START)

    assert [habit.news(START + timedelta(seconds=seconds)) for seconds in (30, 61, 90, 122)] == [
        False,
        True,
        False,
        True,
    ]
    assert habit.gaps == [61, 61]


def test_a_history_does_not_grow() -> None:
    assert len(after(*[HOUR] * 1000).gaps) == 200
