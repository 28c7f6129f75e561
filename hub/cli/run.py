"""``hub run``, and the composition root: the one place where settings become real objects.

settings -> state store -> supervisor -> publisher, settler -> consumers, pollers -> health
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from consumers.guarded import outages_of
from hub import tracing
from hub.amqp.connection import LOST, Subscription, Supervisor, close, connect, describe, not_a_shutdown
from hub.amqp.consume import Consumer
from hub.amqp.declare import any_is_there
from hub.amqp.publisher import AmqpPublisher
from hub.amqp.sample import QueueSampler
from hub.amqp.settle import Settler
from hub.cli.flows import Flows, choose, topology_of
from hub.config import Settings, load
from hub.config_values import remember_secrets, shown_url
from hub.errors import BrokerUnavailable, ConfigError, StoreUnavailable
from hub.health import Check, answering
from hub.lifecycle import Resources, Stop, first_to_end
from hub.messaging.dispatch import Route
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outage import Destination, Outages, regulate
from hub.messaging.outcome import Outcome
from hub.messaging.poll_loop import PollLoop
from hub.messaging.polling import take_in_again
from hub.messaging.retry import RetryPolicy
from hub.messaging.timeline import TimelineWriter
from hub.metrics import OLDEST_DELIVERY, expect_queue
from hub.state.holder import this_process
from hub.state.presence import Presence
from hub.state.sql import SqlStore, open_store
from hub.state.stores import Store
from hub.telemetry import LogEvent, log, set_up_logging
from hub.topology import Topology
from hub.uncaught import in_loop
from producers.flow import ProducerFlow

# Between looks at a state store that is not there yet.
_STORE_AGAIN_SECONDS = 2.0
_DAY_SECONDS = 86_400.0
# How long the look at the broker's queues may take at start.
_LOOK_SECONDS = 15.0
# How long a stop waits for the last spans to reach the collector.
_FLUSH = timedelta(seconds=3)
# Where the store keeps that this installation has begun, so that a lost store is not taken for a new one.
_INSTALLATION = ("hub", "installation")


def run(
    names: Annotated[
        list[str] | None, typer.Argument(help="producers, consumers, or names of flows; none: everything.")
    ] = None,
    accept_empty_state: Annotated[
        bool, typer.Option(help="Start with an empty state store although the broker has hub queues.")
    ] = False,
) -> None:
    """Run the long-lived service until SIGINT or SIGTERM."""
    settings = load()
    if settings.broker.url is None:
        raise ConfigError("broker.url: expected an amqp:// address, got none; hub up starts a private broker")
    set_up_logging(settings.log.format, settings.log.level)
    flows = choose(names or (), settings)

    async def main() -> bool:
        stop = Stop()
        with stop.on_signals():
            await serve(settings, flows, stop, accept_empty_state=accept_empty_state)
        return stop.by_signal is not None and stop.by_signal.name == "SIGINT"

    if asyncio.run(main()):
        raise typer.Exit(130)


@dataclass(slots=True)
class Vitals:
    """What the checks look at; filled while the process starts."""

    store: SqlStore | None = None
    store_fault: str = "not opened yet"
    supervisor: Supervisor | None = None
    broker_fault: str = "not connected yet"
    outages: Outages | None = None
    loops: Sequence[PollLoop] = ()

    def checks(self) -> dict[str, Check]:
        """Give the readiness checks."""
        return {"state_store": self._check_store, "broker": self._check_broker}

    def notes(self) -> dict[str, str]:
        """Say which destinations are away, and that their work waits."""
        return self.outages.described() if self.outages is not None else {}

    def pollers(self) -> dict[str, str]:
        """Give what each poller does in this process."""
        return {loop.poller.name: loop.standing for loop in self.loops}

    async def _check_store(self) -> str | None:
        if self.store is None:
            return self.store_fault
        try:
            await self.store.check()
        except StoreUnavailable as error:
            return str(error)
        return None

    async def _check_broker(self) -> str | None:
        if self.supervisor is None:
            return self.broker_fault
        if not self.supervisor.is_up:
            return f"not connected: {self.supervisor.last_error}"
        return (
            None if await self.supervisor.consumers_listed() else "the broker does not list all our consumers"
        )


@dataclass(slots=True)
class Parts:
    """The real objects of a running process."""

    store: Store
    supervisor: Supervisor
    publisher: AmqpPublisher
    timeline: TimelineWriter
    sampler: QueueSampler
    outages: Outages
    presence: Presence
    consumers: list[Consumer] = field(default_factory=list)
    loops: list[PollLoop] = field(default_factory=list)
    calls: dict[str, tuple[Destination, ...]] = field(default_factory=dict)
    """Whom the work of each queue is for, where that may be away."""


async def serve(
    settings: Settings,
    flows: Flows,
    stop: Stop,
    *,
    accept_empty_state: bool = False,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Run the flows until ``stop``, then drain.

    Args:
        settings: with a broker URL.
        flows: what to run.
        stop: asks for the end.
        accept_empty_state: begin anew although the broker has queues of the hub.
        on_ready: called with the health port once everything runs.

    Raises:
        TopologyDrift: the broker differs from the map.
        ConfigError: the state store is empty but the broker is not.
    """
    vitals = Vitals()
    # Once more: `hub up` adds the address of a private broker to what was read.
    remember_secrets(settings)
    asyncio.get_running_loop().set_exception_handler(in_loop)
    log.info(LogEvent.STARTING, flows=sorted(flows.names))
    host, port = settings.http.host, settings.http.port
    async with (
        _tracing(settings),
        answering(host, port, vitals.checks(), vitals.notes, pollers=vitals.pollers) as port,
    ):
        opened = asyncio.ensure_future(_open_store(settings, vitals))
        await first_to_end(asyncio.shield(opened), stop.wait())
        if stop.asked:
            opened.cancel()
            return
        async with _resources(settings, opened.result()) as resources:
            topology = topology_of(settings)
            await first_to_end(
                _refuse_lost_state(resources, topology, vitals, accept=accept_empty_state), stop.wait()
            )
            if not stop.asked:
                parts = _assemble(resources, flows, topology)
                vitals.supervisor, vitals.outages = parts.supervisor, parts.outages
                vitals.loops = parts.loops
                await _live(parts, stop, port, settings, on_ready)
    log.info(LogEvent.STOPPED)


