"""A broker that refuses messages: those are told so, and once it takes them again, nobody is held by what was."""

import asyncio

import pytest

from hub.errors import BrokerUnavailable
from hub.messaging.message import Message
from tests.broker.rig import Rig, depth, outsider, running
from tests.eventually import eventually

FULL = "test.full"


async def publish(rig: Rig, message_id: str) -> None:
    await rig.publisher.send(Message(b"{}", message_id=message_id), exchange="", routing_key=FULL)


async def test_after_a_refusal_messages_go_over_a_new_channel_of_the_same_session(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as client:
        queue = await client.declare_queue(
            FULL, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        first = await rig.supervisor.publish_channel()
        await publish(rig, "m-1")
        refused = await asyncio.gather(
            *(publish(rig, f"refused-{number}") for number in range(20)), return_exceptions=True
        )
        assert {type(each) for each in refused} == {BrokerUnavailable}
        with pytest.raises(
            BrokerUnavailable, match=f"refused a message for the default exchange {FULL}: a queue .* is full"
        ):
            await publish(rig, "refused")

        await eventually(lambda: first.is_closed, because="the channel that refused is closed")
        second = await rig.supervisor.publish_channel()
        assert rig.supervisor.is_up
        assert second is not first
        await queue.purge()
        await publish(rig, "m-2")

        assert await depth(broker_url, FULL) == 1
        assert await rig.supervisor.publish_channel() is second
        assert rig.supervisor.last_error == "not connected yet", "no session was lost"


async def test_a_message_that_comes_back_leaves_the_channel_as_it_is(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as client:
        first = await rig.supervisor.publish_channel()
        for number in range(3):
            with pytest.raises(BrokerUnavailable, match="NO_ROUTE"):
                await publish(rig, f"nowhere-{number}")
        with pytest.raises(AssertionError):
            await eventually(lambda: first.is_closed, within=0.4)
        await client.declare_queue(FULL, durable=True)
        await publish(rig, "m-1")

        assert await rig.supervisor.publish_channel() is first
