"""A hub in small on a real broker: one work queue, a handler that the test writes, scaled waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pydantic import SecretStr

from hub.amqp.copies.large_copies import LargeCopies
from hub.amqp.copies.signature import Signer
from hub.amqp.copies.unsigned import Unsigned
from hub.amqp.receiving.consumer import Consumer, OnSettled
from hub.amqp.receiving.custody import Custody
from hub.amqp.receiving.settlement import Settler
from hub.amqp.sending.last_resort import RefusedLetters
from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Subscription, Supervisor
from hub.config.broker import Broker
from hub.messaging.dispatch import Route
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.messaging.resilience.retry import RetryPolicy
from hub.models.events import AnyEvent
from hub.state.protocols import InstallationStore, Signing
from hub.topology import Topology, WorkQueue, draw
from tests.fakes import MemoryStore

ORDER_ID = "iqmetrix:71204:7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"
QUEUE = WorkQueue("test", "try_things", hears=("order.accepted", "inventory.counted"), sources=("iqmetrix",))
_KEY = b"k" * 32
# Signs as the hub of this rig does.
SIGNER = Signer(_KEY)
# Five retries in about a second, and powers that are as much smaller than the real ones.
WAITS = tuple(timedelta(milliseconds=ms) for ms in (50, 100, 150, 200, 250))
LADDER_POWERS = tuple(timedelta(milliseconds=50 * 2**n) for n in range(6))


@dataclass
class Handler:
    """Answers with the outcomes of a script, then with Done, and remembers what came."""

    script: list[Outcome] = field(default_factory=list)
    always: Outcome | None = None
    seen: list[tuple[AnyEvent, Context]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    cancelled: int = 0

    async def __call__(self, event: AnyEvent, context: Context, /) -> Outcome:
        self.seen.append((event, context))
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.always is not None:
            return self.always
        return self.script.pop(0) if self.script else Done()

    @property
    def ids(self) -> list[str]:
        return [event.id for event, _ in self.seen]


@dataclass
class Rig:
    supervisor: Supervisor
    publisher: AmqpPublisher
    consumer: Consumer
    topology: Topology
    stored: dict[str, Any]


def broker_settings(url: str, **changes: Any) -> Broker:
    settings: dict[str, Any] = {
        "url": SecretStr(url),
        "prefetch": 20,
        "heartbeat": 5,
        "reconnect_after": timedelta(seconds=0.1),
        "reconnect_at_most": timedelta(seconds=0.5),
    }
    return Broker(**(settings | changes))


@asynccontextmanager
async def running(
    url: str,
    handler: Callable[..., Any] | None,
    *,
    waits: Sequence[timedelta] = WAITS,
    queue: WorkQueue = QUEUE,
    publish_timeout: timedelta = timedelta(seconds=10),
    until_up: bool = True,
    on_settled: OnSettled | None = None,
    on_store_away: Callable[[str], None] = lambda _: None,
    refused: RefusedLetters | None = None,
    custody: Custody | None = None,
    store: InstallationStore | None = None,
    large: LargeCopies | None = None,
) -> AsyncIterator[Rig]:
    topology = draw([queue], waits, LADDER_POWERS)
    supervisor = Supervisor(broker_settings(url), topology)
    publisher = AmqpPublisher(supervisor, timeout=publish_timeout, refused=refused, signer=SIGNER)
    copies = AmqpPublisher(
        supervisor, timeout=None, refused=refused, signer=SIGNER, large=large or LargeCopies()
    )
    settler = Settler(copies, policy=RetryPolicy(tuple(waits)), rungs=topology.rungs, signer=SIGNER)
    stored: dict[str, Any] = {}
    consumer = Consumer(
        Route("try_things", handler, stored=stored),
        settler,
        types=queue.hears,
        signer=SIGNER,
        unsigned=Unsigned(store or MemoryStore(), Signing(_KEY, datetime.now(UTC))),
        on_settled=on_settled,
        on_store_away=on_store_away,
        custody=custody,
    )
    if handler is not None:
        supervisor.subscribe(Subscription(queue.queue, 20, consumer.take))
    task = asyncio.create_task(supervisor.run())
    try:
        if until_up:
            async with asyncio.timeout(30):
                await supervisor.wait_until_up()
        yield Rig(supervisor, publisher, consumer, topology, stored)
    finally:
        await supervisor.stop_consuming()
        await consumer.drain(timedelta(seconds=1))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def outsider(url: str) -> AsyncIterator[AbstractChannel]:
    """Any AMQP client: a plain connection with a confirming channel."""
    connection = await aio_pika.connect(url)
    async with connection:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)


async def send(
    channel: AbstractChannel, exchange: str, routing_key: str, body: bytes, **properties: Any
) -> None:
    target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
    await target.publish(aio_pika.Message(body, **properties), routing_key)


async def depth(url: str, queue: str) -> int:
    """How many messages lie ready in a queue."""
    async with outsider(url) as channel:
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0


async def letters(url: str, queue: str) -> list[AbstractIncomingMessage]:
    """All messages of a queue, taken out of it."""
    taken = []
    async with outsider(url) as channel:
        source = await channel.get_queue(queue, ensure=False)
        while (message := await source.get(fail=False)) is not None:
            await message.ack()
            taken.append(message)
    return taken
