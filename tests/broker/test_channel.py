"""What a consumer is handed on a real broker: bodies of every size, whole and in order, up to the end of the consumer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import aio_pika
from aiormq.abc import DeliveredMessage
from pydantic import SecretStr

from hub.amqp.connection.connection import close, connect
from hub.amqp.protocol.channel import Channel
from hub.amqp.receiving.queue_subscription import Tap
from hub.config.broker import Broker
from tests.eventually import eventually

QUEUE = "test.channel"
# Of one frame, as the broker and the client agree on it.
FRAME = 131_072
# What an empty frame takes.
AROUND = 8
SIZES = (0, 1, FRAME - AROUND - 1, FRAME - AROUND, FRAME - AROUND + 1, 3 * FRAME, 70_000, 2)


async def test_bodies_of_every_size_come_whole_and_in_order(broker_url: str) -> None:
    bodies = [bytes([index]) * size for index, size in enumerate(SIZES)]
    delivered: list[DeliveredMessage] = []
    connection = await connect(Broker(url=SecretStr(broker_url)), name="test")
    try:
        channel = await connection.channel()
        await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        for body in bodies:
            await channel.default_exchange.publish(aio_pika.Message(body), QUEUE)
        tap = Tap(await connection.channel(publisher_confirms=False), QUEUE, 50, delivered.append)
        await tap.turn(lambda: None)
        await eventually(lambda: len(delivered) == len(bodies))
    finally:
        await close(connection)

    assert [each.body for each in delivered] == bodies
    assert [each.delivery_tag for each in delivered] == list(range(1, len(bodies) + 1))


async def test_a_consumer_that_ends_and_begins_again_hands_over_every_delivery_once(broker_url: str) -> None:
    delivered: list[DeliveredMessage] = []
    tasks: list[asyncio.Task[None] | None] = []

    def hand_over(message: DeliveredMessage) -> None:
        delivered.append(message)
        tasks.append(asyncio.current_task())

    connection = await connect(Broker(url=SecretStr(broker_url)), name="test")
    try:
        channel = await connection.channel()
        queue = await channel.declare_queue("test.channel.turns", durable=True)
        tap = Tap(await connection.channel(publisher_confirms=False), queue.name, 500, hand_over)
        for turn in range(20):
            await asyncio.gather(
                tap.turn(partial(int, turn % 2 * 300)),
                *(
                    channel.default_exchange.publish(aio_pika.Message(b"%d" % turn), queue.name)
                    for _ in "abc"
                ),
            )
        await tap.turn(lambda: None)
        await eventually(lambda: len(delivered) == 60)
        for _ in range(2):
            await channel.default_exchange.publish(aio_pika.Message(b""), queue.name)
        await eventually(lambda: len(delivered) == 62)
    finally:
        await close(connection)

    # Not each with a task of its own.
    assert tasks[60] is tasks[61]
    assert [each.delivery_tag for each in delivered] == list(range(1, 63))


async def test_no_delivery_begins_to_come_after_the_end_of_a_consumer_or_its_channel(broker_url: str) -> None:
    connection = await connect(Broker(url=SecretStr(broker_url)), name="test")
    try:
        channel = cast(Channel, await (await connection.channel()).get_underlay_channel())
        declared = await channel.queue_declare(exclusive=True)
        first, second = [await channel.consume(str(declared.queue), print) for _ in "ab"]
        assert channel.taker(first) is channel.taker(second) is print

        await channel.cancel(first)
        assert channel.taker(first) is None
        assert channel.taker(second) is print
    finally:
        await close(connection)

    assert channel.taker(second) is None
