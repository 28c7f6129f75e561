"""What the comparisons share: medians with their spread, and ratios with what is required of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def median(values: Sequence[float]) -> float:
    """Give the middle value."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Say how far the middle half of the values lies from their median, in percent."""
    if len(values) < 2:
        return ""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"-{(1 - low / middle) * 100:.0f} +{(high / middle - 1) * 100:.0f} %"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How often as fast the hub is as somebody else: the median over the rounds, of which each had both."""

    against: str
    values: Sequence[float]
    required: float

    @property
    def holds(self) -> bool:
        """Whether the hub is as fast as it has to be."""
        return median(self.values) >= self.required

    def row(self) -> tuple[str, str, str, str, str]:
        """Give the cells of a table of ratios."""
        return (
            self.against,
            f"{median(self.values):.2f}",
            spread(self.values),
            f"{self.required:g}" if self.required else "nothing",
            verdict(self.holds) if self.required else "-",
        )


RATIO_COLUMNS = ("the hub against", "times as fast", "middle half", "required", "verdict")


def verdict(holds: bool) -> str:
    """Say whether a limit is kept."""
    return "ok" if holds else "MISSED"


def megabytes(size: int) -> float:
    """Give bytes in units of 1,000,000."""
    return size / 1e6
