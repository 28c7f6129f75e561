"""Bring queues that an earlier release declared to today's arguments, without losing a message.

    declare hub.migrate.<queue> - move there - bind it, unbind the queue - move the rest - delete the queue
    declare the queue - bind it to its own name - move back - bind it, unbind the other - move the rest - delete the other

Where to go on after an end at any point is read from the broker: which of the two is there, and with which arguments. A
message is acked once its copy is confirmed; what lies between is twice in the queue, which the ledger makes harmless.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from hub.amqp.copies import headers
from hub.amqp.copies.signature import Signer
from hub.amqp.sending import properties
from hub.amqp.topology.declare import State, declare_queue, inspect
from hub.errors import ConfigError
from hub.topology import DEAD_LETTER, REQUEUE, UNROUTABLE, Binding, Queue, Topology

PREFIX = "hub.migrate."
_CONFIRM_SECONDS = 30.0
_COPIES_COME_BY = (REQUEUE, "", DEAD_LETTER)
_DEAD_SUFFIX = ".dead"


@dataclass(frozen=True, slots=True)
class Step:
    """A queue to bring up to date; ``messages`` are ready in it or in its temporary queue."""

    queue: str
    change: str
    messages: int
    consumers: int
    begun: bool


@dataclass(frozen=True, slots=True)
class _Count:
    """What the broker says of a quorum queue.

    A client that has fetched a message by basic.get and not acknowledged it is one of ``consumers`` (measured on 3.10.8,
    4.0.5 and 4.3.6); its message is none of ``messages``, and would be lost with the queue.
    """

    messages: int
    consumers: int


async def plan(connection: AbstractConnection, topology: Topology) -> list[Step]:
    """Return the queues that are outdated, and those whose migration was interrupted."""
    steps = []
    for found in await inspect(connection, topology):
        if found.thing != "queue":
            continue
        parked = await _count(connection, PREFIX + found.name)
        if found.state is not State.EARLIER and parked is None:
            continue
        there = await _count(connection, found.name) or _Count(0, 0)
        more = parked or _Count(0, 0)
        steps.append(
            Step(
                found.name,
                found.detail if found.state is State.EARLIER else "goes on",
                there.messages + more.messages,
                there.consumers + more.consumers,
                parked is not None,
            )
        )
    return steps


async def migrate(
    connection: AbstractConnection,
    topology: Topology,
    queue: str,
    signer: Signer,
    on_step: Callable[[str], None] = lambda _: None,
) -> int:
    """Bring one queue up to date; return how many messages were moved.

    Raises:
        ConfigError: it is consumed, another client holds a message of it, or it is ``hub.unroutable`` and holds messages, whose exchange and routing key a
            copy would not have.
    """
    known = next(each for each in topology.queues if each.name == queue)
    move = _Move(connection, known, tuple(b for b in topology.bindings if b.queue == queue), signer, on_step)
    return await move.run()


class _Move:
    """The migration of one queue."""

    def __init__(
        self,
        connection: AbstractConnection,
        queue: Queue,
        bindings: tuple[Binding, ...],
        signer: Signer,
        on_step: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._queue = queue
        self._parked = replace(queue, name=PREFIX + queue.name)
        self._bindings = bindings
        # By which what was moved comes back to it, as the hub's own copies do.
        self._home = next((b for b in bindings if b.exchange in (REQUEUE, DEAD_LETTER)), None)
        self._signer = signer
        self._on_step = on_step

    async def run(self) -> int:
        self._on_step("begin")
        name, parked = self._queue.name, self._parked.name
        await self._refuse_consumers()
        if self._home is None or name == UNROUTABLE:
            return await self._replace_empty()
        moved = 0
        old = await self._is_old()
        if old:
            await self._declare(self._parked)
            await self._bind(Binding(REQUEUE, parked, parked))
            self._on_step("temporary queue declared")
            moved += await self._drain(name, parked, (REQUEUE, parked))
            await self._hand_over(self._bindings, name, parked)
            self._on_step("bindings at the temporary queue")
            moved += await self._drain(name, parked, (REQUEUE, parked))
            await self._delete(name)
            self._on_step("queue deleted")
        elif await _count(self._connection, parked) is None:
            return 0
        await self._declare(self._queue)
        self._on_step("queue declared")
        await self._hand_over((self._home,), parked, name)
        home = (self._home.exchange, self._home.routing_key)
        back = await self._drain(parked, name, home, once=True)
        self._on_step("moved back")
        await self._hand_over(self._bindings, parked, name)
        self._on_step("bindings at the queue")
        back += await self._drain(parked, name, home)
        await self._delete(parked)
        self._on_step("temporary queue deleted")
        return max(moved, back)

    async def _is_old(self) -> bool:
        """Whether the queue is there with the arguments of an earlier release."""
        there = Topology((), (self._queue,), (), (), ())
        return (await inspect(self._connection, there))[0].state is State.EARLIER

    async def _replace_empty(self) -> int:
        if not await self._is_old():
            return 0
        name = self._queue.name
        found = await _count(self._connection, name)
        if found is not None and found.messages:
            raise ConfigError(
                f"{name}: expected no messages, got {found.messages}: moved, they would not say any more where they were"
                f" published to. Resolve them first: hub letters list --queue {name}. Until then it works as it is"
            )
        await self._delete(name)
        await self._declare(self._queue)
        for binding in self._bindings:
            await self._bind(binding)
        return 0

    async def _refuse_consumers(self) -> None:
        for name in (self._queue.name, self._parked.name):
            found = await _count(self._connection, name)
            if found is not None and found.consumers:
                raise ConfigError(
                    f"{name}: expected no consumers, got {found.consumers}; stop the hub and its replicas first, and close"
                    " what has fetched a message and not acknowledged it, which counts as one"
                )

    async def _declare(self, queue: Queue) -> None:
        async with _channel(self._connection) as channel:
            await declare_queue(channel, queue)

    async def _bind(self, binding: Binding) -> None:
        async with _channel(self._connection) as channel:
            queue = await channel.get_queue(binding.queue, ensure=False)
            await queue.bind(binding.exchange, routing_key=binding.routing_key)

    async def _hand_over(self, bindings: tuple[Binding, ...], source: str, target: str) -> None:
        """Bind the target first: what is published meanwhile goes to both, and not to none."""
        for binding in bindings:
            await self._bind(replace(binding, queue=target))
        async with _channel(self._connection) as channel:
            queue = await channel.get_queue(source, ensure=False)
            for binding in bindings:
                await queue.unbind(binding.exchange, routing_key=binding.routing_key)

    async def _delete(self, name: str) -> None:
        await self._refuse_consumers()
        found = await _count(self._connection, name)
        # Not by the broker's own if-empty, which quorum queues of 3.10 do not know.
        if found is not None and found.messages:
            raise ConfigError(f"{name}: expected it to be empty, got {found.messages} messages; run it again")
        async with _channel(self._connection) as channel:
            await channel.queue_delete(name)

    async def _drain(self, source: str, target: str, way: tuple[str, str], *, once: bool = False) -> int:
        """Move all that is ready, in its order; with ``once`` leave out what an interrupted move has doubled."""
        moved, last = 0, None
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            queue = await channel.get_queue(source, ensure=False)
            exchange = await channel.get_exchange(way[0], ensure=False)
            while (incoming := await queue.get(no_ack=False, fail=False)) is not None:
                sameness = (incoming.message_id, incoming.body, str(incoming.headers)) if once else None
                if sameness is None or incoming.message_id is None or sameness != last:
                    copy = self._copy(incoming)
                    await exchange.publish(copy, way[1], mandatory=True, timeout=_CONFIRM_SECONDS)
                    self._on_step(f"confirmed in {target}")
                    moved += 1
                await incoming.ack()
                last = sameness
        finally:
            if not channel.is_closed:
                await channel.close()
        return moved

    def _copy(self, incoming: AbstractIncomingMessage) -> aio_pika.Message:
        """Copy a message; an event that was not tried yet becomes a copy of the hub, which keeps where it came by."""
        message = properties.fetched(incoming, self._queue.name)
        if message.exchange in _COPIES_COME_BY or self._queue.name.endswith(_DEAD_SUFFIX):
            # CC and BCC would send it to further queues.
            kept = {key: value for key, value in message.headers.items() if key not in ("CC", "BCC")}
            return properties.to_send(replace(message, headers=kept))
        first = replace(message, headers=headers.without_ours(message.headers))
        book = headers.read(first.headers, exchange=message.exchange, routing_key=message.routing_key)
        values = headers.waiting(book, first, queue=self._queue.name)
        return properties.to_send(self._signer.signed(replace(first, headers=values), queue=self._queue.name))


async def _count(connection: AbstractConnection, name: str) -> _Count | None:
    async with _channel(connection) as channel:
        try:
            found = (await channel.declare_queue(name, passive=True)).declaration_result
        except ChannelNotFoundEntity:
            return None
        return _Count(found.message_count or 0, found.consumer_count or 0)


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    channel = await connection.channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        if not channel.is_closed:
            await channel.close()