@asynccontextmanager
async def _tracing(settings: Settings) -> AsyncIterator[None]:
    """Trace while the context lasts, if there is a collector; its library is imported only then."""
    if not settings.telemetry.otlp_endpoint:
        yield
        return
    from hub import otlp

    def changed(works: bool) -> None:
        if works:
            log.info(LogEvent.TRACES_SENT)
        else:
            log.warning(LogEvent.TRACES_LOST, reason="the collector does not take them; deliveries go on")

    tracer, provider = otlp.tracer(
        settings.telemetry.otlp_endpoint,
        sample_ratio=settings.telemetry.sample_ratio,
        instance=this_process(),
        on_change=changed,
    )
    tracing.begin(tracer)
    try:
        yield
    finally:
        tracing.end()
        await otlp.flush(provider, _FLUSH)


async def _open_store(settings: Settings, vitals: Vitals) -> SqlStore:
    while True:
        try:
            vitals.store = await open_store(settings.state.url, busy_timeout=settings.state.busy_timeout)
        except StoreUnavailable as error:
            vitals.store_fault = str(error)
            log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
            await asyncio.sleep(_STORE_AGAIN_SECONDS)
        else:
            return vitals.store


@asynccontextmanager
async def _resources(settings: Settings, store: SqlStore) -> AsyncIterator[Resources]:
    resources = Resources(settings, store, this_process())
    try:
        yield resources
    finally:
        await resources.close()
        await store.close()


async def _refuse_lost_state(
    resources: Resources, topology: Topology, vitals: Vitals, *, accept: bool
) -> None:
    """Refuse to begin with an empty ledger on a broker that has seen the hub: recorded effects would be sent again."""
    store = resources.store
    while True:
        try:
            if await store.told(*_INSTALLATION) is None:
                if not accept and not await store.is_empty():
                    accept = True
                if (
                    not accept
                    and await _broker_knows_the_hub(resources.settings, topology)
                    # Not by a replica that began in between: it told the store first.
                    and await store.told(*_INSTALLATION) is None
                ):
                    raise ConfigError(
                        f"the state store {shown_url(resources.settings.state.url)} is empty, but the broker has"
                        " queues of the hub. If the store was lost, restore its backup: without it every recorded effect"
                        " would be sent again. If this is a new installation, start with --accept-empty-state once"
                    )
                await store.tell(*_INSTALLATION, {"begun_by": resources.holder})
        except (BrokerUnavailable, StoreUnavailable) as error:
            vitals.broker_fault = str(error)
            log.warning(LogEvent.WAITING_FOR, what="broker and state store", reason=str(error))
            await asyncio.sleep(resources.settings.broker.reconnect_after.total_seconds())
        else:
            return


