"""Deeds: each one use of a channel, which the broker closes when the user may not do that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.exceptions import ChannelAccessRefused

from tests.broker.rig import send

Deed = Callable[[AbstractChannel], Awaitable[Any]]
QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}


async def is_refused(deed: Deed, channel: AbstractChannel) -> bool:
    try:
        await asyncio.wait_for(deed(channel), 30)
    except (ChannelAccessRefused, ChannelInvalidStateError):
        return True
    return False


def publish(exchange: str, key: str = "order.shipped") -> Deed:
    return lambda channel: send(channel, exchange, key, b"{}")


def declare_queue(name: str, **arguments: str) -> Deed:
    return lambda channel: channel.declare_queue(name, durable=True, arguments=QUORUM | arguments)


def declare_exchange(name: str, **arguments: str) -> Deed:
    return lambda channel: channel.declare_exchange(name, "topic", durable=True, arguments={**arguments})


def bind(queue: str, exchange: str, key: str = "#") -> Deed:
    async def deed(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)

    return deed


def get(queue: str) -> Deed:
    async def deed(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).get(fail=False)

    return deed


def consume(queue: str) -> Deed:
    async def deed(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).consume(_never)

    return deed


async def _never(_: object) -> None:
    """Take what will not come: the consumer is refused."""


def purge(queue: str) -> Deed:
    async def deed(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()

    return deed


def delete_queue(name: str) -> Deed:
    return lambda channel: channel.queue_delete(name)


def delete_exchange(name: str) -> Deed:
    return lambda channel: channel.exchange_delete(name)
