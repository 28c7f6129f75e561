"""Publishing: most publishes leave the socket to itself, and it still holds them once a buffer's worth has left."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Supervisor
from hub.messaging.message import Message


@dataclass
class Channel:
    """A supervisor and its channel in one: confirms everything, and notes which publishes waited for the socket."""

    waited: list[bool] = field(default_factory=list)
    is_up: bool = True

    async def publish_channel(self) -> "Channel":
        return self

    async def get_underlay_channel(self) -> "Channel":
        return self

    @property
    def connection(self) -> "Channel":
        return self

    async def ready(self) -> None:
        """Never blocked."""

    async def basic_publish(self, body: bytes, *, wait: bool, **_: Any) -> None:
        self.waited.append(wait)


async def _waits(*sizes: int) -> list[bool]:
    channel = Channel()
    publisher = AmqpPublisher(cast(Supervisor, channel), timeout=timedelta(seconds=1))
    for size in sizes:
        await publisher.send(Message(b"x" * size), exchange="", routing_key="q")
    return channel.waited


async def test_one_publish_in_a_buffers_worth_waits_for_the_socket() -> None:
    waited = await _waits(*[16 * 1024] * 8)

    assert waited == [False, False, False, True] * 2


async def test_a_large_message_waits_for_the_socket_by_itself() -> None:
    waited = await _waits(1, 2**20, 1)

    assert waited == [False, True, False]
