"""A client session: one broker connection for one command of an operator, opened, used and closed.

The long-lived service has the supervisor instead. Publishing here is confirmed and mandatory all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError

from hub.amqp.connection.connection import connect
from hub.amqp.connection.errors import LOST, describe
from hub.amqp.sending.properties import to_send
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable
from hub.messaging.message import Message
from hub.topology import DEAD_LETTER


@dataclass(frozen=True, slots=True)
class ClientSession:
    """An open connection and a channel that publishes with confirms."""

    connection: AbstractConnection
    channel: AbstractChannel
    timeout_seconds: float

    async def send(self, message: Message, *, exchange: str, routing_key: str) -> None:
        """Publish a message mandatory and persistent, and wait for the confirm.

        Raises:
            BrokerUnavailable: not confirmed in time, refused or returned; it may be stored all the same.
        """
        where = f"{exchange or 'the default exchange'} {routing_key}"
        try:
            target = (
                await self.channel.get_exchange(exchange, ensure=False)
                if exchange
                else self.channel.default_exchange
            )
            await target.publish(to_send(message), routing_key, mandatory=True, timeout=self.timeout_seconds)
        except TimeoutError:
            raise BrokerUnavailable(
                f"expected a confirm within {self.timeout_seconds:g} s for {where}, got none"
            ) from None
        except DeliveryError as error:
            raise BrokerUnavailable(f"the broker refused a message for {where}: {describe(error)}") from None
        except LOST as error:
            raise BrokerUnavailable(f"lost the channel publishing to {where}: {describe(error)}") from None

    async def send_letter(self, letter: Message, *, queue: str) -> None:
        """Publish a message to the dead-letter queue of ``queue``, as ``send`` does."""
        await self.send(letter, exchange=DEAD_LETTER, routing_key=queue)


@asynccontextmanager
async def client_session(settings: Broker, *, name: str) -> AsyncIterator[ClientSession]:
    """Connect for one command; the connection closes at the end.

    Raises:
        BrokerUnavailable: nobody answers, or the broker refuses.
        ConfigError: no broker is set.
    """
    connection = await connect(settings, name=name)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield ClientSession(connection, channel, settings.publish_timeout.total_seconds())
    finally:
        with suppress(*LOST):
            await connection.close()
