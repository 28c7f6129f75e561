"""Acks that leave together: which frames the broker gets, whatever the order in which deliveries end."""

from __future__ import annotations

import asyncio
import random

import pytest
from aio_pika.exceptions import ChannelInvalidStateError

from hub.amqp.receiving.ack_batcher import AckBatcher
from tests.eventually import eventually


class Broker:
    """Holds deliveries until they are acked, and refuses a tag it does not hold, as RabbitMQ does."""

    def __init__(self, deliveries: int) -> None:
        self.holds = set(range(1, deliveries + 1))
        self.frames: list[tuple[int, bool]] = []
        self.room = asyncio.Event()
        self.room.set()
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def closing(self) -> asyncio.Future[None]:
        """An observer, as the client library gives it."""
        return asyncio.shield(self._closed)

    def close(self) -> None:
        self._closed.set_result(None)

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, wait: bool = True) -> None:
        assert delivery_tag in self.holds, f"unknown delivery tag {delivery_tag}"
        self.frames.append((delivery_tag, multiple))
        self.holds -= {tag for tag in self.holds if tag <= delivery_tag} if multiple else {delivery_tag}
        if wait:
            await self.room.wait()


class ClosedChannel:
    """A channel that was lost."""

    @property
    def closing(self) -> asyncio.Future[None]:
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        return closed

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, wait: bool = True) -> None:
        raise ChannelInvalidStateError("closed")


async def test_deliveries_that_end_in_one_turn_share_a_frame() -> None:
    broker = Broker(50)
    acks = AckBatcher(broker)

    for tag in range(1, 51):
        acks.ack(tag)
    await eventually(lambda: not broker.holds)

    assert broker.frames == [(50, True)]


async def test_a_delivery_still_at_work_is_not_acked_by_those_after_it() -> None:
    broker = Broker(5)
    acks = AckBatcher(broker)

    for tag in (1, 2, 4, 5):
        acks.ack(tag)
    await eventually(lambda: broker.holds == {3})
    acks.ack(3)
    await eventually(lambda: not broker.holds)

    assert broker.frames == [(2, True), (4, False), (5, False), (3, True)]


async def test_a_delivery_that_was_handed_back_holds_up_no_others() -> None:
    broker = Broker(4)
    acks = AckBatcher(broker)

    broker.holds.remove(1)
    acks.settled_otherwise(1)
    for tag in (2, 3, 4):
        acks.ack(tag)
    await eventually(lambda: not broker.holds)

    assert broker.frames == [(4, True)]


async def test_what_ends_while_the_socket_is_full_leaves_with_the_next_frame() -> None:
    broker = Broker(9)
    acks = AckBatcher(broker)

    broker.room.clear()
    acks.ack(1)
    await eventually(lambda: broker.frames == [(1, True)])
    for tag in range(2, 10):
        acks.ack(tag)
    broker.room.set()
    await eventually(lambda: not broker.holds)

    assert broker.frames == [(1, True), (9, True)]


@pytest.mark.parametrize("seed", range(5))
async def test_every_delivery_is_acked_once_in_whatever_order_they_end(seed: int) -> None:
    chance = random.Random(seed)
    tags = list(range(1, 101))
    chance.shuffle(tags)
    broker = Broker(100)
    acks = AckBatcher(broker)

    while tags:
        for _ in range(min(chance.randint(1, 9), len(tags))):
            tag = tags.pop()
            if chance.random() < 0.1:
                broker.holds.remove(tag)
                acks.settled_otherwise(tag)
            else:
                acks.ack(tag)
        await eventually(lambda: broker.holds == set(tags))


async def test_a_lost_channel_ends_in_no_error_of_ours() -> None:
    acks = AckBatcher(ClosedChannel())

    acks.ack(1)
    await eventually(lambda: acks._telling is None)
    acks.ack(2)
    await eventually(lambda: acks._telling is None)


async def test_acks_that_nobody_takes_any_more_end_with_their_channel() -> None:
    broker = Broker(1)
    acks = AckBatcher(broker)

    broker.room.clear()
    acks.ack(1)
    await eventually(lambda: bool(broker.frames))
    broker.close()

    await eventually(lambda: acks._telling is None)


async def test_who_closes_a_connection_can_wait_for_its_last_acks() -> None:
    broker = Broker(3)
    acks = AckBatcher(broker)

    for tag in (1, 2, 3):
        acks.ack(tag)
    await acks.told()

    assert not broker.holds
