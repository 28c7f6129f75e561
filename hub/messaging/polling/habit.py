"""How often a poller sees something new, learned from its own history, and when it has been silent for too long.

Silence is no failure: every poll ends well and brings nothing. What is too long differs between an account with an order
a minute and one with an order a week, hence the history; a weekend without orders is part of it. Kept by the poll loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# News within a minute of the last is the same news: a busy poller writes its habit once a minute.
_APART = timedelta(minutes=1)
# Gaps that are kept, and the long ones among them, which may be weeks apart.
_MOST_GAPS = 200
_MOST_LONG = 6
_LONG_KEPT = timedelta(days=35)
# Nobody is alarmed earlier, and with a history of fewer gaps than this not before a day.
_FLOOR = timedelta(hours=4)
_FEW = 20
_FLOOR_OF_FEW = timedelta(hours=24)


@dataclass(slots=True)
class Habit:
    """When a poller saw something new; all times in UTC, gaps in seconds."""

    last_news: datetime
    gaps: list[int] = field(default_factory=list)
    long: list[tuple[int, str]] = field(default_factory=list)
    """The longest gaps with the time of their end."""

    @classmethod
    def read(cls, facts: Mapping[str, Any], now: datetime) -> Habit:
        """Read what ``facts`` rendered; without history it begins now."""
        if not facts:
            return cls(now)
        long = [(int(gap), str(at)) for gap, at in facts["long"]]
        return cls(datetime.fromisoformat(facts["last_news"]), [int(gap) for gap in facts["gaps"]], long)

    def facts(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return {
            "last_news": self.last_news.isoformat(),
            "gaps": self.gaps,
            "long": [list(pair) for pair in self.long],
        }

    def news(self, now: datetime) -> bool:
        """Note that something new came; False when it belongs to the last news, and nothing has changed."""
        gap = now - self.last_news
        if gap < _APART:
            return False
        seconds = int(gap.total_seconds())
        self.gaps = [*self.gaps, seconds][-_MOST_GAPS:]
        since = (now - _LONG_KEPT).isoformat()
        recent = [pair for pair in self.long if pair[1] >= since]
        self.long = sorted([*recent, (seconds, now.astimezone(UTC).isoformat())], reverse=True)[:_MOST_LONG]
        self.last_news = now
        return True

    @property
    def limit(self) -> timedelta:
        """How long a silence may be: five times what 19 of 20 gaps are shorter than, and more than a usual long one.

        The longest gap alone does not count: it may have been a fault.
        """
        if len(self.gaps) < _FEW:
            return max(_FLOOR_OF_FEW, timedelta(seconds=2 * max(self.gaps, default=0)))
        usual = sorted(self.gaps)[len(self.gaps) * 95 // 100]
        long = self.long[1][0] * 1.2 if len(self.long) > 1 else 0
        return max(_FLOOR, timedelta(seconds=5 * usual), timedelta(seconds=long))

    def is_silent(self, now: datetime) -> bool:
        """Return whether nothing new has come for longer than is usual."""
        return now - self.last_news > self.limit
