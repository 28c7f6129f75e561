"""One message that the broker refuses for good costs a channel, never the session, and never its neighbors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from aio_pika.abc import AbstractChannel

from hub.amqp.connection.refusal import LoneChannel
from hub.amqp.copies.signature import Signer
from hub.amqp.sending.last_resort import RefusedLetters
from hub.amqp.sending.properties import fetched
from hub.amqp.sending.publisher import AmqpPublisher
from hub.errors import MessageRefused, NotRouted
from hub.local_broker.node import PrivateNode
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent
from tests.broker.management import Management
from tests.broker.rig import ORDER_ID, QUEUE, Rig, broker_settings, depth, letters, outsider, running, send
from tests.eventually import eventually
from tests.fakes import MemoryStore

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})
TARGET = "test.target"
# The broker takes a user_id only from the user of that name.
REFUSED = Message(b"{}", message_id="refused", others={"user_id": "somebody-else"})


@asynccontextmanager
async def not_allowed_to_write(node: PrivateNode, url: str, pattern: str) -> AsyncIterator[None]:
    """Take the right to write to some exchanges from the node's user, in the test's own virtual host."""
    vhost = unquote(urlsplit(url).path.removeprefix("/"))
    management = Management(node, vhost)
    rights = {"configure": ".*", "write": f"^(?!{pattern})", "read": ".*"}
    await asyncio.to_thread(management.ask, "PUT", f"permissions/{vhost}/{node.user}", rights)
    yield


def lost_a_session(rig: Rig) -> bool:
    return rig.supervisor.last_error != "not connected yet"


async def by_type(event: AnyEvent, context: Context, /) -> Outcome:
    return Done() if event.id == "healthy" else Retry("again")


async def test_a_refused_message_is_told_apart_from_those_that_were_under_way_with_it(
    broker_url: str,
) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as client:
        await client.declare_queue(TARGET, durable=True)
        messages = [Message(b"{}", message_id=f"m-{number}") for number in range(30)]
        messages.insert(7, REFUSED)

        results = await asyncio.gather(
            *(rig.publisher.send(message, exchange="", routing_key=TARGET) for message in messages),
            return_exceptions=True,
        )

        refused = [each for each in results if each is not None]
        assert [type(each) for each in refused] == [MessageRefused], refused
        assert isinstance(refused[0], MessageRefused)
        assert refused[0].code == 406
        assert {found.message_id for found in await letters(broker_url, TARGET)} == {
            message.message_id for message in messages if message is not REFUSED
        }
        assert not lost_a_session(rig)


async def test_refusals_one_after_the_other_leave_the_session_and_its_publishing(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as client:
        await client.declare_queue(TARGET, durable=True)
        for number in range(10):
            with pytest.raises(MessageRefused):
                await rig.publisher.send(REFUSED, exchange="", routing_key=TARGET)
            await rig.publisher.send(
                Message(b"{}", message_id=f"m-{number}"), exchange="", routing_key=TARGET
            )

        assert await depth(broker_url, TARGET) == 10
        assert not lost_a_session(rig)


async def test_an_exchange_that_is_missing_is_no_fault_of_the_message(broker_url: str) -> None:
    async with running(broker_url, None) as rig:
        with pytest.raises(NotRouted, match="no exchange"):
            await rig.publisher.send(Message(b"{}"), exchange="test.missing", routing_key="k")

        assert not lost_a_session(rig)


async def test_a_rung_that_was_deleted_is_declared_again_in_the_same_session(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as client:
        await client.exchange_delete("hub.wait.50")
        with pytest.raises(NotRouted):
            await rig.publisher.send(Message(b"{}"), exchange="hub.wait.50", routing_key=QUEUE.queue)

        async def there_again() -> bool:
            try:
                await rig.publisher.send(Message(b"{}"), exchange="hub.wait.50", routing_key=QUEUE.queue)
            except NotRouted:
                return False
            return True

        await eventually(there_again)
        assert not lost_a_session(rig)


@pytest.mark.parametrize(
    "headers",
    [{"large": "x" * 140_000}, {"odd": object()}, {"number": 2**70}, {"lone": "\ud800"}],
    ids=["beyond frame_max", "of no type", "beyond 64 bits", "a lone surrogate"],
)
async def test_what_cannot_travel_is_refused_before_it_costs_anything(
    broker_url: str, headers: dict[str, Any]
) -> None:
    async with running(broker_url, None) as rig:
        channel = await rig.supervisor.publish_channel()
        with pytest.raises(MessageRefused, match="expected properties and headers"):
            await rig.publisher.send(
                Message(b"{}", headers=headers), exchange="hub.unroutable", routing_key="k"
            )
        await rig.publisher.send(Message(b"{}"), exchange="hub.unroutable", routing_key="k")

        assert await rig.supervisor.publish_channel() is channel
        assert not lost_a_session(rig)


async def test_a_refusal_that_closes_the_connection_is_one_of_the_lone_channel(broker_url: str) -> None:
    lone = LoneChannel(broker_settings(broker_url), name="test")

    async def send_immediate(channel: AbstractChannel) -> None:
        underlay = await channel.get_underlay_channel()
        await underlay.basic_publish(b"{}", exchange="", routing_key=TARGET, immediate=True)

    async def send_well(channel: AbstractChannel) -> None:
        await send(channel, "", TARGET, b"{}")

    async with outsider(broker_url) as client:
        await client.declare_queue(TARGET, durable=True)
        with pytest.raises(MessageRefused) as refused:
            await lone.publish(send_immediate, "a message")
        await lone.publish(send_well, "a message")

        assert refused.value.code == 540
        assert await depth(broker_url, TARGET) == 1


async def test_a_retry_that_the_broker_refuses_is_a_letter_and_its_neighbors_go_on(
    node: PrivateNode, broker_url: str
) -> None:
    async with running(broker_url, by_type) as rig, outsider(broker_url) as client:
        async with not_allowed_to_write(node, broker_url, r"hub\.wait\."):
            await send(client, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="guilty")
            for _ in range(20):
                await send(client, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="healthy")

            async def settled() -> bool:
                return await depth(broker_url, QUEUE.dead) == 1 and rig.consumer.in_flight() == 0

            await eventually(settled)

        assert not lost_a_session(rig)
    (letter,) = await letters(broker_url, QUEUE.dead)
    assert letter.message_id == "guilty"
    assert "ACCESS_REFUSED" in str(letter.headers["x-hub-reason"])
    assert await depth(broker_url, QUEUE.queue) == 0


async def test_the_cut_down_form_of_a_refused_letter_is_signed_as_well(broker_url: str) -> None:
    signer = Signer(b"k" * 32)
    whole = replace(
        REFUSED, timestamp=datetime.now(UTC), headers={"x-hub-reason": "no such order", "ce-id": "1"}
    )
    async with running(broker_url, by_type) as rig:
        publisher = AmqpPublisher(rig.supervisor, timeout=timedelta(seconds=10), signer=signer)

        await publisher.send_letter(signer.signed(whole, queue=QUEUE.queue), queue=QUEUE.queue)

    (letter,) = [fetched(found, QUEUE.dead) for found in await letters(broker_url, QUEUE.dead)]
    assert "ce-id" not in letter.headers
    assert signer.has_signed(letter, queue=QUEUE.queue)


async def test_a_letter_that_is_refused_in_every_form_is_kept_in_the_state_store(
    node: PrivateNode, broker_url: str
) -> None:
    store = MemoryStore()

    async def rejects(event: AnyEvent, context: Context, /) -> Outcome:
        return Reject("it can never be handled")

    async with (
        running(broker_url, rejects, refused=RefusedLetters(store)) as rig,
        outsider(broker_url) as client,
        not_allowed_to_write(node, broker_url, r"hub\.dead-letter$"),
    ):
        await send(client, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="m-1")

        async def settled() -> bool:
            return bool(await store.refused()) and rig.consumer.in_flight() == 0

        await eventually(settled)
        assert not lost_a_session(rig)

    (kept,) = await store.refused()
    assert (kept.queue, kept.body) == (QUEUE.queue, ACCEPTED)
    assert kept.reason == "it can never be handled"
    assert "ACCESS_REFUSED" in kept.refusal
    assert orjson.loads(kept.properties)["message_id"] == "m-1"
