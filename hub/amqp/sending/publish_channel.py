"""The channel that a session publishes on, and a new one of the same connection after the broker has refused on it.

A refusal that is meant for good (403, 404, 406) closes the channel; then the next one is opened at once.

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
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol, cast

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Returning

from hub.amqp.connection.connection import CLOSE_SECONDS
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.connection.refusal import code_of
from hub.errors import BrokerUnavailable
from hub.observability.logging import LogEvent, log

# Channels that one connection has been given after refusals; then the session ends, and with it what it keeps of them.
_MOST_CHANNELS = 1000


@dataclass(slots=True)
class Pauses:
    """How long to wait before the next new channel; the longer, the more came just before it.

    The client library keeps some kilobytes of each channel for as long as its connection lives.
    """

    shortest: float = 1.0
    """Seconds; the next is twice as long."""
    longest: float = 60.0
    """Seconds; after as long without a new channel, they begin with the shortest again."""
    _next: float = field(default=0.0, init=False)
    _over: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._next = self.shortest

    def before(self, now: float) -> float:
        """Return the seconds to wait at this moment."""
        if now - self._over > self.longest:
            self._next = self.shortest
        return max(0.0, self._over - now)

    def begin(self, now: float) -> None:
        """Begin the next one."""
        self._over = now + self._next
        self._next = min(2 * self._next, self.longest)


class _Underlay(Protocol):
    """The client library's channel; its abstract type does not know of what it has not heard of yet."""

    confirmations: dict[int, asyncio.Future[object]]


class PublishChannel:
    """Where to publish in this session.

    Args:
        connection: of this session.
        lost: told why, once there is no channel left to publish on.
        pauses: between new channels.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        lost: Callable[[str], None],
        pauses: Pauses | None = None,
    ) -> None:
        self._connection = connection
        self._lost = lost
        self._channel: AbstractChannel | None = None
        self._pauses = pauses or Pauses()
        # Nothing can be published before the next one is open.
        self._pauses_when_closed = Pauses(shortest=0.02, longest=0.5)
        self._opened = 0
        self._renewing: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def channel(self) -> AbstractChannel | None:
        """The channel to publish on now; None when it is closed, or not yet open."""
        channel = self._channel
        return None if channel is None or channel.is_closed else channel

    @property
    def is_renewed(self) -> bool:
        """Whether another channel is on its way."""
        return self._renewing is not None and not self._renewing.done()

    async def open(self) -> None:
        """Open the channel that is published on from now on.

        Raises:
            aio_pika.exceptions.AMQPError: the connection is lost, or has no channel left.
        """
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(lambda _, error: self._closed(channel, error))
        self._channel = channel
        self._opened += 1

    def refused(self, channel: AbstractChannel) -> None:
        """Publish on a new channel soon, since the broker has refused a message on this one.

        The first time at once; while refusals go on, after pauses that grow from a second to a minute.
        """
        if channel is self._channel and not self.is_renewed:
            # Not in the trace of the message that was refused.
            self._renewing = asyncio.create_task(self._renew(channel), context=Context())

    async def close(self) -> None:
        """Begin nothing new; the connection, which is closed next, ends all channels."""
        tasks = {*self._retiring} if self._renewing is None else {*self._retiring, self._renewing}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self, refusing: AbstractChannel) -> None:
        clock = asyncio.get_running_loop()
        await asyncio.sleep(self._pauses.before(clock.time()))
        try:
            with translate_connection_cancel():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.open()
        except (*LOST, BrokerUnavailable) as error:
            # A connection that is lost ends the session by itself; else whoever is refused next tries again.
            log.warning(LogEvent.CHANNEL_KEPT, reason=f"no new channel: {describe(error)}")
        else:
            log.warning(LogEvent.CHANNEL_RENEWED, reason="the broker refused a message on the last one")
            retiring = asyncio.create_task(_retire(refusing))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
        self._pauses.begin(clock.time())

    async def _replace(self) -> None:
        clock = asyncio.get_running_loop()
        await asyncio.sleep(self._pauses_when_closed.before(clock.time()))
        try:
            with translate_connection_cancel():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.open()
        except (*LOST, BrokerUnavailable) as error:
            self._lost(f"publish channel: no new one: {describe(error)}")
        self._pauses_when_closed.begin(clock.time())

    def _closed(self, channel: AbstractChannel, error: BaseException | None) -> None:
        if channel is not self._channel:
            return
        if code_of(error) is None or self._connection.is_closed or self._opened > _MOST_CHANNELS:
            self._lost(f"publish channel: {describe(error)}")
            return
        log.warning(LogEvent.CHANNEL_RENEWED, reason=f"the broker refused a message: {describe(error)}")
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = asyncio.create_task(self._replace(), context=Context())


async def _retire(channel: AbstractChannel) -> None:
    """Close a channel once the broker has answered everything that was published on it, however long that takes.

    Closed before, it would have messages published again that may be stored.
    """
    underlay = cast(_Underlay, await channel.get_underlay_channel())
    while pending := [each for each in underlay.confirmations.values() if _is_waited_for(each)]:
        await asyncio.wait(pending)
    with suppress(*LOST, BrokerUnavailable), translate_connection_cancel():
        await channel.close()


def _is_waited_for(confirmation: asyncio.Future[object]) -> bool:
    """Whether somebody waits for it: what came back is answered, and its place is held by a future that never ends."""
    return not confirmation.done() and not isinstance(confirmation, Returning)
