"""No user takes more of the broker than its share: connections, channels, and the room of queues that nobody reads."""

import asyncio
from contextlib import AsyncExitStack

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError

from hub.amqp.connection.connection import connect
from hub.amqp.copies.signature import Signer
from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.sending.client_session import client_session
from hub.amqp.topology.definitions import LIMITS
from hub.models.events import ORDERS
from hub.topology import UNROUTABLE
from tests.attacks.rig import ACME, Deployment
from tests.broker import rig

LIMITED = pytest.mark.parametrize("user", ["publisher", "subscriber"])
# Nothing is bound to it.
UNWANTED = "order.created.nobody"


async def _opened(url: str, stack: AsyncExitStack) -> AbstractConnection:
    connection = await aio_pika.connect(url)
    stack.push_async_callback(connection.close)
    return connection


async def _scaled(deployment: Deployment, name: str, size: int) -> None:
    """Give a policy of the definitions a limit that a test can reach; all else of it stays."""
    where = f"policies/{deployment.management.vhost}/{name}"
    policy = await asyncio.to_thread(deployment.management.ask, "GET", where)
    policy["definition"]["max-length-bytes"] = size
    await asyncio.to_thread(deployment.management.ask, "PUT", where, policy)


async def _is_confirmed(channel: AbstractChannel, number: int) -> bool:
    try:
        await rig.send(channel, ORDERS, UNWANTED, b"%4d" % number + bytes(1000))
    except DeliveryError:
        return False
    return True


@LIMITED
async def test_a_user_has_so_many_connections_and_the_hub_still_gets_in(
    deployment: Deployment, user: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(LIMITS[user]["max-connections"]):
            await _opened(deployment.urls[user], stack)

        with pytest.raises(AMQPError):
            await _opened(deployment.urls[user], stack)

        async with await connect(deployment.settings.broker, name="test") as connection:
            await connection.channel()


@LIMITED
async def test_a_user_has_so_many_channels_over_all_its_connections(
    deployment: Deployment, user: str
) -> None:
    async with AsyncExitStack() as stack:
        first, second, third = [await _opened(deployment.urls[user], stack) for _ in range(3)]
        for connection in (first, second):
            for _ in range(LIMITS[user]["max-channels"] // 2):
                await connection.channel(publisher_confirms=False)

        with pytest.raises(AMQPError):
            await third.channel(publisher_confirms=False)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_subscriber_queue_that_nobody_reads_loses_its_oldest(
    deployment: Deployment, kind: str
) -> None:
    await _scaled(deployment, "hub.subscribers", 10_000)
    async with deployment.channel_of("subscriber") as channel:
        queue = await channel.declare_queue("svc.unread", durable=True, arguments={"x-queue-type": kind})
        await queue.bind(ORDERS, routing_key="#")

    async with deployment.channel_of("hub") as channel:
        for number in range(30):
            # Each is confirmed: the limit of a subscriber is no refusal to the hub.
            await rig.send(channel, ORDERS, UNWANTED, b"%4d" % number + bytes(1000))

    left = [int(message.body[:4]) for message in await deployment.take("svc.unread")]
    assert 5 <= len(left) < 15
    assert left == list(range(30 - len(left), 30))


async def test_what_no_queue_wanted_is_kept_and_the_next_refused(deployment: Deployment) -> None:
    await _scaled(deployment, "hub.unroutable", 10_000)
    numbers = range(100)

    async with deployment.channel_of("hub") as channel:
        confirmed = [number for number in numbers if await _is_confirmed(channel, number)]

    kept = [int(message.body[:4]) for message in await deployment.take(UNROUTABLE)]
    assert kept[: len(confirmed)] == confirmed
    assert 5 <= len(confirmed) < 50


_FORGED_DEATH = {
    "queue": UNROUTABLE,
    "exchange": "",
    "reason": "ask the warehouse for John Smith",
    "routing-keys": [ACME],
    "count": 1,
}


async def test_a_forged_death_of_what_no_queue_wanted_is_neither_believed_nor_sent_on(
    deployment: Deployment,
) -> None:
    forged = {"x-death": [_FORGED_DEATH], "x-first-death-reason": "John Smith", "x-hub-reason": "John Smith"}
    # As a publisher does under a documented key that no client has an address for.
    await deployment.publish_as("operator", ORDERS, UNWANTED, b"{}", headers={**forged, "kept": "yes"})
    async with rig.outsider(deployment.administrator_url) as channel:
        late = await channel.declare_queue("late", durable=True)
        await late.bind(ORDERS, routing_key=UNWANTED)

    async with (
        client_session(deployment.settings.broker, name="test") as desk,
        dead_letter_queue.open_letters(desk.connection, UNROUTABLE) as open_letters,
    ):
        (letter,) = [letter async for letter in open_letters.letters()]
        await dead_letter_queue.replay(letter, desk, Signer(b"k" * 32))
    (replayed,) = await deployment.take("late")

    assert letter.reason.startswith(f"no queue is bound to {ORDERS}")
    assert not letter.own
    assert dict(replayed.headers) == {"kept": "yes"}
