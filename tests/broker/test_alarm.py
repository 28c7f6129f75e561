"""A broker that blocks publishers, since it is short of memory or disk: what goes on, what waits, what is not sent twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import orjson
import pytest

from hub.amqp.copies.large_copies import LargeCopies
from hub.amqp.in_hand import BUDGET, IN_HAND
from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.messaging.message import Message
from hub.messaging.outcome import Reject, Retry
from hub.topology import rung_name
from tests.broker.rig import ORDER_ID, QUEUE, Handler, Rig, depth, letters, outsider, running, send
from tests.eventually import eventually
from tests.nodes import rabbitmqctl

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})
# Longer than the test: what waits on it is still there to be counted.
WAIT = timedelta(minutes=5)
SHORT = timedelta(seconds=2)


@asynccontextmanager
async def alarm(node: PrivateNode) -> AsyncIterator[None]:
    """The disk alarm; a broker in alarm blocks a connection once it has published."""
    await rabbitmqctl(node, "set_disk_free_limit", str(10**15))
    try:
        yield
    finally:
        await rabbitmqctl(node, "set_disk_free_limit", "50MB")


@asynccontextmanager
async def memory_alarm(node: PrivateNode) -> AsyncIterator[None]:
    """The memory alarm, by a limit that each broker is above."""
    await rabbitmqctl(node, "set_vm_memory_high_watermark", "0.0001")
    try:
        yield
    finally:
        await rabbitmqctl(node, "set_vm_memory_high_watermark", "absolute", "1GB")


async def publish(rig: Rig, message_id: str, body: bytes = ACCEPTED) -> None:
    await rig.publisher.send(
        Message(body, message_id=message_id), exchange="hub.fulfillment", routing_key="order.accepted"
    )


async def test_a_message_that_is_to_wait_is_put_on_its_rung_once_however_long_the_alarm_lasts(
    own_node: PrivateNode,
) -> None:
    gate = asyncio.Event()
    handler = Handler(always=Retry("later"), gate=gate)
    rung = rung_name(WAIT)

    async with running(own_node.url, handler, waits=[WAIT], publish_timeout=SHORT) as rig:
        await publish(rig, "m-1")
        await eventually(lambda: handler.ids == ["m-1"])
        async with alarm(own_node):
            gate.set()
            # As long as five publishes that give up.
            for number in range(5):
                with pytest.raises(BrokerUnavailable):
                    await publish(rig, f"given-up-{number}")
            assert await depth(own_node.url, rung) == 0
        await eventually(lambda: rig.consumer.oldest_seconds() == 0, because="all is settled")

    waiting = [letter.message_id for letter in await letters(own_node.url, rung)]
    assert waiting.count("m-1") == 1


async def test_nothing_is_put_into_the_socket_while_the_broker_blocks_publishers(
    own_node: PrivateNode,
) -> None:
    handler = Handler()

    async with running(own_node.url, handler, publish_timeout=SHORT) as rig:
        async with alarm(own_node):
            with pytest.raises(BrokerUnavailable, match="connected"):
                await publish(rig, "meets-the-alarm")
            for number in range(3):
                with pytest.raises(BrokerUnavailable, match="the broker blocks publishers: it is short of"):
                    await publish(rig, f"held-{number}")
        await eventually(lambda: "meets-the-alarm" in handler.ids)
        await publish(rig, "after")
        await eventually(lambda: "after" in handler.ids)

    assert handler.ids == ["meets-the-alarm", "after"]


async def test_what_was_delivered_is_worked_and_acked_while_publishers_are_blocked(
    own_node: PrivateNode,
) -> None:
    gate = asyncio.Event()
    handler = Handler(gate=gate)

    async with running(own_node.url, handler, publish_timeout=SHORT) as rig, outsider(own_node.url) as client:
        for number in range(40):
            await send(client, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=f"m-{number}")
        async with alarm(own_node):
            with pytest.raises(BrokerUnavailable):
                await publish(rig, "last")
            gate.set()
            await eventually(lambda: len(handler.seen) >= 40, because="beyond the prefetch: acks get through")
            await eventually(lambda: rig.consumer.oldest_seconds() == 0)
        await eventually(lambda: handler.ids[-1] == "last")
        assert await depth(own_node.url, QUEUE.queue) == 0


LARGE_ONE = orjson.dumps({"order_id": ORDER_ID, "note": "a" * 100_000})


async def test_a_large_message_that_is_refused_becomes_a_letter_in_an_alarm(own_node: PrivateNode) -> None:
    gate = asyncio.Event()
    handler = Handler(always=Reject("expected an order"), gate=gate)
    count = 15
    url = own_node.url

    async with running(url, handler, large=LargeCopies(at_once=1, patience=0.2)) as rig:
        for number in range(count):
            await publish(rig, f"m-{number}", LARGE_ONE)
        await eventually(lambda: len(handler.seen) == count)
        async with memory_alarm(own_node):
            gate.set()
            # One copy is in the socket and waits for the end of the alarm.
            await eventually(lambda: _has(url, QUEUE.dead, count - 1))
        await eventually(lambda: rig.consumer.oldest_seconds() == 0)

    dead = [letter.message_id for letter in await letters(url, QUEUE.dead)]
    assert sorted(filter(None, dead)) == sorted(f"m-{number}" for number in range(count))


async def test_a_large_message_that_is_to_wait_gives_way_in_an_alarm(own_node: PrivateNode) -> None:
    gate = asyncio.Event()
    handler = Handler(always=Retry("later"), gate=gate)
    url, rung = own_node.url, rung_name(WAIT)

    async with running(url, handler, waits=[WAIT], large=LargeCopies(at_once=1, patience=0.2)) as rig:
        for number in range(2):
            await publish(rig, f"m-{number}", LARGE_ONE)
        await eventually(lambda: len(handler.seen) == 2)
        async with memory_alarm(own_node):
            IN_HAND.take(BUDGET)
            gate.set()
            try:
                await eventually(lambda: len(handler.seen) >= 3, within=20, because="one has come again")
            finally:
                IN_HAND.drop(BUDGET)
        await eventually(lambda: rig.consumer.oldest_seconds() == 0)
        assert rig.supervisor.is_up

    waiting = [letter.message_id for letter in await letters(url, rung)]
    assert sorted(filter(None, waiting)) == ["m-0", "m-1"]


async def _has(url: str, queue: str, count: int) -> bool:
    return await depth(url, queue) >= count
