"""The operator of a schedule: looks into queues, and replays letters the way `hub letters replay` does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import orjson
from aio_pika.exceptions import ChannelNotFoundEntity

from hub.amqp.connection.connection import close, connect
from hub.amqp.connection.errors import LOST
from hub.amqp.copies.signature import Signer
from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Supervisor
from hub.state.store import open_store
from hub.topology import INSTALLATION, UNROUTABLE, Topology
from tests.broker.rig import broker_settings
from tests.broker.rig import letters as taken

_WORK_LIST = "hub.retailops.cancel-purchase-order.dead"
_NO_TOPOLOGY = Topology((), (), (), (), ())


@dataclass(frozen=True)
class Desk:
    """Replays letters; reads on the broker itself, and sends through the proxy, where faults wait."""

    url: str
    through: str
    topology: Topology
    state_url: str
    lost = (*LOST,)

    async def replay_letters(self) -> int:
        """Replay every letter but those that are a person's work; gives how many.

        Raises:
            BrokerUnavailable: the way to the broker was cut; a letter that was not confirmed is still there.
        """
        full = [
            queue
            for queue, count in (await depths(self.url, self.topology)).items()
            if queue.endswith(".dead") or queue == UNROUTABLE
            if count
        ]
        if not full:
            return 0
        replayed = 0
        store = await open_store(self.state_url)
        signer = Signer((await store.signing()).key)
        await store.close()
        connection = await connect(broker_settings(self.url), name="desk")
        try:
            async with self._sender() as sender:
                for queue in full:
                    async with dead_letter_queue.open_letters(connection, queue) as open_letters:
                        async for letter in open_letters.letters():
                            await dead_letter_queue.replay(letter, sender, signer)
                            replayed += 1
        finally:
            await close(connection)
        return replayed

    @asynccontextmanager
    async def _sender(self) -> AsyncIterator[AmqpPublisher]:
        supervisor = Supervisor(broker_settings(self.through), _NO_TOPOLOGY, name="desk")
        running = asyncio.create_task(supervisor.run())
        try:
            yield AmqpPublisher(supervisor, timeout=timedelta(seconds=2))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def depths(url: str, topology: Topology) -> dict[str, int]:
    """Give the queues in which messages lie ready, but the work list of a person."""
    connection = await connect(broker_settings(url), name="desk")
    found: dict[str, int] = {}
    try:
        channel = await connection.channel(publisher_confirms=False)
        # The id of the installation stays.
        for queue in (queue for queue in topology.queues if queue.name != INSTALLATION):
            if queue.name == _WORK_LIST:
                continue
            try:
                state = await channel.declare_queue(queue.name, passive=True)
            except ChannelNotFoundEntity:
                # The hub has not made it yet, or again; the broker closes the channel of who asks.
                channel = await connection.channel(publisher_confirms=False)
                continue
            if count := state.declaration_result.message_count:
                found[queue.name] = count
    finally:
        await close(connection)
    return found


async def on_the_work_list(url: str) -> set[str]:
    """The purchase orders whose cancellations wait for a person, taken off the list."""
    found = await taken(url, _WORK_LIST)
    return {orjson.loads(letter.body)["order_id"].rpartition(":")[2] for letter in found}
