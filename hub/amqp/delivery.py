"""A message on its way to us once, and how to say that it is settled."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from aio_pika.abc import AbstractIncomingMessage

from hub.amqp.acks import Acks
from hub.amqp.loss import LOST, while_open


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery: where it came from, and the acks of its channel."""

    incoming: AbstractIncomingMessage
    queue: str
    acks: Acks

    @property
    def lost(self) -> bool:
        """Whether its channel is closed: it cannot be acked any more and will be redelivered."""
        return self.incoming.channel.is_closed

    def ack(self) -> bool:
        """Acknowledge soon; False when the connection it came on is gone and the broker will redeliver it."""
        if self.lost or self.incoming.delivery_tag is None:
            return False
        self.acks.ack(self.incoming.delivery_tag)
        return True

    async def hand_back(self) -> None:
        """Requeue it, unless it was acked; counts toward the queue's delivery limit."""
        tag = self.incoming.delivery_tag
        if tag is None or self.acks.has(tag):
            return
        with suppress(*LOST):
            async with while_open(self.incoming.channel):
                await self.incoming.nack(requeue=True)
            self.acks.settled_otherwise(tag)
