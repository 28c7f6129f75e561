"""A queue that is consumed less widely for a time, or not at all, on a real broker."""

import asyncio

import orjson

from hub.local_broker.node import PrivateNode
from tests.broker.rig import ORDER_ID, QUEUE, Handler, Rig, depth, outsider, running, send
from tests.eventually import eventually

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})


async def _send(url: str, *names: str) -> None:
    async with outsider(url) as channel:
        for name in names:
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=name)


async def _at_rest(rig: Rig, url: str, ready: int) -> None:
    async def so_many_ready() -> bool:
        return await depth(url, QUEUE.queue) == ready

    await eventually(so_many_ready)


async def test_a_closed_queue_keeps_its_messages_and_is_ready_all_the_same(broker_url: str) -> None:
    handler = Handler()
    async with running(broker_url, handler) as rig:
        await rig.supervisor.narrow(QUEUE.queue, 0)
        await _send(broker_url, *(f"m-{number}" for number in range(50)))

        await _at_rest(rig, broker_url, 50)
        assert await rig.supervisor.consumers_listed()
        assert handler.seen == []

        await rig.supervisor.narrow(QUEUE.queue, None)
        await eventually(lambda: len(handler.seen) == 50)
        assert await rig.supervisor.consumers_listed()


async def test_a_narrow_queue_has_so_many_at_work_and_no_more(broker_url: str) -> None:
    handler = Handler(gate=asyncio.Event())
    async with running(broker_url, handler) as rig:
        await rig.supervisor.narrow(QUEUE.queue, 2)
        await _send(broker_url, *(f"m-{number}" for number in range(10)))
        await eventually(lambda: len(handler.seen) == 2)
        await _at_rest(rig, broker_url, 8)

        assert handler.gate is not None
        handler.gate.set()
        await eventually(lambda: len(handler.seen) == 10)


async def test_what_is_at_work_when_a_queue_is_closed_is_settled_once(broker_url: str) -> None:
    handler = Handler(gate=asyncio.Event())
    async with running(broker_url, handler) as rig:
        await _send(broker_url, *(f"m-{number}" for number in range(200)))
        await eventually(lambda: len(handler.seen) == 20)

        await rig.supervisor.narrow(QUEUE.queue, 0)
        assert handler.gate is not None
        handler.gate.set()
        await _at_rest(rig, broker_url, 180)
        assert len(handler.seen) == 20
        # Again and again while deliveries are on their way: none is left without a consumer.
        for width in (None, 0, 3, None, 0, 1, None):
            await rig.supervisor.narrow(QUEUE.queue, width)

        await eventually(lambda: len(set(handler.ids)) == 200)
        await _at_rest(rig, broker_url, 0)
    assert sorted(handler.ids) == sorted(f"m-{number}" for number in range(200))


async def test_a_closed_queue_stays_closed_when_the_broker_was_away(own_node: PrivateNode) -> None:
    handler = Handler()
    async with running(own_node.url, handler) as rig:
        await rig.supervisor.narrow(QUEUE.queue, 0)
        await own_node.kill()
        await own_node.start()
        await asyncio.wait_for(rig.supervisor.wait_until_up(), 30)
        await _send(own_node.url, "m-1")
        await _at_rest(rig, own_node.url, 1)

        assert await rig.supervisor.consumers_listed()
        assert handler.seen == []
        await rig.supervisor.narrow(QUEUE.queue, None)
        await eventually(lambda: handler.ids == ["m-1"])
