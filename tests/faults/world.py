"""What happens to the world around the hub: broker, disk and clock; each returns once it is over."""

import asyncio
import contextlib
import random
import resource
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from aio_pika.exceptions import AMQPError

from hub.local_broker.node import PrivateNode
from tests.faults.hub import Hub
from tests.faults.nursery import BACK, FORWARD
from tests.faults.points import Fault, Kind
from tests.faults.proxy import AmqpProxy
from tests.nodes import queues_settled, rabbitmqctl

LOCKED_SECONDS = 1.0
FULL_SECONDS = 1.0
FROZEN_SECONDS = 1.5
# No share of the memory at all: the alarm is on at once.
_ALARM, _NO_ALARM = "0", "0.4"


@dataclass
class World:
    """The surroundings of one hub; `spare_queues` may be deleted without losing a message (nothing is in them)."""

    node: PrivateNode
    url: str
    proxy: AmqpProxy
    hub: Hub
    store: Path
    spare_queues: Sequence[str]
    rng: random.Random

    async def suffer(self, fault: Fault) -> None:
        """Let it happen."""
        deeds: dict[Kind, Callable[[], Awaitable[None]]] = {
            Kind.connections_closed: self._cut,
            Kind.queue_deleted: self._delete_queue,
            Kind.store_locked: self._lock_store,
            Kind.disk_full: self._fill_disk,
            Kind.clock_forward: self._clock_forward,
            Kind.clock_back: self._clock_back,
            Kind.broker_frozen: self._freeze,
            Kind.memory_alarm: self._alarm,
            Kind.broker_killed: self._kill_broker,
        }
        await deeds[fault.kind]()

    async def _cut(self) -> None:
        self.proxy.cut_all()

    async def _delete_queue(self) -> None:
        connection = await aio_pika.connect(self.url)
        async with connection:
            channel = await connection.channel()
            name = self.rng.choice(self.spare_queues)
            # Not there yet: the hub has just begun.
            with contextlib.suppress(AMQPError):
                found = await channel.declare_queue(name, passive=True)
                if not found.declaration_result.message_count:
                    await channel.queue_delete(name)

    async def _lock_store(self) -> None:
        await asyncio.to_thread(_locked, self.store, LOCKED_SECONDS)

    async def _fill_disk(self) -> None:
        """No file of the hub may grow: what a write to a full disk meets."""
        pid = self.hub.pid
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            await asyncio.sleep(FULL_SECONDS)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    async def _clock_forward(self) -> None:
        self.hub.move_clock(FORWARD)

    async def _clock_back(self) -> None:
        self.hub.move_clock(BACK)

    async def _freeze(self) -> None:
        self.node.pause()
        try:
            await asyncio.sleep(FROZEN_SECONDS)
        finally:
            self.node.resume()

    async def _alarm(self) -> None:
        await rabbitmqctl(self.node, "set_vm_memory_high_watermark", _ALARM)
        await rabbitmqctl(self.node, "set_vm_memory_high_watermark", _NO_ALARM)

    async def _kill_broker(self) -> None:
        await queues_settled(self.node)
        await self.node.kill()
        await self.node.start()


def _locked(store: Path, seconds: float) -> None:
    connection = sqlite3.connect(store, timeout=5, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        # The hub holds the lock all the time, or has not made the file yet: no fault then.
        pass
    finally:
        connection.close()
