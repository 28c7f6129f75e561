"""Is a destination away? The state machine of one circuit breaker, without a broker, a partner or a clock of its own.

    closed ── N failures in a row, over T ──> open ── the probe's time has come ──> half-open
       ^                                        ^                                      │  │
       └── 64 calls at once went well ──────────┼───────────── 1, 2, 4, … calls at once ┘  │
                                                └───────────── one failure, a longer wait ─┘

**What counts.** A failure is ``PartnerUnreachable``: no connection, DNS, TLS, no answer in time, or a gateway's 502, 503, 504.
Anything else that a destination says is an answer, and one answer between them ends a row of failures. So is 429, which
says itself when to come back, and so is 500: an endpoint that fails on one message says 500, and the webhook documents
have each 4xx and 5xx retried five times. Nothing tells "this message breaks me" from "I break with all" in a 500 but the
messages of others, and those spend their attempts over an hour, while a person hears of it by the alert on letters. An
endpoint that is not there says nothing about any message.

**What it promises.** A message whose attempts all failed so, with no answer to anybody between them, is never a dead
letter: N is at most the attempts of a message, and T at most its waits together (``Thresholds.for_waits``), so its
last attempt at the latest opens the breaker. While it is open no attempt is spent. Each process has breakers of its own,
so with replicas N is to be at most the attempts divided by their number: the default fits two.

**Where it sits.** Around the calls of consumers (``hub.messaging.resilience.outages``; the clients' doubles are in
``consumers.guarded``), so that handlers know nothing of it and an event for many destinations waits for the one that is
away alone. A destination is an account (of the order id, or each of a stock count), or a webhook client.

**What happens to the work.** A queue whose destinations are all away is not consumed (``hub.messaging.resilience.outages``):
nothing is moved on the broker, nothing is held here. On a queue that others share, deliveries for the one that is away
are parked on rungs at no attempt, for longer the longer it lasts. When the time has come one call goes through as the
probe, and then twice as many at once each time they come back well.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from hub.models.frozen import value

# Calls at once after which a destination is taken for well: about what one prefetch brings.
RAMP_TO = 64
# A ramp that has too little work to get there ends all the same, so that one failure much later is but one.
RAMP_SECONDS = 60.0
# The longest wait of what is parked, however long the outage: each round costs the broker a publish and an ack for each message.
LONGEST_PARK = timedelta(minutes=5)
# Of what is parked because enough calls are on their way in a ramp.
_RAMP_PARK_SECONDS = 1.0
# A hint when to come back delays the probe by so much at most: one gateway's guess should not stop an account for a day.
LONGEST_HINT = timedelta(hours=1)


class Phase(StrEnum):
    """Where a breaker stands; half-open is told apart by whether the probe has been answered."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    RAMPING = "ramping"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker opens: so many failures in a row, so long a row; when it probes: at first, and at the longest.

    ``park_at_most`` bounds how far what is parked is spread behind the next probe.
    """

    failures: int
    over: timedelta
    probe_after: timedelta
    probe_at_most: timedelta
    park_at_most: timedelta = LONGEST_PARK

    def for_waits(self, waits: Sequence[timedelta]) -> Thresholds:
        """Return thresholds that a single message with these waits reaches with its last attempt at the latest."""
        together = sum(waits, timedelta())
        return replace(
            self,
            failures=min(self.failures, len(waits) + 1),
            # A little less: the broker counts the waits by another clock.
            over=min(self.over, together * 0.9),
            # Who waits for what another consumer does there spends attempts once the destination is back.
            park_at_most=min(self.park_at_most, together / 4),
        )


@value(frozen=True, slots=True)
class Call:
    """A call that was let through: when, and in which generation of the breaker."""

    begun: float
    generation: int


class Breaker:
    """The breaker of one destination.

    Args:
        thresholds: when it opens and probes.
        on_change: called with the new phase.
        clock: monotonic seconds.
        jitter: 0 to 1, spreads what is parked.
    """

    def __init__(
        self,
        thresholds: Thresholds,
        *,
        on_change: Callable[[Phase], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._thresholds = thresholds
        self._on_change = on_change
        self._clock = clock
        self._jitter = jitter
        self.phase = Phase.CLOSED
        # Grows with each change between open and half-open, so that what was begun before does not count any more.
        self._generation = 0
        self._failures = 0
        self._away_since = clock()
        self._last_answer = clock()
        # Open:
        self._pause = 0.0
        self._probe_at = 0.0
        self._parked_first = False
        # Half-open:
        self._level = 0
        self._under_way = 0
        self._went_well = 0
        self._ramp_ends = 0.0

    @property
    def away_for(self) -> timedelta:
        """How long the destination has been away, counted from the first call that failed."""
        return timedelta(seconds=self._clock() - self._away_since)

    @property
    def is_away(self) -> bool:
        """Whether no call has been answered since it opened."""
        return self.phase in (Phase.OPEN, Phase.PROBING)

    @property
    def is_well(self) -> bool:
        """Whether it is closed, or its ramp has had its time."""
        return self.phase is Phase.CLOSED or (
            self.phase is Phase.RAMPING and self._clock() >= self._ramp_ends
        )

    @property
    def width(self) -> int | None:
        """How many calls may be on their way at once; None: any number."""
        if self.is_well:
            return None
        if self.phase is Phase.OPEN:
            return 1 if self._clock() >= self._probe_at else 0
        return self._level

    @property
    def probes_in(self) -> timedelta | None:
        """How long until the next probe may go; None unless it waits for that time."""
        if self.phase is not Phase.OPEN or self._clock() >= self._probe_at:
            return None
        return timedelta(seconds=self._probe_at - self._clock())

    def begin(self) -> Call | timedelta:
        """Begin a call, or return for how long to park what wants to make it."""
        now = self._clock()
        if self.phase is Phase.RAMPING and self.is_well:
            self._close()
        if self.phase is Phase.OPEN and now >= self._probe_at:
            self._enter(Phase.PROBING, level=1)
        if self.phase is Phase.CLOSED:
            return Call(now, self._generation)
        if self.phase is Phase.OPEN or self._under_way >= self._level:
            return self.park()
        self._under_way += 1
        return Call(now, self._generation)

    def answered(self, call: Call) -> None:
        """Note that the destination said something, be it a refusal."""
        if self.phase is Phase.CLOSED:
            self._failures = 0
            self._last_answer = self._clock()
        elif self._is_current(call):
            self._under_way -= 1
            self._went_well += 1
            self._widen()

    def failed(self, call: Call, hint: timedelta | None = None) -> None:
        """Note that nobody was there; ``hint``: when somebody will be, if that was said."""
        if self.phase is Phase.CLOSED:
            self._count(call, hint)
        elif self._is_current(call):
            # It was there for a moment at best, so the next probe waits longer than the last.
            self._open(self._pause * 2, hint)

    def forget(self, call: Call) -> None:
        """Note that a call proved nothing: it was given up, or was none."""
        if self.phase is not Phase.CLOSED and self._is_current(call):
            self._under_way -= 1

    def park(self) -> timedelta:
        """Return for how long to park what may not go now: one until the next probe, the others spread out behind it."""
        if self.phase is Phase.RAMPING:
            return timedelta(seconds=_RAMP_PARK_SECONDS * (1 + self._jitter()))
        remains = max(self._probe_at - self._clock(), 0.0)
        if not self._parked_first:
            self._parked_first = True
            return timedelta(seconds=remains)
        spread = min(
            max(self._clock() - self._away_since, self._pause), self._thresholds.park_at_most.total_seconds()
        )
        return timedelta(seconds=remains + self._jitter() * spread)

    # --- what it comes to

    def _count(self, call: Call, hint: timedelta | None) -> None:
        """Count a failure; a row of them lasts since its first call went out, or since the last answer."""
        if not self._failures:
            self._away_since = max(call.begun, self._last_answer)
        self._failures += 1
        lasts = self._clock() - self._away_since
        if self._failures >= self._thresholds.failures and lasts >= self._thresholds.over.total_seconds():
            self._open(self._thresholds.probe_after.total_seconds(), hint)

    def _open(self, pause: float, hint: timedelta | None) -> None:
        self._pause = min(pause, self._thresholds.probe_at_most.total_seconds())
        until_then = min(hint or timedelta(), LONGEST_HINT).total_seconds()
        self._probe_at = self._clock() + max(self._pause, until_then)
        self._parked_first = False
        self._enter(Phase.OPEN)

    def _widen(self) -> None:
        """Admit twice as many calls when as many as might have gone well, or there were no more."""
        if self._went_well < self._level and self._under_way:
            return
        if self.phase is Phase.PROBING:
            self._ramp_ends = self._clock() + RAMP_SECONDS
        if self._level >= RAMP_TO:
            self._close()
            return
        self._level *= 2
        self._went_well = 0
        self.phase = Phase.RAMPING
        self._on_change(self.phase)

    def _close(self) -> None:
        self._failures = 0
        self._last_answer = self._clock()
        self._enter(Phase.CLOSED)

    def _enter(self, phase: Phase, *, level: int = 0) -> None:
        self.phase = phase
        self._generation += 1
        self._level, self._under_way, self._went_well = level, 0, 0
        self._on_change(phase)

    def _is_current(self, call: Call) -> bool:
        return call.generation == self._generation