async def _broker_knows_the_hub(settings: Settings, topology: Topology) -> bool:
    connection = await connect(settings.broker, name="hub start")
    try:
        with not_a_shutdown():
            async with asyncio.timeout(_LOOK_SECONDS):
                return await any_is_there(connection, (work.queue for work in topology.work_queues))
    except LOST as error:
        raise BrokerUnavailable(
            f"expected to see whether the broker knows the hub, got {describe(error)}"
        ) from None
    finally:
        await close(connection)


def _assemble(resources: Resources, flows: Flows, topology: Topology) -> Parts:
    settings = resources.settings
    supervisor = Supervisor(settings.broker, topology)
    publisher = AmqpPublisher(supervisor, timeout=settings.broker.publish_timeout)
    settler = Settler(publisher, policy=RetryPolicy(settings.retry.waits), rungs=topology.rungs)
    parts = Parts(
        resources.store,
        supervisor,
        publisher,
        TimelineWriter(resources.store),
        QueueSampler(supervisor, topology),
        outages_of(resources),
        Presence(resources.store, resources.holder, resources.hang_up),
    )
    routes = [
        (queue, flow.route(queue, resources)) for flow in flows.consumers for queue in flow.queues(settings)
    ]
    routes += [(flow.queue, _again(flow, resources, publisher)) for flow in flows.producers]
    for queue, route in routes:
        consumer = Consumer(route, settler, on_settled=parts.timeline.add)
        parts.consumers.append(consumer)
        expect_queue(queue.queue)
        OLDEST_DELIVERY.labels(queue.queue).set_function(consumer.oldest_seconds)
        prefetch = max(settings.broker.prefetch, route.at_once)
        supervisor.subscribe(Subscription(queue.queue, prefetch, consumer.take))
        if route.calls:
            parts.calls[queue.queue] = route.calls
    for flow in flows.producers:
        parts.loops += [
            PollLoop(
                polling.poller, flow.queue.queue, polling.every, resources.holder, resources.store, publisher
            )
            for polling in flow.pollers(resources)
        ]
    return parts


def _again(flow: ProducerFlow, resources: Resources, publisher: AmqpPublisher) -> Route:
    """Give the route of a producer's own queue: raw entries that come back after a replay."""

    async def take(message: Message, _: Context) -> Outcome:
        item = await flow.again(message, resources.settings)
        return await take_in_again(item, store=resources.store, publisher=publisher)

    return Route(flow.name, None, stored={flow.stored: take})


async def _live(
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
    others = [
        asyncio.create_task(parts.presence.run(), name="presence"),
        asyncio.create_task(parts.timeline.run(), name="timeline"),
        asyncio.create_task(parts.sampler.run(), name="queue sampler"),
        asyncio.create_task(regulate(parts.outages, parts.calls, parts.supervisor.narrow), name="outages"),
        asyncio.create_task(_prune_daily(parts.store, settings.state.keep), name="prune"),
        asyncio.create_task(say_ready(), name="ready"),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    try:
        done, _ = await asyncio.wait({supervising, *polling, others[-1]}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stop()
        log.info(LogEvent.STOPPING)
        await _drain(parts, polling, settings.broker.drain)
        for task in (supervising, *polling, *others):
            task.cancel()
        await asyncio.gather(supervising, *polling, *others, return_exceptions=True)
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
    """Let pollers finish their batch and deliveries in flight end, both within one limit; take nothing new."""
    deadline = time.monotonic() + limit.total_seconds()
    await parts.supervisor.stop_consuming()
    if polling:
        await asyncio.wait(polling, timeout=max(deadline - time.monotonic(), 0))
    remains = timedelta(seconds=max(deadline - time.monotonic(), 0))
    left = sum(await asyncio.gather(*(consumer.drain(remains) for consumer in parts.consumers)))
    if left:
        log.warning(LogEvent.WAITING_FOR, what="deliveries in flight", left_to_the_broker=left)
