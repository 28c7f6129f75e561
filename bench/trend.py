"""Does something grow? The slope of its samples by least squares, with its standard error, against a limit."""

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
