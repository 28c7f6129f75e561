"""Letters: dead-lettered messages, looked at, sent back or taken away (EIP Dead Letter Channel). For ``hub letters``.

A letter is fetched one by one without ack (``basic.get``) and held while its pile is open; closing the pile puts back
what was not removed, so that a crash or Ctrl-C loses nothing. Putting back may change the order, and counts as a
delivery: the limit of these queues is a million. While a pile is open, nobody else sees its letters.

What a letter says comes from the hub's own headers; where the broker itself dead-lettered (delivery limit, expired,
foreign), from the newest entry of its ``x-death``. It decides nothing: only reading and moving by hand happen here.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from hub.amqp import codec, headers
from hub.amqp.headers import Bookkeeping
from hub.amqp.loss import LOST, describe
from hub.amqp.settle import Sender
from hub.amqp.wire import fetched
from hub.errors import BrokerUnavailable, ConfigError
from hub.messaging.dispatch import ABOUT
from hub.messaging.message import Message
from hub.models.values import OrderId
from hub.topology import DEAD_LETTER, REQUEUE, UNROUTABLE, Topology

DEAD_SUFFIX = ".dead"
# On a letter that an operator corrected: the hash of the body it had before. The archive has that body.
EDITED_FROM = "x-hub-edited-from"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead message with what is known of it.

    ``message`` has the exchange and routing key under which it first came to its work queue; ``arrived`` those of
    its way into this queue.
    """

    queue: str
    position: int
    """Its place in the pile, counted from 1."""
    message: Message
    arrived: Message
    book: Bookkeeping
    order_id: str | None
    incoming: AbstractIncomingMessage = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """The message id, or a hash of routing key and body where it has none; other queues may hold the same id."""
        return self.message.message_id or codec.derived_id(self.message)

    @property
    def reason(self) -> str:
        """Why it died."""
        return self.book.reason or "unknown"

    @property
    def work_queue(self) -> str | None:
        """The work queue that it died in; None for what was unroutable."""
        return self.queue.removesuffix(DEAD_SUFFIX) if self.queue.endswith(DEAD_SUFFIX) else None

    @property
    def attempts(self) -> int:
        """How often it was tried, over all budgets."""
        return self.book.total + self.book.made

    @property
    def type(self) -> str:
        """Its event or message type: its own property, or else what its routing key says."""
        return self.message.type or self.message.routing_key

    @property
    def died_at(self) -> datetime | None:
        """When it was tried last, or when it was sent; None where nothing tells."""
        try:
            moment = datetime.fromisoformat(self.book.last_failed_at)
        except ValueError:
            return self.message.timestamp
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def source(self) -> str | None:
        """Whose order it is about (``iqmetrix``, ``retailops``): by its order id, its raw type or its routing key."""
        if self.order_id is not None:
            return self.order_id.split(":", 1)[0]
        if self.work_queue is not None and self.type.startswith(f"{self.work_queue.split('.')[1]}."):
            return self.type.split(".", 1)[0]
        parts = self.message.routing_key.split(".")
        return parts[2] if len(parts) == 3 else None


@dataclass(frozen=True, slots=True)
class Pile:
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
async def pile(connection: AbstractConnection, queue: str) -> AsyncIterator[Pile]:
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
        yield Pile(queue, found.declaration_result.message_count or 0, channel)
    finally:
        with suppress(*LOST):
            await channel.close()


@dataclass(frozen=True, slots=True)
class Workload:
    """How many messages of a queue are ready, and how many consumers it has."""

    ready: int
    consumers: int


async def workload(connection: AbstractConnection, queue: str) -> Workload:
    """Ask the broker how a queue is doing; one that is not there has nothing and nobody.

    Raises:
        BrokerUnavailable: the connection was lost.
    """
    try:
        channel = await connection.channel(publisher_confirms=False)
        try:
            found = (await channel.declare_queue(queue, passive=True)).declaration_result
        except (ChannelNotFoundEntity, ChannelAccessRefused):
            return Workload(0, 0)
        finally:
            await channel.close()
    except LOST as error:
        raise BrokerUnavailable(f"lost the broker while asking for {queue}: {describe(error)}") from None
    return Workload(found.message_count or 0, found.consumer_count or 0)


def queues(topology: Topology) -> tuple[str, ...]:
    """Give the names of all queues that hold letters."""
    return (*(work.dead for work in topology.work_queues), UNROUTABLE)


async def replay(letter: Letter, sender: Sender) -> None:
    """Send a letter back to where it died, with a full budget; it leaves its pile once the broker has confirmed.

    A crash in between leaves letter and copy: a duplicate that the ledger of effects knows, never a loss.

    Raises:
        BrokerUnavailable: not confirmed; the letter stays.
    """
    exchange, routing_key, message = way_back(letter)
    await sender.send(message, exchange=exchange, routing_key=routing_key)
    await remove(letter)


