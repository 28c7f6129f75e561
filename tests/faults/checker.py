"""What a schedule must not show: an order lost, an effect doubled outside the window, a status gone backward.

It judges what was observed from outside (the partners' records, the broker's queues), and knows nothing of how the hub works.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

# A request may be on its way when its sender is killed, and take effect after that.
ON_ITS_WAY = timedelta(seconds=1)
# The documented window, a crash after the effect and before its record, takes milliseconds; this much on a busy machine.
WINDOW = timedelta(seconds=3)

Effect = tuple[str, str]
"""The call (`acme confirmation`) and what tells this effect from others of the call."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one schedule once all its faults were over."""

    placed: int
    """Orders of both sources that the partners told of."""
    missing: Sequence[str] = ()
    """What has not reached its final state: orders, purchase orders, webhooks, cancellations for a person."""
    effects: Mapping[Effect, Sequence[tuple[datetime, bool]]] = field(default_factory=dict)
    """When each effect was asked for, and whether the hub may have heard the answer."""
    kills: Sequence[datetime] = ()
    regressions: Sequence[str] = ()
    violations: Sequence[str] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    """Messages that lie in queues which should be empty."""
    ended_alone: str = ""


@dataclass(frozen=True, slots=True)
class Resent:
    """An effect asked for twice in the documented window: so long after it the hub was killed."""

    call: str
    window: timedelta


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgment on one schedule."""

    attempted: int
    applied: int
    lost: tuple[str, ...]
    in_window: tuple[Resent, ...]
    unheard: int
    """Effects asked for again because the answer was lost on its way: the hub could not know."""
    doubled: tuple[str, ...]
    regressed: tuple[str, ...]
    violations: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that breaks a promise; empty when all were kept."""
        named = {
            "lost": self.lost,
            "doubled": self.doubled,
            "backward": self.regressed,
            "violation": self.violations,
            "other": self.other,
        }
        return tuple(f"{name}: {what}" for name, found in named.items() for what in found)


def judge(seen: Observed) -> Verdict:
    """Judge one schedule."""
    resent: list[Resent] = []
    doubled: list[str] = []
    unheard = 0
    for (call, what), moments in seen.effects.items():
        # A kill interrupts an effect once: it explains one repetition.
        kills = list(seen.kills)
        for (first, answered), (second, _) in pairwise(sorted(moments)):
            kill = _kill_between(first, second, kills)
            if not answered:
                unheard += 1
            elif kill is None:
                doubled.append(f"{call} {what}: at {first:%H:%M:%S.%f} and {second:%H:%M:%S.%f}")
            else:
                kills.remove(kill)
                resent.append(Resent(call, max(kill - first, timedelta(0))))
    other = [f"{count} messages left in {queue}" for queue, count in seen.left.items()]
    return Verdict(
        attempted=seen.placed,
        applied=len(seen.effects),
        lost=tuple(seen.missing),
        in_window=tuple(resent),
        unheard=unheard,
        doubled=tuple(doubled),
        regressed=tuple(seen.regressions),
        violations=tuple(seen.violations),
        other=tuple(other + ([seen.ended_alone] if seen.ended_alone else [])),
    )


def _kill_between(first: datetime, second: datetime, kills: Sequence[datetime]) -> datetime | None:
    """Give the kill that explains why the second was asked for, if there is one."""
    return next((kill for kill in kills if first - ON_ITS_WAY <= kill <= min(second, first + WINDOW)), None)
