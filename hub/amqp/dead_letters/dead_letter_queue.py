"""Letters: dead-lettered messages, looked at, sent back or taken away (EIP Dead Letter Channel). For ``hub letters``.

A letter is fetched one by one without ack (``basic.get``) and held while its queue is open; closing the pile puts back
what was not removed, so that a crash or Ctrl-C loses nothing. Putting back may change the order, and counts as a
delivery: the limit of these queues is a million. While a queue is open, nobody else sees its letters.

What a letter says is read in ``hub.amqp.dead_letters.dead_letter``. Nothing is decided here: letters are only moved, by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from hub.amqp.connection.errors import LOST, describe
from hub.amqp.copies import headers
from hub.amqp.copies.signature import Signer
from hub.amqp.dead_letters.dead_letter import Letter, read
from hub.amqp.receiving.settlement import Sender
from hub.errors import BrokerUnavailable, ConfigError
from hub.messaging.message import EDITED_FROM, Message
from hub.models.events import EVENT_TYPES
from hub.topology import DEAD_LETTER, REQUEUE, UNROUTABLE, Topology


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """An open dead-letter queue; ``size`` is how many letters were ready when it was opened."""

    queue: str
    size: int
    channel: AbstractChannel = field(repr=False)

    async def letters(self) -> AsyncGenerator[Letter, None]:
        """Fetch the letters that were there at the opening, each once; they are held until the pile closes.

        Raises:
            BrokerUnavailable: the connection was lost.
        """
        try:
            queue = await self.channel.get_queue(self.queue, ensure=False)
            for position in range(1, self.size + 1):
                incoming = await queue.get(no_ack=False, fail=False)
                if incoming is None:
                    return
                yield read(incoming, queue=self.queue, position=position)
        except LOST as error:
            raise BrokerUnavailable(
                f"lost the broker while reading {self.queue}: {describe(error)}"
            ) from None


@asynccontextmanager
async def open_letters(connection: AbstractConnection, queue: str) -> AsyncIterator[OpenLetters]:
    """Open a dead-letter queue; at the end everything that was not removed goes back.

    Raises:
        ConfigError: the broker has no such queue, or the user may not read it.
    """
    channel = await connection.channel(publisher_confirms=False)
    try:
        try:
            found = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            raise ConfigError(
                f"{queue}: expected a queue on the broker, there is none; hub topology apply makes it"
            ) from None
        except ChannelAccessRefused:
            raise ConfigError(f"{queue}: this broker user may not read it; try the user operator") from None
        yield OpenLetters(queue, found.declaration_result.message_count or 0, channel)
    finally:
        with suppress(*LOST):
            await channel.close()


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many messages of a queue are ready, and how many consumers it has."""

    ready: int
    consumers: int


async def workload(connection: AbstractConnection, queue: str) -> QueueDepth:
    """Ask the broker how a queue is doing; one that is not there has nothing and nobody.

    Raises:
        BrokerUnavailable: the connection was lost.
    """
    try:
        channel = await connection.channel(publisher_confirms=False)
        try:
            found = (await channel.declare_queue(queue, passive=True)).declaration_result
        except (ChannelNotFoundEntity, ChannelAccessRefused):
            return QueueDepth(0, 0)
        finally:
            await channel.close()
    except LOST as error:
        raise BrokerUnavailable(f"lost the broker while asking for {queue}: {describe(error)}") from None
    return QueueDepth(found.message_count or 0, found.consumer_count or 0)


def queues(topology: Topology) -> tuple[str, ...]:
    """Return the names of all queues that hold letters."""
    return (*(work.dead for work in topology.work_queues), UNROUTABLE)


