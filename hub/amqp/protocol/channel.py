"""A channel that hands each delivery over as soon as the frames of it are here, and tells a confirm at once.

The client library passes frame for frame through a queue to a task of the channel, and starts one more task for each
delivery, only to call a function that waits for nothing. What is not a delivery to a consumer of ours, nor the ack of one
publish, goes that way still; and so does whatever comes while something is on that way, so that deliveries keep their
order and nothing overtakes what it may depend on.

A close by the broker is answered behind what is being written: the library answers at once, and a publish that waits for
room in the socket then reaches a channel that is no more, which costs the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import aiormq.channel
from aiormq import connection, spec
from aiormq.abc import ChannelFrame, DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from hub.amqp.in_hand import IN_HAND, InHand

HandOver = Callable[[DeliveredMessage], None]
# How long the answer to a close may take; a connection that is lost meanwhile needs none.
_ANSWER_SECONDS = 5.0


def install() -> None:
    """Make each connection of the client library open such channels; once more does no harm."""
    connection.Channel = Channel  # type: ignore[attr-defined]


class Channel(aiormq.channel.Channel):
    """The library's channel, with consumers that are called without a task of their own."""

    # Of the library's own class, whose name is the same.
    _Channel__lock: asyncio.Lock
    _Channel__close_event: asyncio.Event

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answering: asyncio.Task[None] | None = None
        self._takers: dict[str, HandOver] = {}
        self.frames = self._ahead = Frames(self, self.frames.maxsize)

    async def consume(self, queue: str, hand_over: HandOver) -> str:
        """Begin a consumer and give its tag.

        Args:
            queue: its name.
            hand_over: called for each delivery; must neither block nor raise.

        Raises:
            aiormq.exceptions.AMQPError: the broker refuses, or the channel is lost.
            aiormq.exceptions.ChannelInvalidStateError: the channel is closed.
        """

        async def late(delivered: DeliveredMessage) -> None:
            self._ahead.came_through()
            hand_over(delivered)

        tag = f"hub.{uuid4().hex}"
        self._takers[tag] = hand_over
        await self.basic_consume(queue, late, consumer_tag=tag)
        return tag

    async def cancel(self, tag: str) -> None:
        """End a consumer; what crosses the cancel is still handed over."""
        await self.basic_cancel(tag)
        self._takers.pop(tag, None)

    def taker(self, tag: str | None) -> HandOver | None:
        """Return who is called for deliveries to a consumer, unless that has ended or is not one of ours."""
        return None if tag not in self.consumers or self.is_closed else self._takers.get(tag)

    async def confirmed(self, frame: Basic.Ack) -> None:
        """Report to whoever has published that the broker has it."""
        await self._on_confirm_frame(frame)

    async def _on_close_frame(self, frame: spec.Channel.Close) -> None:
        self._close_exception = error = aiormq.channel.exception_by_code(frame)
        # Nothing more is sent from now on but what waits for room already.
        self._Channel__close_event.set()
        self._answering = asyncio.create_task(self._answer_close(), name="answer to a close")
        raise error

    def hold_number(self) -> None:
        """Keep the number of a channel that the broker has closed until it is told that we know."""
        self.connection.channels[self.number] = self

    async def _answer_close(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), self._Channel__lock:
                await self.write_queue.put(
                    ChannelFrame.marshall(channel_number=self.number, frames=[spec.Channel.CloseOk()])
                )
        except TimeoutError:
            # Nobody writes any more: the connection is lost, and all numbers with it.
            return
        if self.connection.channels.get(self.number) is self:
            del self.connection.channels[self.number]


class Frames(asyncio.Queue[tuple[int, Any]]):
    """The queue of frames to a channel, which takes deliveries and confirms past itself while nothing is in it."""

    def __init__(self, channel: Channel, maxsize: int, in_hand: InHand = IN_HAND) -> None:
        super().__init__(maxsize)
        self._channel = channel
        self._in_hand = in_hand
        # The frames of a delivery that is not whole yet, how many bytes of its body are missing, and whose it is.
        self._parts: list[tuple[int, Any]] = []
        self._missing = 0
        self._hand_over: HandOver | None = None
        # Deliveries to consumers of ours that go through the queue, and have not been handed over yet.
        self._on_the_way = 0

    async def put(self, item: tuple[int, Any]) -> None:
        """Take the next frame of the channel, with its length; waits for room where it has to be queued.

        Before a delivery it waits while the process has too much in hand, and with it all that the connection reads.
        """
        frame = item[1]
        if self._parts:
            if self._is_next(frame):
                self._parts.append(item)
                if self._missing <= 0:
                    self._let_go()
                return
            # No delivery after all: the library says so.
            parts, self._parts = self._parts, []
            for part in parts:
                await super().put(part)
        elif isinstance(frame, Basic.Deliver):
            hand_over = self._channel.taker(frame.consumer_tag)
            if hand_over is not None:
                if self._in_hand.is_full:
                    await self._in_hand.room()
                if self.empty() and not self._on_the_way:
                    self._parts.append(item)
                    self._hand_over = hand_over
                    return
                self._on_the_way += 1
        elif isinstance(frame, Basic.Ack) and not frame.multiple and self.empty():
            # One for several is looked up among all that are not confirmed: many of those in one turn take long.
            await self._channel.confirmed(frame)
            return
        elif isinstance(frame, spec.Channel.Close):
            # The library takes it to be free, and the next channel would be opened before this one is closed.
            self._channel.hold_number()
        await super().put(item)

    def came_through(self) -> None:
        """Note that a delivery which went through the queue is handed over now."""
        self._on_the_way -= 1

    def _is_next(self, frame: object) -> bool:
        """Whether a frame belongs to the delivery; counts what is missing then."""
        if len(self._parts) == 1:
            if not isinstance(frame, ContentHeader):
                return False
            self._missing = frame.body_size or 0
            return True
        if not isinstance(frame, ContentBody):
            return False
        self._missing -= len(frame)
        return True

    def _let_go(self) -> None:
        (_, delivery), (_, header), *bodies = self._parts
        hand_over, self._hand_over, self._parts = self._hand_over, None, []
        assert hand_over is not None
        body = bodies[0][1].value if len(bodies) == 1 else b"".join(part.value for _, part in bodies)
        hand_over(DeliveredMessage(delivery, header, body, self._channel))
