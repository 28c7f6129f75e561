"""Make a broker look like the map, or say how it differs (used by the supervisor and ``hub topology``).

Declaring what exists with other arguments closes the channel (406), so each attempt has a channel of its own. A user
without the configure right may only look: then existence is verified, and nothing is created.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from hub.errors import TopologyDrift
from hub.topology import Binding, Exchange, Queue, Topology


class State(StrEnum):
    """What was found of one thing of the map."""

    THERE = "there"
    MISSING = "missing"
    EARLIER = "of an earlier release"
    DIFFERENT = "different"
    NOT_ALLOWED = "not allowed"
    CREATED = "created"
    UNKNOWN = "unknown"
    LIMITING = "limits queues of the hub"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing of the map against the broker; ``detail`` is the broker's own sentence where it has one."""

    thing: str
    name: str
    state: State
    detail: str = ""


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    channel = await connection.channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        if not channel.is_closed:
            await channel.close()


async def declare(connection: AbstractConnection, topology: Topology) -> None:
    """Declare everything of the map; what exists is checked argument by argument by the broker.

    A queue with the arguments of an earlier release is used as it is.

    Raises:
        TopologyDrift: something exists with other arguments, or is missing and may not be created.
    """
    try:
        await _declare_all(connection, topology)
    except (ChannelPreconditionFailed, ChannelAccessRefused):
        pass
    else:
        return
    findings = await inspect(connection, topology)
    # Declaring stops at the first difference; what is missing behind it is no fault of its own.
    wrong = [finding for finding in findings if finding.state is State.DIFFERENT] or [
        finding for finding in findings if finding.state is State.MISSING
    ]
    if wrong:
        raise TopologyDrift(
            faults=tuple(
                f"{finding.thing} {finding.name}: {finding.state}"
                + (
                    f": {finding.detail}"
                    if finding.detail
                    else "; run hub topology apply as a user who may configure it"
                )
                for finding in wrong
            )
        )


async def _declare_all(connection: AbstractConnection, topology: Topology) -> None:
    async with AsyncExitStack() as stack:

        async def opened() -> AbstractChannel:
            return await stack.enter_async_context(_channel(connection))

        channel = await opened()
        for exchange in topology.exchanges:
            await _declare_exchange(channel, exchange)
        for queue in topology.queues:
            try:
                await declare_queue(channel, queue)
            except ChannelPreconditionFailed:
                if await _earlier(connection, queue) is None:
                    raise
                channel = await opened()
        for binding in topology.bindings:
            await _bind(channel, binding)


async def _earlier(connection: AbstractConnection, queue: Queue) -> Mapping[str, Any] | None:
    """Return the arguments of an earlier release that a queue has, or None if it has others."""
    for arguments in queue.earlier:
        async with _channel(connection) as channel:
            try:
                await declare_queue(channel, replace(queue, arguments=arguments))
            except ChannelPreconditionFailed:
                continue
            return arguments
    return None


async def bind(channel: AbstractChannel, topology: Topology) -> None:
    """Make every binding; one that is there stays as it is.

    Raises:
        ChannelAccessRefused: the user may not bind.
        ChannelNotFoundEntity: an exchange or queue is missing.
    """
    for binding in topology.bindings:
        await _bind(channel, binding)


async def apply(connection: AbstractConnection, topology: Topology) -> list[Finding]:
    """Create what is missing and bind; leave what differs as it is.

    Returns:
        One finding for each thing: created, there, or different.
    """
    findings = []
    for found in await inspect(connection, topology):
        if found.state is not State.MISSING:
            findings.append(found)
            continue
        async with _channel(connection) as channel:
            try:
                if found.thing == "exchange":
                    await _declare_exchange(
                        channel, next(e for e in topology.exchanges if e.name == found.name)
                    )
                else:
                    await declare_queue(channel, next(q for q in topology.queues if q.name == found.name))
                findings.append(Finding(found.thing, found.name, State.CREATED))
            except ChannelAccessRefused as error:
                findings.append(Finding(found.thing, found.name, State.NOT_ALLOWED, str(error)))
    for binding in topology.bindings:
        async with _channel(connection) as channel:
            name = f"{binding.exchange} -> {binding.queue} ({binding.routing_key})"
            try:
                await _bind(channel, binding)
                findings.append(Finding("binding", name, State.THERE))
            except (ChannelAccessRefused, ChannelNotFoundEntity) as error:
                findings.append(Finding("binding", name, State.NOT_ALLOWED, str(error)))
    return findings


async def inspect(connection: AbstractConnection, topology: Topology) -> list[Finding]:
    """Compare exchanges and queues with the map without creating anything.

    Bindings cannot be read over AMQP; ``apply`` makes them, which is harmless where they exist.
    """
    things: tuple[Exchange | Queue, ...] = (*topology.exchanges, *topology.queues)
    return [await _inspect_one(connection, thing) for thing in things]


async def any_is_there(connection: AbstractConnection, queues: Iterable[str]) -> bool:
    """Whether one of these queues exists.

    Raises:
        aio_pika.exceptions.AMQPError: it cannot be known: not allowed to look, or the connection is lost.
    """
    for queue in queues:
        async with _channel(connection) as channel:
            try:
                await channel.declare_queue(queue, passive=True)
            except ChannelNotFoundEntity:
                continue
            return True
    return False


async def _inspect_one(connection: AbstractConnection, thing: Exchange | Queue) -> Finding:
    kind = "exchange" if isinstance(thing, Exchange) else "queue"
    async with _channel(connection) as channel:
        try:
            if isinstance(thing, Exchange):
                await channel.declare_exchange(thing.name, passive=True)
            else:
                await channel.declare_queue(thing.name, passive=True)
        except ChannelNotFoundEntity:
            return Finding(kind, thing.name, State.MISSING)
        except ChannelAccessRefused as error:
            return Finding(kind, thing.name, State.NOT_ALLOWED, str(error))
        try:
            if isinstance(thing, Exchange):
                await _declare_exchange(channel, thing)
            else:
                await declare_queue(channel, thing)
        except ChannelPreconditionFailed as error:
            if isinstance(thing, Queue) and (earlier := await _earlier(connection, thing)) is not None:
                return Finding(kind, thing.name, State.EARLIER, _changes(thing, earlier))
            return Finding(kind, thing.name, State.DIFFERENT, str(error))
        except ChannelAccessRefused:
            return Finding(kind, thing.name, State.THERE, "arguments not compared: no configure right")
        return Finding(kind, thing.name, State.THERE)


def _changes(queue: Queue, earlier: Mapping[str, Any]) -> str:
    """Name the arguments that differ; nothing has to be done, it works as it did."""
    names = sorted(
        name for name in {*queue.arguments, *earlier} if queue.arguments.get(name) != earlier.get(name)
    )
    return ", ".join(f"{name} {earlier.get(name)}, now {queue.arguments.get(name)}" for name in names)


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange) -> None:
    await channel.declare_exchange(
        exchange.name, type=exchange.type, durable=True, arguments=dict(exchange.arguments) or None
    )


async def declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    """Declare a queue of the map on an open channel, which a difference closes."""
    await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))


async def _bind(channel: AbstractChannel, binding: Binding) -> None:
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.bind(binding.exchange, routing_key=binding.routing_key)
