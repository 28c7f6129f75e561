"""Bodies beyond the limit: the broker refuses them where they are published, and what it took before is kept whole."""

from datetime import UTC, datetime

import orjson
import pytest
from aiormq.exceptions import ChannelPreconditionFailed

from hub.amqp.diagnostics.broker_checks import examine_broker
from hub.amqp.sending.last_resort import RefusedLetters
from hub.local_broker.node import PrivateNode
from hub.messaging.message import Message
from hub.messaging.outcome import Part, Reject, Retry, Split
from hub.models.input.body_limits import LARGEST_BODY
from hub.observability.health_checks import Diagnosis
from hub.topology import draw
from tests.broker.rig import (
    LADDER_POWERS,
    ORDER_ID,
    QUEUE,
    WAITS,
    Handler,
    broker_settings,
    depth,
    letters,
    outsider,
    running,
    send,
)
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.nodes import rabbitmqctl

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})
TOO_LARGE = b" " * (LARGEST_BODY + 1)


async def limit(node: PrivateNode, size: int) -> None:
    # Newer brokers read it once, at their start, and keep it there.
    kept = f"persistent_term:put(max_message_size, {size})"
    await rabbitmqctl(node, "eval", f"application:set_env(rabbit, max_message_size, {size}), {kept}.")


async def size_limit(url: str) -> Diagnosis:
    found = await examine_broker(broker_settings(url), draw([QUEUE], WAITS, LADDER_POWERS))
    return next(one for one in found if one.check == "broker size limit")


async def test_the_broker_takes_the_largest_body_and_refuses_a_larger_one(broker_url: str) -> None:
    async with running(broker_url, Handler()):
        async with outsider(broker_url) as channel:
            await send(channel, "hub.fulfillment", "order.accepted", TOO_LARGE[1:])
        async with outsider(broker_url) as channel:
            with pytest.raises(ChannelPreconditionFailed):
                await send(channel, "hub.fulfillment", "order.accepted", TOO_LARGE)
        await eventually(lambda: _is_there(broker_url))

    (letter,) = await letters(broker_url, QUEUE.dead)
    assert len(letter.body) == LARGEST_BODY


async def test_the_doctor_compares_the_limits_of_broker_and_hub(own_node: PrivateNode) -> None:
    well = await size_limit(own_node.url)
    await limit(own_node, 8 * LARGEST_BODY)
    larger = await size_limit(own_node.url)
    await limit(own_node, LARGEST_BODY // 2)
    smaller = await size_limit(own_node.url)

    assert well.ok
    assert (larger.ok, larger.got) == (False, "it takes larger ones")
    assert "max_message_size = 2097152" in larger.remedy
    assert (smaller.ok, smaller.got) == (False, "it refuses one of that size")


async def test_a_body_that_the_broker_took_before_its_limit_is_one_whole_letter(
    own_node: PrivateNode,
) -> None:
    handler = Handler()
    url = own_node.url
    await limit(own_node, 8 * LARGEST_BODY)
    async with running(url, None), outsider(url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", TOO_LARGE, message_id="large")
    await limit(own_node, LARGEST_BODY)

    async with running(url, handler) as rig, outsider(url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="neighbor")
        await eventually(lambda: _is_there(url))
        assert rig.supervisor.is_up

    (letter,) = await letters(url, QUEUE.dead)
    assert (letter.message_id, letter.body) == ("large", TOO_LARGE)
    assert handler.ids == ["neighbor"]


async def test_a_raw_item_that_is_too_large_is_kept_whole_in_the_state_store(
    broker_url: str,
) -> None:
    store = MemoryStore()
    item = Message(b"<entry>" + b"x" * LARGEST_BODY, message_id="entry", timestamp=datetime.now(UTC))

    async with running(broker_url, None, refused=RefusedLetters(store)) as rig:
        channel = await rig.supervisor.publish_channel()
        await rig.publisher.set_aside(item, queue=QUEUE.queue, reason="expected an order")
        assert await rig.supervisor.publish_channel() is channel, "nobody else is disturbed"

    (kept,) = await store.refused()
    assert (kept.body, kept.reason) == (item.body, "expected an order")
    assert "at most 2097152 bytes" in kept.refusal


async def test_parts_that_are_too_large_to_travel_are_kept_and_never_come_again(broker_url: str) -> None:
    store = MemoryStore()
    parts = (
        Part(Message(TOO_LARGE, message_id="waits", routing_key="order.accepted"), Retry("later")),
        Part(Message(TOO_LARGE + b" ", message_id="dies", routing_key="order.accepted"), Reject("refused")),
    )
    handler = Handler(always=Split(parts))

    async with running(broker_url, handler, refused=RefusedLetters(store)) as rig:
        async with outsider(broker_url) as channel:
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="whole")
        await eventually(lambda: len(handler.seen) == 1 and rig.consumer.in_flight() == 0)

    kept = await store.refused()
    assert sorted(one.body for one in kept) == sorted(part.message.body for part in parts)
    assert all("at most 2097152 bytes" in one.refusal for one in kept)
    assert handler.ids == ["whole"]
    assert await depth(broker_url, QUEUE.queue) == 0


async def _is_there(url: str) -> bool:
    return await depth(url, QUEUE.dead) == 1
