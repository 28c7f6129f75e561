"""When a message is tried again: pure decisions over the wait ladder.

A retry policy is data: the waits before the second and later attempts. The ladder's rungs are fixed waits on the
broker; a hint such as Retry-After is put together from them, by parking the message again until its time has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.messaging.outcome import Retry

# Longer hints are cut: a partner that says "next week" is a partner to call by phone.
LONGEST_HINT = timedelta(hours=24)
# How late, as a share of what remains, a message may come to save hops over shorter rungs.
LATENESS = 0.1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The waits before attempts 2, 3, …; their number is the number of retries."""

    waits: tuple[timedelta, ...]

    @property
    def attempts(self) -> int:
        """How often a message is tried in all."""
        return len(self.waits) + 1


@dataclass(frozen=True, slots=True)
class Wait:
    """Park on ``rung``; ``attempt`` is the number of attempts made; before ``not_before`` it is parked again."""

    rung: timedelta
    attempt: int
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The attempts are used up."""

    reason: str


def decide(
    outcome: Retry, *, attempt: int, policy: RetryPolicy, rungs: Sequence[timedelta], now: datetime
) -> Wait | GiveUp:
    """Decide what a failed attempt leads to.

    Args:
        outcome: what the attempt came to; a hint in it never shortens the policy's wait.
        attempt: which attempt it was, counted from 1.
        policy: waits and number of attempts.
        rungs: all rungs of the ladder, ascending.
        now: the time, with zone.
    """
    if not outcome.counts:
        return _park_until(now + (outcome.after or rungs[0]), made=attempt - 1, rungs=rungs, now=now)
    if attempt > len(policy.waits):
        return GiveUp(f"gave up after {attempt} attempts: {outcome.reason}")
    wait = policy.waits[attempt - 1]
    if outcome.after is None or outcome.after <= wait:
        return Wait(wait, attempt)
    return _park_until(now + min(outcome.after, LONGEST_HINT), made=attempt, rungs=rungs, now=now)


def parked_again(
    not_before: datetime, *, made: int, rungs: Sequence[timedelta], now: datetime
) -> Wait | None:
    """Return the next rung for a message whose time has not come, or None when it has."""
    return None if now >= not_before else _park_until(not_before, made=made, rungs=rungs, now=now)


def _park_until(moment: datetime, *, made: int, rungs: Sequence[timedelta], now: datetime) -> Wait:
    return Wait(rung_for(moment - now, rungs), made, moment)


def rung_for(remaining: timedelta, rungs: Sequence[timedelta]) -> timedelta:
    """Choose a rung for what remains to wait.

    The smallest rung that is long enough, if it is at most 10 % or one smallest rung too long; else the longest
    that is not too long, after which the message is parked again.
    """
    tolerance = max(remaining * LATENESS, rungs[0])
    for rung in rungs:
        if rung >= remaining:
            if rung - remaining <= tolerance:
                return rung
            break
    shorter = [rung for rung in rungs if rung <= remaining]
    return shorter[-1] if shorter else rungs[0]
