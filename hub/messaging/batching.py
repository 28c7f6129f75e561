"""Many deliveries, one partner call (EIP Aggregator): makes a ``Handler`` of a ``BatchHandler``.

Each delivery keeps a task, an outcome and a settlement of its own; here they only wait for each other. One batch is on
its way at a time, and the next gathers meanwhile: it goes when it is full or when its first event has waited long
enough. A batch that fails as a whole is taken apart: each event is tried alone, so that one bad event does not sink the
rest.

Partner accounts that could hold each other up have a ``Batching`` of their own; ``ByAccount`` is the fork in front of
them (EIP Content-Based Router). They share the deliveries of a queue, so behind an account that hangs nobody waits for
long: its deliveries are parked, and make room for those of the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from hub.errors import Busy, HubError, PermanentError
from hub.messaging.dispatch import guarded
from hub.messaging.handler import BatchHandler, Context, Handler
from hub.messaging.outcome import Outcome
from hub.models.events import AnyEvent
from hub.observability import tracing
from hub.observability.metrics import BATCHES


def _one(_: AnyEvent) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch goes, and how much may wait for it."""

    size: int
    """Records of one call: so many make a batch full."""
    within: timedelta
    """How long the first event of a batch waits for others."""
    calls: int = 1
    """How many full calls one batch may hold."""
    room: int | None = None
    """Records that may be here at once; None: as many as deliveries bring. What is more is parked."""
    patience: timedelta | None = None
    """After so long a batch on its way is one that hangs, and who waits behind it is parked; None: never."""


@dataclass(slots=True)
class _Waiting:
    event: AnyEvent
    context: Context
    records: int
    since: float
    outcome: asyncio.Future[Outcome]
    traceparent: str = field(default_factory=tracing.traceparent)


class Batching:
    """Collects events for a batch handler.

    Args:
        handler: handles a batch; one outcome for each event, in their order.
        limits: of a batch.
        records: how many records of a call an event may come to.
    """

    def __init__(
        self,
        handler: BatchHandler[AnyEvent],
        limits: Limits,
        *,
        records: Callable[[AnyEvent], int] = _one,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._records = records
        self._waiting: deque[_Waiting] = deque()
        # Of those that wait, and of all whose outcome is still to come.
        self._gathered = 0
        self._here = 0
        self._timer: asyncio.TimerHandle | None = None
        self._flight: asyncio.Task[None] | None = None
        self._hangs = False

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Return the event's own outcome once its batch has been handled.

        Raises:
            Busy: the batch before hangs, or there is no room; nothing was done.
            HubError: the event failed, alone where a batch was refused.
        """
        records = self._records(event)
        self._refuse_if_busy(records)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(event, context, records, loop.time(), loop.create_future())
        self._waiting.append(waiting)
        self._gathered += records
        self._here += records
        self._look()
        try:
            return await waiting.outcome
        finally:
            self._here -= records

    def _refuse_if_busy(self, records: int) -> None:
        room = self._limits.room
        if self._hangs:
            raise self._busy()
        # An event alone is let in however long it is.
        if room is not None and self._here and self._here + records > room:
            raise Busy(
                f"{self._here} records wait for their call, {room} at most", retry_after=self._limits.within
            )

    def _busy(self) -> Busy:
        # One error object raised in many tasks would collect the tracebacks of all of them.
        patience = self._limits.patience or timedelta()
        return Busy(
            f"the batch before has been on its way for more than {patience.total_seconds():g} s",
            retry_after=patience,
        )

    # --- when a batch goes

    def _look(self) -> None:
        """Send a batch off if one is full or late and none is on its way; else look again when it will be late."""
        self._forget_given_up()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flight is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        late_at = self._waiting[0].since + self._limits.within.total_seconds()
        if self._gathered >= self._limits.size:
            # Whole calls only: what is over begins the next batch.
            calls = min(self._gathered // self._limits.size, self._limits.calls)
            self._go(calls * self._limits.size, because="full")
        elif loop.time() >= late_at:
            self._go(self._limits.size, because="late")
        else:
            self._timer = loop.call_at(late_at, self._look)

    def _forget_given_up(self) -> None:
        while self._waiting and self._waiting[0].outcome.done():
            self._gathered -= self._waiting.popleft().records

    def _go(self, most: int, *, because: str) -> None:
        batch: list[_Waiting] = []
        taken = 0
        while self._waiting and (not batch or taken + self._waiting[0].records <= most):
            item = self._waiting.popleft()
            self._gathered -= item.records
            if not item.outcome.done():
                batch.append(item)
                taken += item.records
        BATCHES.labels(batch[0].context.consumer, because).inc()
        # A task of its own: a delivery that is given up does not take the others along.
        self._flight = asyncio.create_task(self._fly(batch), name=f"batch of {len(batch)}")

    # --- a batch on its way

    async def _fly(self, batch: Sequence[_Waiting]) -> None:
        patience = self._limits.patience
        alarm = (
            None
            if patience is None
            else asyncio.get_running_loop().call_later(patience.total_seconds(), self._part)
        )
        try:
            await self._handle(batch)
        finally:
            if alarm is not None:
                alarm.cancel()
            self._hangs = False
            self._flight = None
        self._look()

    def _part(self) -> None:
        """Release those that wait behind a batch that hangs."""
        self._hangs = True
        for item in self._waiting:
            if not item.outcome.done():
                item.outcome.set_exception(self._busy())
        self._waiting.clear()
        self._gathered = 0

    async def _handle(self, batch: Sequence[_Waiting]) -> None:
        try:
            with tracing.process_batch(batch[0].context.consumer, [item.traceparent for item in batch]):
                outcomes = await guarded(self._outcomes(batch), "a batch")
        except PermanentError as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for item in batch:
                    await self._handle([item])
        except HubError as error:
            _fail(batch, error)
        else:
            for item, outcome in zip(batch, outcomes, strict=True):
                if not item.outcome.done():
                    item.outcome.set_result(outcome)

    async def _outcomes(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        outcomes = await self._handler([(item.event, item.context) for item in batch])
        if len(outcomes) != len(batch):
            raise ValueError(f"expected {len(batch)} outcomes, got {len(outcomes)}")
        return outcomes


class ByAccount:
    """Hands each event to the batches of its account.

    Args:
        account_of: tells the account of an event.
        batches: by account.
        otherwise: takes the events of no such account, one by one.
    """

    def __init__(
        self,
        account_of: Callable[[AnyEvent], str],
        batches: Mapping[str, Handler[AnyEvent]],
        otherwise: BatchHandler[AnyEvent],
    ) -> None:
        self._account_of = account_of
        self._batches = batches
        self._otherwise = otherwise

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Return the event's outcome; raises what its batch raises."""
        batching = self._batches.get(self._account_of(event))
        if batching is not None:
            return await batching(event, context)
        (outcome,) = await self._otherwise([(event, context)])
        return outcome


def _fail(batch: Sequence[_Waiting], error: HubError) -> None:
    for item in batch:
        if not item.outcome.done():
            item.outcome.set_exception(error)
