"""Acks of one channel, sent to the broker together: a frame, and a call of the system, for many deliveries.

Deliveries are settled in the order in which their work ends, and many in the same turn of the loop, since their records
share a commit. All that lie below the first one still at work are acked with one frame (``multiple``), each beyond it
with a frame of its own, so that one that hangs keeps nobody else's from the broker.

Called by ``Delivery``; there is one for each consuming channel, whose delivery tags count from 1. A channel that is lost
meanwhile takes the untold acks with it: the broker redelivers, and the ledger answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol

from hub.amqp.connection.errors import LOST, Closing, until_closed


class Channel(Closing, Protocol):
    """What acks are told to."""

    def basic_ack(self, delivery_tag: int, multiple: bool = False, wait: bool = True) -> Awaitable[None]:
        """Send one ack; with ``wait``, return once it was handed to the socket."""


class AckBatcher:
    """Gathers acks until the loop's next turn, and while the last ones are on their way."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # Every tag up to the edge is settled; beyond it are those that were settled before an earlier one.
        self._edge = 0
        self._beyond: set[int] = set()
        self._untold: list[int] = []
        self._telling: asyncio.Task[None] | None = None

    def ack(self, tag: int) -> None:
        """Ack a delivery soon."""
        self._untold.append(tag)
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="acks")

    def has(self, tag: int) -> bool:
        """Whether a delivery is settled, be the ack told already or not: the broker refuses a second word about it."""
        return tag <= self._edge or tag in self._beyond or tag in self._untold

    @property
    def any(self) -> bool:
        """Whether anything was acked."""
        return bool(self._edge or self._beyond or self._untold)

    def settled_otherwise(self, tag: int) -> None:
        """Note that a delivery was nacked: it holds up the edge no longer."""
        self._beyond.add(tag)

    async def told(self) -> None:
        """Wait until every ack has left, or the channel is closed."""
        while self._telling is not None:
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        try:
            with suppress(*LOST):
                async with until_closed(self._channel):
                    while self._untold:
                        await self._send(self._frames())
        finally:
            self._telling = None

    async def _send(self, frames: Sequence[tuple[int, bool]]) -> None:
        for tag, multiple in frames:
            # The frames of one turn leave together; the last one waits until the socket has room.
            await self._channel.basic_ack(tag, multiple=multiple, wait=tag == frames[-1][0])

    def _frames(self) -> list[tuple[int, bool]]:
        """Take what is untold: give the tags to ack, and whether with all before them."""
        untold, self._untold = sorted(self._untold), []
        self._beyond.update(untold)
        while self._edge + 1 in self._beyond:
            self._edge += 1
            self._beyond.remove(self._edge)
        # The highest of these, not the edge: the broker refuses a tag that it has seen settled.
        below = [tag for tag in untold if tag <= self._edge]
        one_by_one = [(tag, False) for tag in untold if tag > self._edge]
        return [(below[-1], True), *one_by_one] if below else one_by_one
