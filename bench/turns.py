"""What the contenders of a delivery benchmark took, turn for turn, and the tables made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.processes import BenchmarkError
from bench.rows import RATIO_COLUMNS, Ratio, median, spread
from hub.cli.output.printing import print_table


@dataclass(slots=True)
class Turns:
    """What one contender took, in each round."""

    events: int
    """In one turn."""
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    """Of what it has posted."""

    def per_second(self) -> float:
        """Give the median of events per second."""
        return self.events / median(self.seconds)

    def times_as_fast(self, other: Turns) -> list[float]:
        """Give for each round how often as fast it was as somebody else."""
        return [
            (theirs / other.events) / (ours / self.events)
            for theirs, ours in zip(other.seconds, self.seconds, strict=True)
        ]


def refuse_different(every: Iterable[Turns]) -> None:
    """See to it that all have posted the same, in so far as they were given the same.

    Raises:
        BenchmarkError: somebody has not.
    """
    by_events: dict[int, set[tuple[str, ...]]] = {}
    for turns in every:
        by_events.setdefault(turns.events, set()).add(tuple(turns.digests))
    if any(len(posted) > 1 for posted in by_events.values()):
        raise BenchmarkError("expected the same bodies of all, got different ones")


def print_turns(every: Mapping[str, Turns], title: str) -> None:
    """Print what each took."""
    rounds = len(next(iter(every.values())).seconds)
    print_table(
        ("event to call", "events", "events/s", "middle half", "processor ms/event"),
        [
            (
                who,
                turns.events,
                f"{turns.per_second():.0f}",
                spread(turns.seconds),
                f"{median(turns.processor) / turns.events * 1000:.2f}",
            )
            for who, turns in every.items()
        ],
        title=f"{title}; medians of {rounds} rounds",
    )


def print_ratios(every: Mapping[str, Turns], required: Mapping[tuple[str, str], float]) -> bool:
    """Print how many times as fast some are as others; tells whether all are as fast as they have to be.

    Args:
        every: what each took.
        required: by who and against whom; 0 where nothing is.
    """
    ratios = [
        Ratio(f"{other}: {who}", every[who].times_as_fast(every[other]), least)
        for (who, other), least in required.items()
    ]
    print_table(RATIO_COLUMNS, [ratio.row() for ratio in ratios])
    return all(ratio.holds for ratio in ratios)
