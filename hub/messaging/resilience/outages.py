"""What may be away: destinations, a breaker each, and the state store; and the queues that wait for them.

``Outages`` has one ``Destination`` for each account and webhook client of the process. The composition root puts its
``calling`` around the calls of consumers and has ``regulate`` watch the queues: one whose destinations are all away is
not consumed but for the probes, and then as widely as their ramps allow, so that 5,000 messages stay where they are. A
queue with one destination that is well is consumed as ever; what there is for the others is parked at no attempt.
Without the state store nothing can be done, so no queue is consumed from the first delivery that misses it until the
next renewal of the presence (``hub.state.heartbeat``), which writes to it all the time.

``hub.messaging.resilience.circuit_breaker`` decides, and says why it decides so.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from hub.errors import Busy, CircuitOpen, HubError, PartnerUnreachable, Throttled, Unauthorized
from hub.messaging.resilience.circuit_breaker import Breaker, Phase, Thresholds
from hub.models.types import utc_text
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import DESTINATION_UP, OUTAGES, QUEUE_HELD

_STORE = "state store"
# No row of failures is as long.
NEVER = Thresholds(sys.maxsize, timedelta(), timedelta(), timedelta(), timedelta())

Narrow = Callable[[str, int | None], Awaitable[None]]
"""Has a queue consumed by so many deliveries at once: None as many as ever, 0 none."""


class Destination:
    """Whom consumers call: ``name`` is ``<partner>:<account>``, the label of its metrics.

    Args:
        name: of the destination.
        thresholds: of its breaker.
        on_change: called when the breaker has changed.
    """

    def __init__(self, name: str, thresholds: Thresholds, on_change: Callable[[], None]) -> None:
        self.name = name
        self.breaker = Breaker(thresholds, on_change=self._changed)
        self._on_change = on_change
        self._since = datetime.now(UTC)
        self._reason = ""
        self._was_away = False
        DESTINATION_UP.labels(name).set(1)
        # The series is there before the first outage, so that its rate is.
        OUTAGES.labels(name)

    @contextmanager
    def calling(self, *, is_proof: bool = True) -> Iterator[None]:
        """Put around one call.

        Args:
            is_proof: whether a success means that the destination was asked at all.

        Raises:
            CircuitOpen: it is away, so the call was not made; or it was, and shows that it is away. Costs no attempt.
        """
        call = self.breaker.begin()
        if isinstance(call, timedelta):
            raise self.held_back(call)
        try:
            yield
        except PartnerUnreachable as away:
            self._reason = str(away)
            self.breaker.failed(call, away.retry_after if isinstance(away, Throttled) else None)
            if self.breaker.is_away:
                raise self.held_back() from away
            raise
        except HubError as error:
            # Credentials that are left alone after a refusal are refused without a call; so ends a limit of our own.
            uncalled = isinstance(error, Busy) or (
                isinstance(error, Unauthorized) and isinstance(error, Throttled)
            )
            if uncalled or not is_proof:
                self.breaker.forget(call)
            else:
                self.breaker.answered(call)
            raise
        except BaseException:
            self.breaker.forget(call)
            raise
        if is_proof:
            self.breaker.answered(call)
        else:
            self.breaker.forget(call)

    def describe(self) -> str | None:
        """Say since when it is away and what happens next, or None when it is not."""
        if not self.breaker.is_away:
            return None
        left = self.breaker.probes_in
        then = f"next probe in {left.total_seconds():.0f} s" if left else "a probe is due or on its way"
        return f"paused: {self.name} is away since {utc_text(self._since)}, {then}"

    def held_back(self, after: timedelta | None = None) -> CircuitOpen:
        """Return the error for a call that is not made, to come back ``after`` so long or when the breaker likes."""
        # The same text for the whole outage: it is how the timeline knows what it has said before.
        return CircuitOpen(
            f"waits for {self.name}, which is away since {utc_text(self._since)}; no attempt is spent",
            retry_after=self.breaker.park() if after is None else after,
        )

    def _changed(self, phase: Phase) -> None:
        facts = {"destination": self.name, "away_seconds": round(self.breaker.away_for.total_seconds(), 1)}
        match phase:
            case Phase.OPEN:
                # A probe that failed opens it again: still the same outage.
                if not self._was_away:
                    self._was_away = True
                    self._since = (datetime.now(UTC) - self.breaker.away_for).replace(microsecond=0)
                    OUTAGES.labels(self.name).inc()
                    log.warning(LogEvent.OUTAGE_OPENED, reason=self._reason, **facts)
            case Phase.PROBING:
                log.info(LogEvent.OUTAGE_PROBING, **facts)
            case Phase.CLOSED:
                self._was_away = False
                log.info(LogEvent.OUTAGE_CLOSED, **facts)
        DESTINATION_UP.labels(self.name).set(0 if self.breaker.is_away else 1)
        self._on_change()


class Outages:
    """The destinations of a process, and its state store.

    Args:
        thresholds: of all breakers; ``NEVER`` turns them off.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._destinations: dict[str, Destination] = {}
        self._store_away_since: datetime | None = None
        self.changed = asyncio.Event()

    def heard_of_store(self, fault: str) -> None:
        """Note whether the state store can be written: what keeps it from that, or nothing."""
        since = self._store_away_since
        if bool(fault) == self.store_is_away:
            return
        now = datetime.now(UTC)
        if since is None:
            self._store_away_since = now
            log.warning(LogEvent.OUTAGE_OPENED, destination=_STORE, reason=fault)
        else:
            self._store_away_since = None
            away = round((now - since).total_seconds(), 1)
            log.info(LogEvent.OUTAGE_CLOSED, destination=_STORE, away_seconds=away)
        self.changed.set()

    @property
    def store_is_away(self) -> bool:
        """Whether the state store failed when it was tried last."""
        return self._store_away_since is not None

    def of(self, partner: str, account: str) -> Destination:
        """Return the destination, the same one each time."""
        name = f"{partner}:{account}"
        if name not in self._destinations:
            self._destinations[name] = Destination(name, self._thresholds, self.changed.set)
        return self._destinations[name]

    def described(self) -> dict[str, str]:
        """Say of each that is away since when, by name."""
        found = {name: text for name, one in self._destinations.items() if (text := one.describe())}
        if self._store_away_since is not None:
            found[_STORE] = f"paused: the state store is away since {utc_text(self._store_away_since)}"
        return found

    def due_in(self) -> timedelta | None:
        """Return when the next probe may go, if one waits for its time."""
        waits = [left for one in self._destinations.values() if (left := one.breaker.probes_in) is not None]
        return min(waits, default=None)

    async def close(self) -> None:
        """Nothing to close: it lives as long as the clients whose calls it watches."""


def width_of(destinations: Sequence[Destination]) -> int | None:
    """Return how many deliveries of a queue may be at work: all, unless each destination lets only so many through."""
    widths = [one.breaker.width for one in destinations]
    limited = [width for width in widths if width is not None]
    return sum(limited) if widths and len(limited) == len(widths) else None


async def regulate(outages: Outages, queues: Mapping[str, Sequence[Destination]], narrow: Narrow) -> None:
    """Have each queue consumed as widely as its destinations and the state store allow, until cancelled.

    Args:
        outages: tells of changes.
        queues: those whom the work of a queue is for, by its name.
        narrow: makes it so.
    """
    while True:
        outages.changed.clear()
        away = outages.store_is_away
        widths = {queue: 0 if away else width_of(those) for queue, those in queues.items()}
        for queue, width in widths.items():
            # With the probes: a consumer for one delivery now and then is none that keeps up.
            QUEUE_HELD.labels(queue).set(width is not None)
        await asyncio.gather(*(narrow(queue, width) for queue, width in widths.items()))
        due = outages.due_in()
        try:
            # A breath longer: a timer may go off a moment early.
            async with asyncio.timeout(None if due is None else due.total_seconds() + 0.01):
                await outages.changed.wait()
        except TimeoutError:
            continue
