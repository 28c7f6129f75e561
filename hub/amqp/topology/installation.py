"""The installation's id on the broker: one message that stays in ``hub.installation``.

The state store holds the same id. The two together say whether a store and a broker belong together
(``hub.service.installation`` compares them). The queue has no consumer; reading puts the message back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from hub.amqp.connection.connection import CLOSE_SECONDS, close, connect
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.sending.properties import to_send
from hub.amqp.topology.declare import State, any_is_there, apply
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, ConfigError
from hub.messaging.message import Message
from hub.topology import INSTALLATION, REQUEUE, Topology

_PREFIX = "hub installation "
# A process that reads the id at this moment has taken it out of the queue for some milliseconds.
_LOOKS = 3
_WHOLE_LOOK_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.1


class Unmarked(Enum):
    """What a broker without an installation's id is."""

    NEW = auto()
    """No installation has started on it; its topology may have been declared already."""
    OLDER = auto()
    """It has work queues but no queue for the id: a release without ids has run on it."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A broker that holds an id."""

    id: str


class BrokerMark:
    """The id on the broker of one connection."""

    def __init__(self, connection: AbstractConnection, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology

    async def read(self) -> Marked | Unmarked:
        """Return the id, or what kind of broker has none; see ``read_installation``."""
        return await read_installation(self._connection, self._topology)

    async def write(self, installation: str) -> None:
        """Write the id; see ``write_installation``."""
        await write_installation(self._connection, self._topology, installation)


@asynccontextmanager
async def look_at_broker(settings: Broker, topology: Topology) -> AsyncIterator[BrokerMark]:
    """Connect for one look at the id.

    Raises:
        BrokerUnavailable: the broker does not answer, or not within 15 seconds.
    """
    connection = await connect(settings, name="hub start")
    try:
        with translate_connection_cancel():
            async with asyncio.timeout(_WHOLE_LOOK_SECONDS):
                yield BrokerMark(connection, topology)
    except LOST as error:
        raise BrokerUnavailable(
            f"expected to read and write the installation's id on the broker, got {describe(error)}"
        ) from None
    finally:
        await close(connection)


async def read_installation(connection: AbstractConnection, topology: Topology) -> Marked | Unmarked:
    """Return the id that the broker holds, or what kind of broker has none.

    Raises:
        ConfigError: the broker user may not read the queue, or the queue holds something else.
        aio_pika.exceptions.AMQPError: the connection was lost.
    """
    channel = await connection.channel(publisher_confirms=False)
    try:
        queue = await channel.declare_queue(INSTALLATION, passive=True)
        for _ in range(_LOOKS):
            message = await queue.get(fail=False, timeout=CLOSE_SECONDS)
            if message is not None:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return Unmarked.NEW
        await message.nack(requeue=True)
    except ChannelNotFoundEntity:
        older = await any_is_there(connection, (work.queue for work in topology.work_queues))
        return Unmarked.OLDER if older else Unmarked.NEW
    except ChannelAccessRefused as error:
        raise ConfigError(
            f"{INSTALLATION}: expected a broker user that may read it, got {error};"
            " give the user of [broker] url the right to read hub.*"
        ) from None
    finally:
        if not channel.is_closed:
            await channel.close()
    text = message.body.decode("utf-8", "replace")
    if not text.startswith(_PREFIX):
        raise ConfigError(
            f"{INSTALLATION}: expected one message with an installation's id, got another one of"
            f" {len(message.body)} bytes; remove it (rabbitmqctl purge_queue {INSTALLATION}) and start the hub again"
        )
    return Marked(text.removeprefix(_PREFIX))


async def write_installation(connection: AbstractConnection, topology: Topology, installation: str) -> None:
    """Put the id on the broker, declaring the queue if it is missing; return once it is confirmed.

    Raises:
        ConfigError: the queue is missing and the broker user may not declare it.
        aio_pika.exceptions.AMQPError: not confirmed, or the connection was lost.
    """
    await _declared(connection, topology)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        requeue = await channel.get_exchange(REQUEUE, ensure=False)
        message = Message(f"{_PREFIX}{installation}".encode(), content_type="text/plain")
        await requeue.publish(to_send(message), INSTALLATION, mandatory=True, timeout=CLOSE_SECONDS)
    finally:
        if not channel.is_closed:
            await channel.close()


async def _declared(connection: AbstractConnection, topology: Topology) -> None:
    """Declare the queue and how the id reaches it, and nothing else of the topology."""
    part = replace(
        topology,
        exchanges=tuple(exchange for exchange in topology.exchanges if exchange.name == REQUEUE),
        queues=tuple(queue for queue in topology.queues if queue.name == INSTALLATION),
        bindings=tuple(binding for binding in topology.bindings if binding.queue == INSTALLATION),
        work_queues=(),
    )
    for finding in await apply(connection, part):
        if finding.state in (State.NOT_ALLOWED, State.DIFFERENT):
            raise ConfigError(
                f"{finding.thing} {finding.name}: expected it on the broker as the topology has it, got"
                f" {finding.state}: {finding.detail}; run hub topology apply as a user who may configure hub.*"
            )