async def replace_by(letter: Letter, body: bytes, sender: Sender) -> None:
    """Send a letter back with another body; the copy says of which body it was made.

    Who keeps the original does so before: the letter leaves its pile once the broker has confirmed the copy.

    Raises:
        BrokerUnavailable: not confirmed; the letter stays.
    """
    exchange, routing_key, message = way_back(edited(letter, body))
    await sender.send(message, exchange=exchange, routing_key=routing_key)
    await remove(letter)


def edited(letter: Letter, body: bytes) -> Letter:
    """Give the letter with another body, noted in its headers, under the id it has."""
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


def way_back(letter: Letter) -> tuple[str, str, Message]:
    """Give exchange, routing key and message of a replay.

    To its work queue by ``hub.requeue``; what was unroutable goes where it was sent. The attempts of this budget, and
    what brokers wrote, stay behind.
    """
    message = replace(letter.message, message_id=letter.id)
    exchange, routing_key = letter.arrived.exchange, letter.arrived.routing_key
    if letter.work_queue is not None:
        exchange, routing_key = REQUEUE, letter.work_queue
    elif exchange not in (REQUEUE, DEAD_LETTER):
        return exchange, routing_key, replace(message, headers=headers.foreign(letter.arrived.headers))
    book = replace(letter.book, replays=letter.book.replays + 1, not_before=None)
    values = headers.dead(book, letter.arrived, queue=routing_key)
    return exchange, routing_key, replace(message, headers=values)


def read(incoming: AbstractIncomingMessage, *, queue: str, position: int) -> Letter:
    """Make a letter of a message that was fetched from ``queue``."""
    arrived = fetched(incoming, queue)
    # A retry whose queue is gone was expired by the broker on its rung, which is no death.
    death = None if arrived.exchange == REQUEUE else _death(arrived.headers, queue.removesuffix(DEAD_SUFFIX))
    exchange, routing_key = _came_by(arrived, death)
    book = headers.read(arrived.headers, exchange=exchange, routing_key=routing_key)
    if death is not None:
        book = _with_death(book, death, arrived.headers)
    elif queue == UNROUTABLE:
        book = replace(book, reason=f"no queue is bound to {arrived.exchange} for {arrived.routing_key!r}")
    message = replace(arrived, exchange=book.exchange, routing_key=book.routing_key)
    return Letter(queue, position, message, arrived, book, order_id_of(message), incoming)


def order_id_of(message: Message) -> str | None:
    """Give the order a message is about, where the hub's own header, body, CloudEvents subject or correlation id says so."""
    named = [message.headers.get(ABOUT), message.headers.get("ce-subject"), message.correlation_id]
    candidates = [named[0], *_ids_in_body(message.body), *named[1:]]
    for candidate in candidates:
        text = _text(candidate)
        with suppress(ValueError):
            return str(OrderId.parse(text))
    return None


def _ids_in_body(body: bytes) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(document, dict):
        return []
    content = document.get("data")
    inner = content.get("order_id") if isinstance(content, dict) else None
    return [inner, document.get("order_id"), document.get("subject")]


def _death(values: Mapping[str, Any], work_queue: str) -> Mapping[str, Any] | None:
    """Give the broker's record of the death in the work queue, or else its newest; None for the hub's own letters."""
    found = values.get("x-death")
    deaths = [death for death in found if isinstance(death, Mapping)] if isinstance(found, list) else []
    there = (death for death in deaths if _text(death.get("queue")) == work_queue)
    return next(there, deaths[0] if deaths else None)


def _came_by(arrived: Message, death: Mapping[str, Any] | None) -> tuple[str, str]:
    """Give exchange and key by which it came to its work queue: they tell whether hub headers are the hub's own."""
    if death is not None:
        keys = death.get("routing-keys")
        key = _text(keys[0]) if isinstance(keys, list) and keys else arrived.routing_key
        return _text(death.get("exchange")), key
    # The hub's own letters: nobody else may write to this exchange.
    return ("" if arrived.exchange == DEAD_LETTER else arrived.exchange), arrived.routing_key


def _with_death(book: Bookkeeping, death: Mapping[str, Any], values: Mapping[str, Any]) -> Bookkeeping:
    why = _text(death.get("reason")) or _text(values.get("x-first-death-reason")) or "unknown reason"
    reason = f"set aside by the broker: {why.replace('_', ' ')}"
    at = death.get("time")
    if not isinstance(at, datetime):
        return replace(book, reason=reason)
    return book.failed(reason, at if at.tzinfo else at.replace(tzinfo=UTC))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
