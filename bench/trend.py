"""Does something grow, or slow down? Its samples against a limit, so that one of them decides nothing.

``Trend`` is the slope by least squares with its standard error; ``kept`` holds the end of a run against its beginning.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope and its standard error, both for one unit of what the samples were taken over."""

    slope: float
    error: float

    @classmethod
    def of(cls, over: Sequence[float], values: Sequence[float]) -> Trend:
        """Fit a line; three samples are the fewest."""
        slope, start = statistics.linear_regression(over, values)
        rest = sum((value - start - slope * at) ** 2 for at, value in zip(over, values, strict=True))
        middle = statistics.fmean(over)
        width = sum((at - middle) ** 2 for at in over)
        return cls(slope, math.sqrt(rest / (len(over) - 2) / width))

    def per(self, span: float) -> Trend:
        """Give it for so many units."""
        return Trend(self.slope * span, self.error * span)

    def below(self, limit: float) -> bool:
        """Whether the slope is below the limit, as far as the samples tell: by twice its error."""
        return self.slope - 2 * self.error < limit

    def __str__(self) -> str:
        return f"{self.slope:+.2f} (error {self.error:.2f})"


def kept(rates: Sequence[float]) -> float:
    """Give what is left of a rate at the end of a run: the median of its last three tenths to that of its first three.

    Args:
        rates: of the ten tenths, in any unit.
    """
    return statistics.median(rates[-3:]) / statistics.median(rates[:3])
