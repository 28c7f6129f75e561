"""The supervisor: owns connections, channels and consumers, and rebuilds all of them from scratch.

    connect (publish) - connect (consume) - declare - open consumers - up ... something is lost - close all - wait - again

Nothing that closes is repaired in place: a connection, a channel, a consumer that the broker cancelled ends the session,
and the next one begins from nothing. (A publish channel that is open and refuses is replaced: ``publish_channel``.)
Publishing has a connection of its own, since a broker in need of memory blocks publishing connections and acks must still
get through. Handlers are not run here, so nothing of theirs is cancelled when a session ends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial

from aio_pika.abc import AbstractChannel, AbstractConnection

from hub.amqp.connection.connection import CLOSE_SECONDS, STEP_SECONDS, close, connect
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.connection.refusal import LoneChannel
from hub.amqp.in_hand import IN_HAND
from hub.amqp.receiving.ack_batcher import AckBatcher
from hub.amqp.receiving.delivery import Delivery
from hub.amqp.receiving.queue_subscription import Tap
from hub.amqp.sending.publish_channel import PublishChannel
from hub.amqp.topology.cluster_check import refuse_part_of_a_cluster
from hub.amqp.topology.declare import declare
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, TopologyDrift
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import BROKER_UP, RECONNECTS
from hub.topology import Topology

# Between two looks at what is missing, while messages find no queue.
_DECLARE_AGAIN_SECONDS = 5.0

OnDelivery = Callable[[Delivery], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A queue to consume from; ``on_delivery`` is called for each delivery and must neither block nor raise."""

    queue: str
    prefetch: int
    on_delivery: OnDelivery


