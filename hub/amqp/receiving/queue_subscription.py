"""One queue being consumed, as widely as is wanted now: none at all, so many deliveries at once, or the prefetch.

A consumer has the prefetch that it began with, so another width is another consumer on the same channel: the old one is
cancelled, and what it was given stays unacknowledged, at work and ours. Deliveries that cross a cancel are handed over
as well; the client library forgets a consumer when the broker has confirmed the cancel, not before.

Called by the supervisor, which has a tap for each queue in each session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aio_pika.abc import AbstractChannel

from hub.amqp.in_hand import IN_HAND
from hub.amqp.protocol.channel import Channel, HandOver
from hub.errors import BrokerUnavailable

# A queue whose leader is being elected answers within a few seconds; one that has none never does.
_CONSUME_SECONDS = 5.0


class Tap:
    """The consumer of a queue on a channel of its own; closed at first.

    Args:
        channel: for this queue alone.
        queue: its name.
        prefetch: deliveries at once when it is open.
        hand_over: called for each delivery; must neither block nor raise.
    """

    def __init__(
        self,
        channel: AbstractChannel,
        queue: str,
        prefetch: int,
        hand_over: HandOver,
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._prefetch = prefetch
        self._hand_over = hand_over
        self._width = 0
        self._tag: str | None = None
        # Else a look at the broker between a cancel and a new consumer would find none.
        self._turning = asyncio.Lock()

    async def turn(self, width: Callable[[], int | None]) -> None:
        """Consume with so many deliveries at once: 0 closes it, None opens it; asked when it is its turn.

        Raises:
            BrokerUnavailable: the queue does not answer.
            aio_pika.exceptions.AMQPError: the channel is lost.
        """
        async with self._turning:
            asked = width()
            wanted = self._prefetch if asked is None else min(asked, self._prefetch)
            if wanted == self._width:
                return
            await self._cancel()
            if wanted:
                await self._consume(wanted)

    async def is_as_wanted(self) -> bool:
        """Ask the broker whether it lists a consumer of the queue; one that is closed on purpose wants none."""
        async with self._turning:
            if self._tag is None:
                return True
            found = await self._channel.declare_queue(self._queue, passive=True)
            return bool(found.declaration_result.consumer_count)

    async def _consume(self, width: int) -> None:
        # Holds for consumers that begin after it on this channel.
        await self._channel.set_qos(prefetch_count=width)
        await self._channel.declare_queue(self._queue, passive=True)
        ours = await _ours(self._channel)
        try:
            async with IN_HAND.patience(_CONSUME_SECONDS):
                # Not Queue.consume, which starts tasks for each delivery.
                self._tag = await ours.consume(self._queue, self._hand_over)
        except TimeoutError:
            raise BrokerUnavailable(_without_leader(self._queue)) from None
        self._width = width

    async def _cancel(self) -> None:
        tag, self._tag, self._width = self._tag, None, 0
        if tag is not None:
            await (await _ours(self._channel)).cancel(tag)


async def _ours(channel: AbstractChannel) -> Channel:
    """Return the channel below, which ``hub.amqp.connection.connection`` has opened."""
    return cast(Channel, await channel.get_underlay_channel())


def _without_leader(queue: str) -> str:
    """Say what a person must do about a queue that is there and answers nobody."""
    return (
        f"expected to consume from {queue}; the broker is there and did not answer within {_CONSUME_SECONDS:g} s: the queue"
        " has no leader. If nodes that hold it are away, bring them back (rabbitmq-queues quorum_status names them). If"
        " all are there, its node was killed within a second of declaring it and has forgotten it, and no restart helps:"
        f" rabbitmqctl delete_queue {queue}, and the hub declares it again; what it held came within that second"
    )
