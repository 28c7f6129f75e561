"""The proxy on a real broker: which frame it knows as what, and what each verdict does to a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelInvalidStateError

from tests.broker.rig import depth
from tests.eventually import eventually
from tests.faults.proxy import AmqpProxy, Verdict, point_of

LOST = (AMQPError, ConnectionError, ChannelInvalidStateError, TimeoutError, asyncio.CancelledError)
QUEUE = "hub.queue"


@asynccontextmanager
async def proxied(
    url: str, judge: Callable[[str], Verdict], told: list[str] | None = None, hold_seconds: float = 0.4
) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """A confirming channel through the proxy, with a queue that is there."""
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    after = told.append if told is not None else (lambda _: None)
    async with AmqpProxy(port, judge, after=after, hold_seconds=hold_seconds).running() as proxy:
        connection = await aio_pika.connect(url.replace(f":{port}/", f":{proxy.port}/"))
        try:
            channel = await connection.channel()
            await channel.declare_queue(QUEUE, durable=True)
            yield channel
        finally:
            await connection.close()


async def publish(channel: aio_pika.abc.AbstractChannel, body: bytes = b"{}") -> None:
    await channel.default_exchange.publish(aio_pika.Message(body), QUEUE)


def only(point: str, verdict: Verdict) -> Callable[[str], Verdict]:
    return lambda passed: verdict if passed == point else Verdict.PASS


async def test_frames_pass_whole_and_their_points_are_told_in_order(broker_url: str) -> None:
    points: list[str] = []

    def judge(point: str) -> Verdict:
        points.append(point)
        return Verdict.PASS

    async with proxied(broker_url, judge) as channel:
        # Several body frames: a frame holds 128 KiB.
        await publish(channel, b"x" * 400_000)
        queue = await channel.get_queue(QUEUE)
        got: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
        await queue.consume(got.put)
        message = await got.get()
        await message.ack()
        await eventually(lambda: "broker.ack" in points)

    assert len(message.body) == 400_000
    assert points[:5] == [
        "broker.publish",
        "broker.confirm",
        "broker.consume",
        "broker.deliver",
        "broker.ack",
    ]


async def test_a_publish_that_is_cut_before_does_not_arrive(broker_url: str) -> None:
    async with proxied(broker_url, only("broker.publish", Verdict.CUT_BEFORE)) as channel:
        with pytest.raises(LOST):
            await asyncio.wait_for(publish(channel), 30)

    assert await depth(broker_url, QUEUE) == 0


async def test_a_publish_that_is_cut_after_arrives_and_its_confirm_does_not(broker_url: str) -> None:
    async with proxied(broker_url, only("broker.publish", Verdict.CUT_AFTER)) as channel:
        with pytest.raises(LOST):
            await asyncio.wait_for(publish(channel, b"x" * 400_000), 30)

    async def arrived() -> bool:
        return await depth(broker_url, QUEUE) == 1

    await eventually(arrived)


async def test_a_confirm_that_is_cut_before_leaves_the_message_at_the_broker(broker_url: str) -> None:
    async with proxied(broker_url, only("broker.confirm", Verdict.CUT_BEFORE)) as channel:
        with pytest.raises(LOST):
            await asyncio.wait_for(publish(channel), 30)

    assert await depth(broker_url, QUEUE) == 1


async def test_a_held_connection_stands_still_and_goes_on(broker_url: str) -> None:
    loop = asyncio.get_running_loop()

    async with proxied(broker_url, only("broker.publish", Verdict.HOLD_AFTER), hold_seconds=0.4) as channel:
        begun = loop.time()
        await publish(channel)
        waited = loop.time() - begun

    assert waited >= 0.4
    assert await depth(broker_url, QUEUE) == 1


async def test_who_is_told_after_a_frame_is_told_once_it_was_passed_on(broker_url: str) -> None:
    told: list[str] = []

    async with proxied(broker_url, only("broker.publish", Verdict.TELL_AFTER), told) as channel:
        await publish(channel)

    assert told == ["broker.publish"]


@pytest.mark.parametrize(
    ("exchange", "point"),
    [
        ("hub.orders", "broker.publish"),
        ("hub.wait.5000", "broker.wait"),
        ("hub.dead-letter", "broker.letter"),
        ("hub.requeue", "broker.replay"),
    ],
)
def test_a_publish_is_known_by_its_exchange(exchange: str, point: str) -> None:
    payload = b"\x00\x3c\x00\x28\x00\x00" + bytes([len(exchange)]) + exchange.encode() + b"\x00\x00"

    assert point_of(payload, to_broker=True) == (point, True)