class Supervisor:
    """Keeps one process connected to the broker."""

    def __init__(self, settings: Broker, topology: Topology, *, name: str = "hub") -> None:
        self._settings = settings
        self._topology = topology
        self._name = name
        self._subscriptions: list[Subscription] = []
        self._up = asyncio.Event()
        self._can_publish = asyncio.Event()
        self._consuming = False
        self._stopping = False
        self._lost: asyncio.Future[str] | None = None
        self._publishing: AbstractConnection | None = None
        self._publish_channel: PublishChannel | None = None
        self._taps: dict[str, Tap] = {}
        # How many deliveries at once where that is less than the prefetch, over all sessions.
        self._widths: dict[str, int] = {}
        self._declaring: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[bool] | None = None
        self.lone = LoneChannel(settings, name=name)
        self.last_error = "not connected yet"

    def subscribe(self, subscription: Subscription) -> None:
        """Consume from a queue in every session from the next one on."""
        self._subscriptions.append(subscription)

    @property
    def is_up(self) -> bool:
        """Whether a session is complete: connected, declared, all consumers open."""
        return self._up.is_set()

    async def wait_until_up(self) -> None:
        """Wait for a complete session; the caller bounds the time."""
        await self._up.wait()

    async def publish_channel(self) -> AbstractChannel:
        """Return the channel to publish on, waiting for a session; the caller bounds the time."""
        while True:
            await self._can_publish.wait()
            if self._publish_channel is not None and (channel := self._publish_channel.channel) is not None:
                return channel
            if self._publish_channel is None or not self._publish_channel.is_renewed:
                # The session is ending: its loss is being handled; look again once it has been noticed.
                self._give_up("publish channel closed")
            await asyncio.sleep(0.01)

    def refused(self, channel: AbstractChannel) -> None:
        """Open another publish channel soon, since the broker has refused a message on this one."""
        if self._publish_channel is not None:
            self._publish_channel.refused(channel)

    def look_at_topology(self, found: str = "a message found no queue") -> bool:
        """Declare the map again soon, since something is missing; at most every few seconds.

        Args:
            found: says in the log what is missing.

        Returns:
            Whether it is done now; otherwise it was done a few seconds ago, there is no session, or the settings
            leave it to a person.
        """
        if not self._settings.repair:
            return False
        if self._publishing is None or not (self._declaring is None or self._declaring.done()):
            return False
        self._declaring = asyncio.create_task(self._declare_again(self._publishing, found), context=Context())
        return True

    async def _declare_again(self, connection: AbstractConnection, found: str) -> None:
        try:
            with translate_connection_cancel():
                async with asyncio.timeout(STEP_SECONDS):
                    await declare(connection, self._topology)
        except (*LOST, BrokerUnavailable, TopologyDrift) as error:
            log.warning(LogEvent.TOPOLOGY_DECLARED, reason=f"{found}; not all could be declared: {error}")
        else:
            log.warning(LogEvent.TOPOLOGY_DECLARED, reason=f"{found}; what was missing is declared again")
        await asyncio.sleep(_DECLARE_AGAIN_SECONDS)

    async def side_channel(self) -> AbstractChannel:
        """Open a channel beside those of publishing and consuming, for what may break it; the caller closes it.

        Raises:
            BrokerUnavailable: there is no session.
        """
        if self._publishing is None or not self.is_up:
            raise BrokerUnavailable(f"not connected: {self.last_error}")
        return await self._publishing.channel(publisher_confirms=False)

    async def run(self) -> None:
        """Keep a session up until cancelled.

        Raises:
            TopologyDrift: the broker differs from the map in a way that declaring cannot mend.
            ConfigError: the broker is too old.
        """
        failures = 0
        try:
            while True:
                try:
                    with translate_connection_cancel():
                        was_of_use = await self._session()
                    failures = 1 if was_of_use else failures + 1
                except (*LOST, BrokerUnavailable) as error:
                    # Our own sentence says what to do, and is not cut.
                    own = isinstance(error, BrokerUnavailable)
                    self.last_error = str(error) if own else describe(error)
                    failures += 1
                BROKER_UP.set(0)
                wait = self._backoff(failures)
                log.warning(
                    LogEvent.BROKER_LOST,
                    who=self._name,
                    reason=self.last_error,
                    again_in_seconds=round(wait, 2),
                )
                _raise_if_cancelled()
                await asyncio.sleep(wait)
                RECONNECTS.inc()
        finally:
            BROKER_UP.set(0)
            for beside in (self._declaring, self._looking):
                if beside is not None:
                    beside.cancel()

    async def stop_consuming(self) -> None:
        """Take no new deliveries, also in a session that is being built; those unacked stay ours until it ends."""
        self._stopping = True

        async def cancel(queue: str, tap: Tap) -> None:
            with suppress(*LOST, BrokerUnavailable), translate_connection_cancel():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await tap.turn(partial(self._width, queue))

        await asyncio.gather(*(cancel(queue, tap) for queue, tap in self._taps.items()))

    async def narrow(self, queue: str, width: int | None) -> None:
        """Consume a queue with so many deliveries at once: 0 none, None its prefetch; holds for later sessions too.

        What was delivered before stays at work and does not count. A session that is lost meanwhile is its own matter.
        """
        if width is None:
            self._widths.pop(queue, None)
        else:
            self._widths[queue] = width
        tap = self._taps.get(queue)
        if tap is None:
            return
        try:
            with translate_connection_cancel():
                async with IN_HAND.patience(CLOSE_SECONDS):
                    await tap.turn(partial(self._width, queue))
        except (*LOST, BrokerUnavailable) as error:
            # Whether there is a consumer now is not known, so all begin anew.
            self._give_up(f"consumer of {queue}: {describe(error)}")

    def _width(self, queue: str) -> int | None:
        return 0 if self._stopping else self._widths.get(queue)

    async def consumers_listed(self) -> bool:
        """Ask the broker whether it lists our consumers: every queue of ours has at least one, on an open channel.

        A queue that is not consumed on purpose is none of them.
        """
        if not self.is_up or not self._taps:
            return self.is_up
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._all_listed(), context=Context())
        # Not cancelled when it takes longer: the client library would close the channel that the question is on.
        looking = self._looking
        await asyncio.wait([looking], timeout=CLOSE_SECONDS)
        if looking.done():
            return not looking.cancelled() and looking.result()
        # The answer may stand behind large bodies that are not read yet.
        return IN_HAND.is_full

    async def _all_listed(self) -> bool:
        try:
            with translate_connection_cancel():
                async with IN_HAND.patience(CLOSE_SECONDS):
                    for tap in tuple(self._taps.values()):
                        if not await tap.is_as_wanted():
                            return False
        except (*LOST, BrokerUnavailable):
            return False
        return True

    def _backoff(self, failures: int) -> float:
        first = self._settings.reconnect_after.total_seconds()
        longest = self._settings.reconnect_at_most.total_seconds()
        wait: float = min(first * 2.0 ** min(max(failures - 1, 0), 16), longest)
        return wait * random.uniform(0.8, 1.2)

    async def _session(self) -> bool:
        """Live through one session; returns once it is lost, and whether it was of use: it settled something, or lasted."""
        clock = asyncio.get_running_loop()
        self._lost = asyncio.get_running_loop().create_future()
        self._taps.clear()
        async with AsyncExitStack() as stack:
            async with IN_HAND.patience(STEP_SECONDS):
                publishing = await self._connect(stack, "publish")
                consuming = await self._connect(stack, "consume") if self._subscriptions else publishing
                await refuse_part_of_a_cluster(publishing, self._settings, self._topology)
                await declare(publishing, self._topology)
                self._publish_channel = PublishChannel(publishing, self._give_up)
                stack.push_async_callback(self._publish_channel.close)
                await self._publish_channel.open()
                # Before all consumers are open: what they bring makes room for the answers of the others by being settled.
                stack.callback(self._can_publish.clear)
                self._can_publish.set()
                every = []
                for subscription in self._subscriptions:
                    every.append(await self._consume(consuming, subscription))
                    stack.push_async_callback(_flush_acks, every[-1])
            _raise_if_cancelled()
            self._publishing = publishing
            stack.callback(self._down)
            self._up.set()
            BROKER_UP.set(1)
            log.info(
                LogEvent.BROKER_CONNECTED, who=self._name, queues=[item.queue for item in self._subscriptions]
            )
            begun = clock.time()
            self.last_error = await self._lost
            lasted = clock.time() - begun >= self._settings.reconnect_at_most.total_seconds()
            return lasted or any(acks.any for acks in every)

    def _down(self) -> None:
        self._up.clear()
        self._publishing = self._publish_channel = None
        self._taps.clear()

    async def _connect(self, stack: AsyncExitStack, purpose: str) -> AbstractConnection:
        connection = await connect(self._settings, name=f"{self._name} {purpose}")
        stack.push_async_callback(close, connection)
        connection.close_callbacks.add(
            lambda _, error: self._give_up(f"{purpose} connection: {describe(error)}")
        )
        return connection

    async def _consume(self, connection: AbstractConnection, subscription: Subscription) -> AckBatcher:
        channel = await connection.channel(publisher_confirms=False)
        self._watch(channel, f"channel of {subscription.queue}")
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(
            lambda _: self._give_up(f"the broker cancelled the consumer of {subscription.queue}")
        )
        queue, acks = subscription.queue, AckBatcher(underlay)
        tap = Tap(
            channel,
            queue,
            subscription.prefetch,
            lambda delivered: subscription.on_delivery(Delivery(delivered, queue, acks)),
        )
        # Before it is opened: what changes meanwhile finds it.
        self._taps[queue] = tap
        await tap.turn(partial(self._width, queue))
        return acks

    def _watch(self, channel: AbstractChannel, what: str) -> None:
        channel.close_callbacks.add(lambda _, error: self._give_up(f"{what}: {describe(error)}"))

    def _give_up(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._up.clear()
            self._can_publish.clear()
            self._lost.set_result(reason)


async def _flush_acks(acks: AckBatcher) -> None:
    """Send the last acks before their connection is closed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await acks.told()


def _raise_if_cancelled() -> None:
    """End a task that was cancelled and does not know it.

    Up to Python 3.11 ``asyncio.wait_for``, which the client connects with, swallows a cancel that comes in the same
    turn of the loop as the answer; whatever waits without end after that would wait for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
