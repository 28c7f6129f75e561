"""How full the queues are: every process looks at all queues of the map now and then, for its metrics.

All of them and not only its own: so the producers' process tells that the consumers' queues have no consumer, and one
look by passive declaring costs the broker less than one delivery. What is missing is declared again. Whoever is cut off
from the broker tells nothing, and not what was true before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from hub.amqp.connection.errors import LOST
from hub.amqp.supervisor import Supervisor
from hub.amqp.topology.declare import bind
from hub.errors import BrokerUnavailable
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import QUEUE_CONSUMERS, QUEUE_MESSAGES
from hub.topology import INSTALLATION, UNROUTABLE, WAIT_PREFIX, Topology

# Seconds between looks: as often as Prometheus usually asks.
EVERY_SECONDS = 15.0
# Seconds that one look may take, and closing its channel: on a connection that is going away either may never answer.
_LOOK_SECONDS = 3.0
_CLOSE_SECONDS = 1.0


class QueueSampler:
    """Keeps ``hub_queue_messages`` and ``hub_queue_consumers`` as young as ``every`` seconds."""

    def __init__(
        self,
        supervisor: Supervisor,
        topology: Topology,
        *,
        orphans: Sequence[str] = (),
        repair: bool = True,
        every: float = EVERY_SECONDS,
    ) -> None:
        self._supervisor = supervisor
        self._topology = topology
        self._repair = repair
        self._orphans = frozenset(orphans)
        self._kinds = {
            queue.name: _kind(queue.name) for queue in topology.queues if queue.name != INSTALLATION
        }
        self._kinds |= {work.dead: "dead" for work in topology.work_queues}
        self._kinds |= {name: "dead" if name.endswith(".dead") else _kind(name) for name in orphans}
        self._every = every
        self._exchanges = tuple(exchange.name for exchange in topology.exchanges)
        # What the last look has not found, so that it is declared again and logged once.
        self._missing: frozenset[str] = frozenset()
        self._not_found: set[str] = set()

    @property
    def missing(self) -> Sequence[str]:
        """What of the topology the last look did not find on the broker."""
        return sorted(self._not_found)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        await self._supervisor.wait_until_up()
        while True:
            # A task of its own: a connection that goes away cancels what waits on it.
            looking = asyncio.create_task(self._look(), name="look at queues")
            try:
                await asyncio.wait([looking])
            finally:
                looking.cancel()
            if looking.cancelled() or _is_lost(looking.exception()):
                QUEUE_MESSAGES.clear()
                QUEUE_CONSUMERS.clear()
            await asyncio.sleep(self._every)

    async def _look(self) -> None:
        async with asyncio.timeout(_LOOK_SECONDS):
            channel = await self._supervisor.side_channel()
        try:
            before, self._not_found = self._not_found, set()
            async with asyncio.timeout(_LOOK_SECONDS):
                for queue, kind in self._kinds.items():
                    channel = await self._look_at(channel, queue, kind)
                for exchange in self._exchanges:
                    channel = await self._look_for(channel, exchange)
            self._declare_what_is_missing()
            if self._repair and not self._not_found and not before:
                await self._bind_again(channel)
        finally:
            if not channel.is_closed:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await channel.close()

    async def _look_at(self, channel: AbstractChannel, queue: str, kind: str) -> AbstractChannel:
        """Look at one queue; return the channel to go on with, since one that is missing closes it."""
        is_orphan = queue in self._orphans
        labels = (queue, kind, "true" if is_orphan else "false")
        try:
            found = (await channel.declare_queue(queue, passive=True)).declaration_result
        except ChannelNotFoundEntity:
            for gauge, names in ((QUEUE_MESSAGES, labels), (QUEUE_CONSUMERS, (queue,))):
                with suppress(KeyError):
                    gauge.remove(*names)
            if not is_orphan:
                self._not_found.add(f"queue {queue}")
            return await self._supervisor.side_channel()
        if is_orphan and found.consumer_count:
            # Another process has other settings, and works on it.
            with suppress(KeyError):
                QUEUE_MESSAGES.remove(*labels)
            return channel
        QUEUE_MESSAGES.labels(*labels).set(found.message_count or 0)
        if kind == "work" and not is_orphan:
            QUEUE_CONSUMERS.labels(queue).set(found.consumer_count or 0)
        return channel

    async def _look_for(self, channel: AbstractChannel, exchange: str) -> AbstractChannel:
        """Look for an exchange; return the channel to go on with."""
        try:
            await channel.declare_exchange(exchange, passive=True)
        except ChannelNotFoundEntity:
            self._not_found.add(f"exchange {exchange}")
            return await self._supervisor.side_channel()
        return channel

    async def _bind_again(self, channel: AbstractChannel) -> None:
        """Make every binding once more: AMQP cannot say which is missing, and one that is there stays as it is."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await bind(channel, self._topology)
        except ChannelAccessRefused as error:
            # Said once: a user who may not bind will not be asked to again.
            self._repair = False
            log.warning(LogEvent.TOPOLOGY_DECLARED, reason=f"bindings are not looked after: {error}")

    def _declare_what_is_missing(self) -> None:
        missing = frozenset(self._not_found)
        is_new = bool(missing - self._missing)
        if is_new and not self._repair:
            log.warning(
                LogEvent.TOPOLOGY_MISSING,
                missing=sorted(missing),
                reason="broker.repair is off; hub topology apply",
            )
        elif is_new and not self._supervisor.look_at_topology(f"missing: {', '.join(sorted(missing))}"):
            # The next look says it again.
            missing &= self._missing
        self._missing = missing


def _is_lost(error: BaseException | None) -> bool:
    """Whether the look failed for want of a broker; any other error is a fault of ours and is raised."""
    # The client fails a call under way with a bare Exception when the connection is closed from this side.
    if error is None or isinstance(error, (*LOST, BrokerUnavailable)) or type(error) is Exception:
        return error is not None
    raise error


def _kind(queue: str) -> str:
    if queue == UNROUTABLE:
        return "unroutable"
    return "wait" if queue.startswith(WAIT_PREFIX) else "work"
