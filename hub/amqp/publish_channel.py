"""The channel that a session publishes on, and a new one of the same connection after the broker has refused on it.

The broker learns on each channel by itself where the leader of a queue is, at the first publish to it. When that falls
into the moment in which the leader's node has died and no other is elected yet, RabbitMQ 3.10.8 holds to the dead one:
it refuses whatever reaches the queue over this channel until the node is back, while a new channel finds the new leader
(``tests/cluster``). So no channel is trusted that has brought a refusal. Where the refusal is meant, as by a queue that
is full, the new one is refused as well, and has cost little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from aio_pika.abc import AbstractChannel, AbstractConnection

from hub.amqp.connection import CLOSE_SECONDS
from hub.amqp.loss import LOST, describe, not_a_shutdown
from hub.errors import BrokerUnavailable
from hub.telemetry import LogEvent, log

# Between two new channels, at least.
_RENEW_SECONDS = 1.0
# What is on its way when a channel is given up may still be confirmed; a confirm that takes longer is given up too.
_ANSWER_SECONDS = 10.0


class _Underlay(Protocol):
    """The client library's channel; its abstract type does not know of what it has not heard of yet."""

    confirmations: dict[int, asyncio.Future[object]]


class PublishChannel:
    """Where to publish in this session.

    Args:
        connection: of this session.
        lost: told why, once there is no channel left to publish on.
    """

    def __init__(self, connection: AbstractConnection, lost: Callable[[str], None]) -> None:
        self._connection = connection
        self._lost = lost
        self._channel: AbstractChannel | None = None
        self._opened_at = 0.0
        self._renewing: asyncio.Task[None] | None = None

    @property
    def channel(self) -> AbstractChannel | None:
        """The channel to publish on now; None when it is closed, or not yet open."""
        channel = self._channel
        return None if channel is None or channel.is_closed else channel

    async def open(self) -> None:
        """Open the channel that is published on from now on.

        Raises:
            aio_pika.exceptions.AMQPError: the connection is lost, or has no channel left.
        """
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda _, error: self._closed(channel, error))
        self._channel = channel
        self._opened_at = asyncio.get_running_loop().time()

    def refused(self, channel: AbstractChannel) -> None:
        """Publish on a new channel soon, since the broker has refused a message on this one; at most one a second."""
        if channel is self._channel and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(channel))

    async def close(self) -> None:
        """Begin no new channel any more; the connection closes those that are open."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def _renew(self, refusing: AbstractChannel) -> None:
        await asyncio.sleep(self._opened_at + _RENEW_SECONDS - asyncio.get_running_loop().time())
        # A connection that is lost meanwhile ends the session by itself; whoever is refused next tries again.
        with suppress(*LOST, BrokerUnavailable), not_a_shutdown():
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.open()
            log.info(LogEvent.CHANNEL_RENEWED, reason="the broker refused a message on the last one")
            await _let_answer(refusing)
            async with asyncio.timeout(CLOSE_SECONDS):
                await refusing.close()

    def _closed(self, channel: AbstractChannel, error: BaseException | None) -> None:
        if channel is self._channel:
            self._lost(f"publish channel: {describe(error)}")


async def _let_answer(channel: AbstractChannel) -> None:
    """Wait until the broker has answered what was published on a channel, for some seconds."""
    underlay = cast(_Underlay, await channel.get_underlay_channel())
    with suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            while pending := [each for each in underlay.confirmations.values() if not each.done()]:
                await asyncio.wait(pending)
