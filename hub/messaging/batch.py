"""Many deliveries, one partner call (EIP Aggregator): makes a ``Handler`` of a ``BatchHandler``.

Each delivery keeps a task, an outcome and a settlement of its own; here they only wait for each other. A batch goes when
it is full or when its first event has waited long enough. A batch that fails as a whole is taken apart: each event is
tried alone, so that one bad event does not sink the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hub.errors import HubError, PermanentError
from hub.messaging.dispatch import guarded
from hub.messaging.handler import BatchHandler, Context
from hub.messaging.outcome import Outcome
from hub.models.events import AnyEvent


@dataclass(slots=True)
class _Waiting:
    event: AnyEvent
    context: Context
    outcome: asyncio.Future[Outcome]


class Batching:
    """Collects events for a batch handler.

    Args:
        handler: handles a batch; one outcome for each event, in their order.
        size: events of a full batch.
        within: how long the first event of a batch waits for others.
    """

    def __init__(self, handler: BatchHandler[AnyEvent], *, size: int, within: timedelta) -> None:
        self._handler = handler
        self._size = size
        self._within = within.total_seconds()
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        """Give the event's own outcome once its batch has been handled.

        Raises:
            HubError: the event failed, alone where a batch was refused.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(event, context, loop.create_future())
        self._waiting.append(waiting)
        if len(self._waiting) >= self._size:
            self._go()
        elif self._timer is None:
            self._timer = loop.call_later(self._within, self._go)
        return await waiting.outcome

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = [item for item in self._waiting if not item.outcome.done()], []
        if batch:
            task = asyncio.create_task(self._handle(batch), name=f"batch of {len(batch)}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, batch: Sequence[_Waiting]) -> None:
        """Handle a batch in a task of its own: a delivery that is given up does not take the others along."""
        try:
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


def _fail(batch: Sequence[_Waiting], error: HubError) -> None:
    for item in batch:
        if not item.outcome.done():
            item.outcome.set_exception(error)
