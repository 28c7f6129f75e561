"""Reading stops while there is too much in hand, goes on when there is room, and never stops for too long."""

import asyncio
from typing import Any

import pytest
from pamqp.body import ContentBody

from hub.amqp.in_hand import InHand
from hub.amqp.protocol.channel import Frames
from tests.amqp.protocol.test_channel import Channel, deliver, header

FOR_EVER = 3600.0


async def test_a_delivery_waits_until_there_is_room() -> None:
    channel: Any = Channel()
    in_hand = InHand(budget=10, pause=FOR_EVER)
    frames = Frames(channel, 10, in_hand)
    in_hand.take(8)
    in_hand.take(8)

    reading = asyncio.create_task(frames.put((8, deliver(1))))
    await asyncio.wait([reading], timeout=0.05)
    waited = not reading.done()
    in_hand.drop(8)
    await reading
    await frames.put((8, header(2)))
    await frames.put((8, ContentBody(b"{}")))

    assert waited
    assert [each.body for each in channel.delivered] == [b"{}"]


async def test_what_is_no_delivery_is_read_though_there_is_no_room() -> None:
    channel: Any = Channel()
    in_hand = InHand(budget=1, pause=FOR_EVER)
    frames = Frames(channel, 10, in_hand)
    await frames.put((8, deliver(1)))
    await frames.put((8, header(2)))
    in_hand.take(8)

    await frames.put((8, ContentBody(b"{}")))

    assert len(channel.delivered) == 1


async def test_one_delivery_waits_no_longer_than_the_longest_pause() -> None:
    in_hand = InHand(budget=1, pause=0.02)
    in_hand.take(8)

    async with asyncio.timeout(5):
        await in_hand.room()

    assert in_hand.is_full


async def test_all_that_wait_go_on_when_there_is_room() -> None:
    in_hand = InHand(budget=10, pause=FOR_EVER)
    in_hand.take(20)
    waiting = [asyncio.create_task(in_hand.room()) for _ in range(3)]

    in_hand.drop(5)
    in_hand.drop(15)

    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_an_exchange_with_the_broker_has_longer_while_reading_stands_still() -> None:
    in_hand = InHand(budget=1, pause=0.4)
    in_hand.take(8)
    reading = asyncio.create_task(in_hand.room())
    await asyncio.wait([reading], timeout=0.01)

    async with in_hand.patience(0.2):
        await reading


async def test_an_exchange_with_the_broker_has_an_end_while_there_is_room() -> None:
    with pytest.raises(TimeoutError):
        async with InHand().patience(0.02):
            await asyncio.Event().wait()
