"""Deliveries and confirms on the short way through a channel: whole, in order, and only where nothing is overtaken."""

from __future__ import annotations

from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from hub.amqp.protocol.channel import Frames, HandOver


class Channel:
    """A channel with one consumer, ``ours``, that notes what it is handed and which confirms have come."""

    def __init__(self) -> None:
        self.delivered: list[DeliveredMessage] = []
        self.confirms: list[Basic.Ack] = []

    def taker(self, tag: str | None) -> HandOver | None:
        return self.delivered.append if tag == "ours" else None

    async def confirmed(self, frame: Basic.Ack) -> None:
        self.confirms.append(frame)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def frames(channel: Any) -> Frames:
    return Frames(channel, 10)


def deliver(tag: int = 1, consumer: str = "ours") -> Basic.Deliver:
    return Basic.Deliver(consumer, tag, False, "hub.fulfillment", "order.shipped")


def header(size: int) -> ContentHeader:
    return ContentHeader(0, size, Basic.Properties(message_id="m-1"))


async def put(frames: Frames, *content: object) -> None:
    for frame in content:
        await frames.put((8, frame))


def queued(frames: Frames) -> list[Any]:
    return [frames.get_nowait()[1] for _ in range(frames.qsize())]


@pytest.mark.parametrize("parts", [[b"{}"], [b"{", b"}"], [b"", b"{", b"", b"}"], []])
async def test_a_delivery_is_handed_over_with_its_last_frame(
    frames: Frames, channel: Channel, parts: list[bytes]
) -> None:
    body = b"".join(parts)
    content = [deliver(7), header(len(body)), *map(ContentBody, parts)]

    await put(frames, *content[:-1])
    assert not channel.delivered
    await put(frames, content[-1])

    (delivered,) = channel.delivered
    assert (delivered.delivery_tag, delivered.routing_key, delivered.body) == (7, "order.shipped", body)
    assert delivered.header.properties.message_id == "m-1"
    assert frames.empty()


async def test_deliveries_that_follow_each_other_keep_their_order_and_their_bodies(
    frames: Frames, channel: Channel
) -> None:
    for tag in range(1, 6):
        await put(frames, deliver(tag), header(1), ContentBody(b"%d" % tag))

    assert [(each.delivery_tag, each.body) for each in channel.delivered] == [
        (tag, b"%d" % tag) for tag in range(1, 6)
    ]


async def test_a_delivery_to_anybody_else_goes_through_the_queue(frames: Frames, channel: Channel) -> None:
    content = [deliver(consumer="another"), header(2), ContentBody(b"{}")]

    await put(frames, *content)

    assert queued(frames) == content
    assert not channel.delivered


async def test_nothing_overtakes_what_waits_in_the_queue(frames: Frames, channel: Channel) -> None:
    content = [Basic.CancelOk("another"), deliver(), header(2), ContentBody(b"{}"), Basic.Ack(3)]

    await put(frames, *content)

    assert queued(frames) == content
    assert not channel.delivered
    assert not channel.confirms


@pytest.mark.parametrize("whole", [1, 2, 3])
async def test_what_is_no_delivery_in_the_end_is_left_to_the_library_in_its_order(
    frames: Frames, channel: Channel, whole: int
) -> None:
    content = [*[deliver(), header(4), ContentBody(b"{}")][:whole], Basic.Ack(3)]

    await put(frames, *content)

    assert queued(frames) == content
    assert not channel.delivered
    assert not channel.confirms


async def test_a_delivery_keeps_behind_one_that_went_through_the_queue_until_that_is_handed_over(
    frames: Frames, channel: Channel
) -> None:
    await put(frames, Basic.CancelOk("another"), deliver(1), header(0))
    assert len(queued(frames)) == 3

    await put(frames, deliver(2), header(0))
    assert len(queued(frames)) == 2

    frames.came_through()
    frames.came_through()
    await put(frames, deliver(3), header(0))
    assert [each.delivery_tag for each in channel.delivered] == [3]


async def test_a_confirm_is_told_at_once_but_one_of_several_and_a_refusal_are_the_librarys(
    frames: Frames, channel: Channel
) -> None:
    await put(frames, Basic.Ack(3), Basic.Ack(5, multiple=True), Basic.Nack(6))

    assert [confirm.delivery_tag for confirm in channel.confirms] == [3]
    assert [frame.delivery_tag for frame in queued(frames)] == [5, 6]
