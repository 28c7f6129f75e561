"""The composition root: the one place where settings become real objects.

settings -> state store -> supervisor -> publisher, settler -> consumers, pollers -> health
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from consumers.guarded import outages_of
from hub.amqp.copies.large_copies import LargeCopies
from hub.amqp.copies.signature import Signer
from hub.amqp.copies.unsigned import Unsigned
from hub.amqp.diagnostics.queue_metrics import QueueSampler
from hub.amqp.receiving.consumer import Consumer
from hub.amqp.receiving.custody import Custody
from hub.amqp.receiving.settlement import Settler
from hub.amqp.sending.last_resort import RefusedLetters
from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Subscription, Supervisor
from hub.amqp.topology.policies import find_limiting
from hub.config.loading import foreign_variables
from hub.config.settings import Settings
from hub.config.types import remember_secrets
from hub.messaging.dispatch import Route
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Outcome
from hub.messaging.polling.ingest import ingest_replayed
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.resilience.retry import RetryPolicy
from hub.messaging.timeline import TimelineWriter
from hub.messaging.unknown_orders import UnknownOrders
from hub.observability.excepthooks import in_loop
from hub.observability.health import answering
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import IN_FLIGHT, OLDEST_DELIVERY, expect_queue
from hub.process.lifecycle import Resources, Stop, first_to_end
from hub.service.flows import Flows, topology_of
from hub.service.installation import Joined, join_installation
from hub.service.runtime import Parts, live
from hub.service.startup import ReadinessState, StoreFactory, store_opened, traced
from hub.state.heartbeat import Heartbeat
from hub.state.process_identity import this_process
from hub.state.protocols import Store
from hub.state.store import open_store
from hub.topology import Topology
from producers.registration import ProducerFlow


async def serve(
    settings: Settings,
    flows: Flows,
    stop: Stop,
    *,
    accept_empty_state: bool = False,
    on_ready: Callable[[int], None] | None = None,
    opening: StoreFactory = open_store,
) -> None:
    """Run the flows until ``stop``, then drain.

    Args:
        settings: with a broker URL.
        flows: what to run.
        stop: asks for the end.
        accept_empty_state: begin anew although the broker has queues of the hub.
        on_ready: called with the health port once everything runs.
        opening: opens the state store; by default the one in SQL.

    Raises:
        TopologyDrift: the broker differs from the map.
        ConfigError: the state store is empty but the broker is not, or they belong to two installations.
    """
    vitals = ReadinessState()
    # Once more: `hub up` adds the address of a private broker to what was read.
    remember_secrets(settings)
    asyncio.get_running_loop().set_exception_handler(in_loop)
    log.info(LogEvent.STARTING, flows=sorted(flows.names))
    if foreign := foreign_variables(Settings, os.environ):
        log.warning(
            LogEvent.VARIABLES_IGNORED, variables=foreign, reason="they begin like settings and are none"
        )
    host, port = settings.http.host, settings.http.port
    async with (
        traced(settings),
        answering(
            host,
            port,
            vitals.checks(),
            vitals.notes,
            pollers=vitals.pollers,
            metrics=settings.metrics.address,
        ) as port,
    ):
        opened = asyncio.ensure_future(store_opened(settings, vitals, opening))
        await first_to_end(asyncio.shield(opened), stop.wait())
        if stop.asked:
            opened.cancel()
            return
        async with _resources(settings, opened.result()) as resources:
            topology = topology_of(settings)
            joining = asyncio.ensure_future(
                join_installation(resources, topology, vitals, accept=accept_empty_state)
            )
            await first_to_end(joining, stop.wait())
            if not stop.asked:
                await _look_at_policies(settings, topology)
                parts = _assemble(resources, flows, topology, joining.result())
                vitals.supervisor, vitals.outages = parts.supervisor, parts.outages
                vitals.loops = parts.loops
                vitals.sampler = parts.sampler
                await live(parts, stop, port, settings, on_ready)
    log.info(LogEvent.STOPPED)


async def _look_at_policies(settings: Settings, topology: Topology) -> None:
    """Warn of policies that would drop messages; a start takes at most seconds longer by it."""
    found = await find_limiting(settings.broker, topology)
    for limiting in found.limiting:
        log.warning(LogEvent.POLICIES_LIMIT, reason=str(limiting))
    if found.unknown:
        say = log.info if settings.broker.management_url is None else log.warning
        say(LogEvent.POLICIES_UNKNOWN, reason=found.unknown)


@asynccontextmanager
async def _resources(settings: Settings, store: Store) -> AsyncIterator[Resources]:
    resources = Resources(settings, store, this_process())
    try:
        yield resources
    finally:
        await resources.close()
        await store.close()


def _assemble(resources: Resources, flows: Flows, topology: Topology, joined: Joined) -> Parts:
    settings = resources.settings
    signer, unsigned = Signer(joined.signing.key), Unsigned(resources.store, joined.signing)
    supervisor = Supervisor(settings.broker, topology)
    refused = RefusedLetters(resources.store)
    publisher = AmqpPublisher(
        supervisor, timeout=settings.broker.publish_timeout, refused=refused, signer=signer
    )
    copies = AmqpPublisher(supervisor, timeout=None, refused=refused, signer=signer, large=LargeCopies())
    settler = Settler(copies, policy=RetryPolicy(settings.retry.waits), rungs=topology.rungs, signer=signer)
    outages = outages_of(resources)
    presence = Heartbeat(
        resources.store, resources.holder, resources.abort_calls, on_renewal=outages.heard_of_store
    )
    parts = Parts(
        resources.store,
        supervisor,
        publisher,
        TimelineWriter(resources.store),
        QueueSampler(supervisor, topology, orphans=joined.orphans, repair=settings.broker.repair),
        outages,
        presence,
    )
    routes = [
        (queue, flow.route(queue, resources)) for flow in flows.consumers for queue in flow.queues(settings)
    ]
    routes += [(flow.queue, _again(flow, resources, publisher)) for flow in flows.producers]
    custody = parts.custody = Custody(resources.store, resources.holder)
    unknown_orders = UnknownOrders(settings.retry.unknown_order_wait, settings.accounts)
    for queue, route in routes:
        consumer = Consumer(
            route,
            settler,
            types=queue.hears,
            signer=signer,
            unsigned=unsigned,
            on_settled=parts.timeline.add,
            on_store_away=outages.heard_of_store,
            custody=custody,
            unknown_orders=unknown_orders,
        )
        parts.consumers.append(consumer)
        expect_queue(queue.queue)
        IN_FLIGHT.labels(queue.queue).set_function(consumer.in_flight)
        OLDEST_DELIVERY.labels(queue.queue).set_function(consumer.oldest_seconds)
        prefetch = max(settings.broker.prefetch, route.at_once)
        supervisor.subscribe(Subscription(queue.queue, prefetch, consumer.take))
        parts.calls[queue.queue] = route.calls
    for flow in flows.producers:
        parts.loops += [
            PollLoop(
                polling.poller,
                flow.queue.queue,
                polling.every,
                resources.holder,
                resources.store,
                publisher,
                polling.beside,
            )
            for polling in flow.pollers(resources)
        ]
    return parts


def _again(flow: ProducerFlow, resources: Resources, publisher: AmqpPublisher) -> Route:
    """Return the route of a producer's own queue: raw entries that come back after a replay."""

    async def take(message: Message, _: Context) -> Outcome:
        item = await flow.again(message, resources.settings)
        return await ingest_replayed(item, store=resources.store, publisher=publisher)

    return Route(flow.name, None, stored={flow.stored: take})
