"""A message on its way to us, and how to say that it is settled.

One whose connection is lost comes again. If it is still in hand then, the new delivery takes the place of the old one:
the work goes on, and is settled over the new connection.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from aiormq.abc import DeliveredMessage

from hub.amqp.connection.errors import LOST, until_closed
from hub.amqp.receiving.ack_batcher import AckBatcher

_COUNTED = frozenset({"x-delivery-count", "x-acquired-count"})


@dataclass(slots=True, eq=False)
class Delivery:
    """A delivery: where it came from, and the acks of its channel."""

    delivered: DeliveredMessage
    queue: str
    acks: AckBatcher

    def is_again(self, lost: Delivery) -> bool:
        """Whether this is the message of a delivery that is lost, which the broker delivers again."""
        ours, theirs = self.delivered, lost.delivered
        return (
            lost.lost
            and ours.body == theirs.body
            and (ours.exchange, ours.routing_key) == (theirs.exchange, theirs.routing_key)
            and ours.header.properties.message_id == theirs.header.properties.message_id
            and _headers(ours) == _headers(theirs)
        )

    def come_again(self, again: Delivery) -> None:
        """Be settled as the delivery that has come in place of this one."""
        self.delivered, self.acks = again.delivered, again.acks

    @property
    def lost(self) -> bool:
        """Whether its channel is closed: it cannot be acked any more and will be redelivered."""
        return self.delivered.channel.is_closed

    def until_lost(self) -> AbstractAsyncContextManager[None]:
        """End what is done for it, by ``TimeoutError``, once it is lost."""
        return until_closed(self.delivered.channel)

    def ack(self) -> bool:
        """Acknowledge soon; False when the connection it came on is gone and the broker will redeliver it."""
        tag = self.delivered.delivery_tag
        if self.lost or tag is None:
            return False
        self.acks.ack(tag)
        return True

    async def requeue(self) -> None:
        """Requeue it, unless it was acked."""
        tag = self.delivered.delivery_tag
        if tag is None or self.acks.has(tag):
            return
        with suppress(*LOST):
            async with self.until_lost():
                await self.delivered.channel.basic_nack(tag, requeue=True)
            self.acks.settled_otherwise(tag)

    async def dead_letter(self) -> bool:
        """Have the broker move it to the dead-letter queue as it is; False when it is lost and will be redelivered.

        For what is too large to be published again; such a letter has the broker's headers and none of the hub's.
        """
        tag = self.delivered.delivery_tag
        if self.lost or tag is None or self.acks.has(tag):
            return False
        try:
            async with self.until_lost():
                await self.delivered.channel.basic_reject(tag, requeue=False)
        except (*LOST, TimeoutError):
            return False
        self.acks.settled_otherwise(tag)
        return True


def _headers(delivered: DeliveredMessage) -> dict[str, Any]:
    """Return the headers without those that the broker changes with each delivery."""
    headers = delivered.header.properties.headers or {}
    return {name: value for name, value in headers.items() if name not in _COUNTED}
