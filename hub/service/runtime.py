"""A running hub: its real objects side by side, and their end in order. Put together by ``hub.service.composition``.

pollers, deliveries, what accompanies them  ->  stop: take nothing new - drain within the limit - cancel the rest
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hub.amqp.diagnostics.queue_metrics import QueueSampler
from hub.amqp.receiving.consumer import Consumer
from hub.amqp.receiving.custody import Custody
from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Supervisor
from hub.config.settings import Settings
from hub.errors import StoreUnavailable
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.resilience.outages import Destination, Outages, regulate
from hub.messaging.timeline import TimelineWriter
from hub.observability.logging import LogEvent, log
from hub.process.lifecycle import Stop
from hub.state.heartbeat import Heartbeat
from hub.state.protocols import Store

_DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Parts:
    """The real objects of a running process."""

    store: Store
    supervisor: Supervisor
    publisher: AmqpPublisher
    timeline: TimelineWriter
    sampler: QueueSampler
    outages: Outages
    presence: Heartbeat
    consumers: list[Consumer] = field(default_factory=list)
    loops: list[PollLoop] = field(default_factory=list)
    calls: dict[str, tuple[Destination, ...]] = field(default_factory=dict)
    """Whom the work of each queue is for."""
    custody: Custody | None = None


async def live(
    parts: Parts, stop: Stop, port: int, settings: Settings, on_ready: Callable[[int], None] | None
) -> None:
    """Run until the end is asked for or something that cannot be waited out goes wrong, then stop in order."""

    async def say_ready() -> None:
        await parts.supervisor.wait_until_up()
        log.info(LogEvent.READY, health_port=port)
        if on_ready is not None:
            on_ready(port)

    supervising = asyncio.create_task(parts.supervisor.run(), name="supervisor")
    polling = [asyncio.create_task(loop.run(stop), name=loop.poller.name) for loop in parts.loops]
    # Without these two, queues that are not consumed for a while might stay so.
    vital = [
        asyncio.create_task(parts.presence.run(), name="presence"),
        asyncio.create_task(regulate(parts.outages, parts.calls, parts.supervisor.narrow), name="outages"),
    ]
    others = [
        *vital,
        asyncio.create_task(parts.timeline.run(), name="timeline"),
        asyncio.create_task(parts.sampler.run(), name="queue sampler"),
        asyncio.create_task(_prune_daily(parts.store, settings.state.keep), name="prune"),
        asyncio.create_task(say_ready(), name="ready"),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    try:
        ends = {supervising, *polling, *vital, others[-1]}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stop()
        log.info(LogEvent.STOPPING)
        await _drain(parts, polling, settings.broker.drain)
        for task in (supervising, *polling, *others):
            task.cancel()
        await asyncio.gather(supervising, *polling, *others, return_exceptions=True)
        if parts.custody is not None:
            await parts.custody.end()
        await parts.presence.end()
        await parts.timeline.flush()


async def _prune_daily(store: Store, keep: timedelta) -> None:
    """Remove what is older than ``keep`` now and once a day; the first failure waits for the next day."""
    while keep:
        with suppress(StoreUnavailable):
            removed = await store.prune(datetime.now(UTC) - keep)
            if any(removed.values()):
                log.info(LogEvent.PRUNED, **removed)
        await asyncio.sleep(_DAY_SECONDS)


async def _drain(parts: Parts, polling: Sequence[asyncio.Task[None]], limit: timedelta) -> None:
    """Wait while pollers finish their batch and deliveries in flight end, both within one limit; take nothing new."""
    deadline = time.monotonic() + limit.total_seconds()
    await parts.supervisor.stop_consuming()
    if polling:
        await asyncio.wait(polling, timeout=max(deadline - time.monotonic(), 0))
    remains = timedelta(seconds=max(deadline - time.monotonic(), 0))
    left = sum(await asyncio.gather(*(consumer.drain(remains) for consumer in parts.consumers)))
    if left:
        log.warning(LogEvent.WAITING_FOR, what="deliveries in flight", left_to_the_broker=left)