async def replay(letter: Letter, sender: Sender, signer: Signer, *, adopt: bool = False) -> None:
    """Send a letter back to where it died, with a full budget; it leaves its queue once the broker has confirmed.

    A crash in between leaves letter and copy: a duplicate that the ledger of effects knows, never a loss.

    Args:
        letter: is acked once the broker has confirmed its copy.
        sender: publishes.
        signer: knows whether the hub wrote the letter; then the copy is signed.
        adopt: sign it also if the hub did not: an operator has looked at it.

    Raises:
        BrokerUnavailable: not confirmed; the letter stays.
    """
    exchange, routing_key, message = replay_target(letter, signer, trusted=adopt or is_signed(letter, signer))
    await sender.send(message, exchange=exchange, routing_key=routing_key)
    await remove(letter)


async def replace_by(letter: Letter, body: bytes, sender: Sender, signer: Signer) -> None:
    """Send a letter back with another body; the copy says of which body it was made.

    Who keeps the original does so before: the letter leaves its queue once the broker has confirmed the copy.

    Raises:
        BrokerUnavailable: not confirmed; the letter stays.
    """
    # Whoever has corrected it has seen it, and answers for it.
    exchange, routing_key, message = replay_target(edited(letter, body), signer, trusted=True)
    await sender.send(message, exchange=exchange, routing_key=routing_key)
    await remove(letter)


def edited(letter: Letter, body: bytes) -> Letter:
    """Return the letter with another body, noted in its headers, under the id it has."""
    values = dict(letter.arrived.headers) | {EDITED_FROM: digest(letter.message.body)}
    return replace(
        letter,
        message=replace(letter.message, message_id=letter.id, body=body, headers=values),
        arrived=replace(letter.arrived, message_id=letter.id, body=body, headers=values),
    )


def digest(body: bytes) -> str:
    """Name a body by its hash."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


async def remove(letter: Letter) -> None:
    """Take a letter away for good (the ack).

    Raises:
        BrokerUnavailable: the connection is lost; the letter stays.
    """
    try:
        await letter.incoming.ack()
    except LOST as error:
        raise BrokerUnavailable(
            f"lost the broker; the letter {letter.id} stays in {letter.queue}: {describe(error)}"
        ) from None


def is_signed(letter: Letter, signer: Signer) -> bool:
    """Whether the hub wrote the letter, as it is, for the work queue that it goes back to."""
    return signer.has_signed(letter.arrived, queue=letter.work_queue or letter.arrived.routing_key)


def destination(letter: Letter) -> tuple[str, str]:
    """Return exchange and routing key of a replay: its work queue's, or where it was sent if that was unroutable."""
    if letter.work_queue is not None:
        return REQUEUE, letter.work_queue
    return letter.arrived.exchange, letter.arrived.routing_key


def replay_target(letter: Letter, signer: Signer, *, trusted: bool) -> tuple[str, str, Message]:
    """Return exchange, routing key and message of a replay.

    The attempts of this budget, and what brokers wrote, stay behind. What is ``trusted`` is signed; the rest stays unsigned, and its consumer decides.
    """
    message = replace(letter.message, message_id=letter.id)
    exchange, routing_key = destination(letter)
    if exchange not in (REQUEUE, DEAD_LETTER):
        values = headers.foreign(headers.without_ours(letter.arrived.headers))
        return exchange, routing_key, replace(message, headers=values)
    book = replace(letter.book, replays=letter.book.replays + 1, not_before=None)
    if not trusted:
        return exchange, routing_key, replace(message, headers=headers.dead(book, message, queue=routing_key))
    # Of a signed copy that the broker dead-lettered, its own headers say more than the broker's record.
    first = headers.read(letter.arrived.headers, exchange="", routing_key="")
    book = replace(
        book, exchange=first.exchange or book.exchange, routing_key=first.routing_key or book.routing_key
    )
    message = replace(
        message,
        stored=letter.own and _is_stored(letter),
    )
    copy = replace(message, headers=headers.dead(book, message, queue=routing_key))
    return exchange, routing_key, signer.signed(copy, queue=routing_key)


def _is_stored(letter: Letter) -> bool:
    """Whether a letter of the hub is no event; on one of a release that did not sign its type alone says so."""
    values = letter.arrived.headers
    return headers.STORED in values or (
        headers.SIGNATURE not in values and letter.message.type not in (None, *EVENT_TYPES)
    )
