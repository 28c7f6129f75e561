"""The supervisor on a real broker that is killed, frozen, closed and robbed of queues."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from functools import partial

import orjson
import pytest
from yarl import URL

from hub.amqp.connection.connection import connect
from hub.amqp.supervisor import Supervisor
from hub.amqp.topology.declare import State, declare, inspect
from hub.errors import BrokerUnavailable, TopologyDrift
from hub.local_broker.node import PrivateNode
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Retry
from hub.topology import EARLIER_DELIVERY_LIMIT, Queue, Topology, draw
from tests.broker.rig import (
    LADDER_POWERS,
    ORDER_ID,
    QUEUE,
    WAITS,
    Handler,
    broker_settings,
    depth,
    outsider,
    running,
    send,
)
from tests.eventually import eventually
from tests.faults.proxy import AmqpProxy, Verdict

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})


async def test_nothing_is_lost_when_the_broker_is_killed_three_times_in_mid_flow(
    own_node: PrivateNode,
) -> None:
    chance = random.Random(7)
    done: set[str] = set()

    async def handler(event, context):
        if context.attempt <= 2 and chance.random() < 0.5:
            return Retry("flaky")
        done.add(event.id)
        return Done()

    sent: set[str] = set()

    async with running(own_node.url, handler) as rig:

        async def publish(crash: int, number: int) -> None:
            message = Message(ACCEPTED, message_id=f"m-{crash}-{number}")
            while message.message_id not in sent:
                with suppress(BrokerUnavailable):
                    await rig.publisher.send(
                        message, exchange="hub.fulfillment", routing_key="order.accepted"
                    )
                    sent.add(f"m-{crash}-{number}")

        for crash in range(3):
            flow = [asyncio.create_task(publish(crash, number)) for number in range(150)]
            await eventually(partial(_at_least, sent, crash * 150 + 40))
            await own_node.kill()
            await own_node.start()
            await asyncio.gather(*flow)

        await eventually(lambda: done == sent, within=30, because="every confirmed message is handled")
    assert len(sent) == 450
    assert await depth(own_node.url, QUEUE.dead) == 0


def _at_least(things: set[str], number: int) -> bool:
    return len(things) >= number


async def test_a_lost_connection_cancels_no_handler_and_its_work_is_settled_over_the_next(
    broker_url: str,
) -> None:
    url = URL(broker_url)
    assert url.port is not None
    gate = asyncio.Event()
    handler = Handler(gate=gate)

    async with (
        AmqpProxy(url.port, lambda _: Verdict.PASS).running() as proxy,
        outsider(broker_url) as channel,
        running(str(url.with_port(proxy.port)), handler) as rig,
    ):
        for number in range(10):
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=f"m-{number}")
        await eventually(lambda: len(handler.seen) == 10)
        # More often than the broker's delivery limit was, when lost sessions counted toward it.
        for _ in range(EARLIER_DELIVERY_LIMIT + 4):
            proxy.cut_all()
            await eventually(lambda: not rig.supervisor.is_up)
            await eventually(rig.supervisor.consumers_listed)
        gate.set()

        async def settled() -> bool:
            return await depth(broker_url, QUEUE.queue) == 0 and rig.consumer.in_flight() == 0

        await eventually(settled)

    assert handler.cancelled == 0
    assert sorted(set(handler.ids)) == sorted(f"m-{number}" for number in range(10))
    begun = len(handler.seen)
    assert begun == 10, "what is in hand is not begun a second time"
    assert await depth(broker_url, QUEUE.dead) == 0


async def test_work_that_ends_while_its_connection_dies_waits_for_no_ack(broker_url: str) -> None:
    url = URL(broker_url)
    assert url.port is not None

    async with (
        AmqpProxy(url.port, lambda _: Verdict.PASS).running() as proxy,
        outsider(broker_url) as channel,
    ):
        gate = asyncio.Event()
        handler = Handler(gate=gate)
        async with running(str(url.with_port(proxy.port)), handler) as rig:
            # More than the client library buffers, of which nobody takes the rest once the connection is dead.
            for number in range(20):
                await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=f"m-{number}")
            await eventually(lambda: len(handler.seen) == 20)
            proxy.cut_all()
            gate.set()

            await eventually(lambda: len(handler.seen) >= 40, because="all are delivered again")
            await eventually(lambda: rig.consumer.oldest_seconds() == 0, because="nothing stays in flight")


async def test_consumers_are_back_after_the_broker_cancelled_one_because_its_queue_was_deleted(
    broker_url: str,
) -> None:
    handler = Handler()

    async with running(broker_url, handler) as rig, outsider(broker_url) as channel:
        await channel.queue_delete(QUEUE.queue)
        await eventually(lambda: not rig.supervisor.is_up, because="the loss is noticed")
        await eventually(lambda: rig.supervisor.is_up, because="and mended")
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="m-1")
        await eventually(lambda: handler.ids == ["m-1"])
        assert await rig.supervisor.consumers_listed()


async def test_a_publish_is_bounded_in_time_while_the_broker_is_frozen(own_node: PrivateNode) -> None:
    async with running(own_node.url, Handler(), publish_timeout=timedelta(seconds=0.5)) as rig:
        own_node.pause()
        try:
            with pytest.raises(BrokerUnavailable, match=r"expected a confirm within 0\.5 s"):
                await rig.publisher.send(
                    Message(b"{}", message_id="m"), exchange="hub.fulfillment", routing_key="order.accepted"
                )
        finally:
            own_node.resume()


async def test_a_frozen_broker_is_noticed_and_consumption_goes_on_when_it_thaws(
    own_node: PrivateNode,
) -> None:
    handler = Handler()

    async with running(own_node.url, handler) as rig:
        assert await rig.supervisor.consumers_listed()
        own_node.pause()
        try:

            async def not_listed() -> bool:
                return not await rig.supervisor.consumers_listed()

            await eventually(not_listed, because="a frozen broker lists nobody")
        finally:
            own_node.resume()
        await eventually(lambda: rig.supervisor.is_up, within=20)
        async with outsider(own_node.url) as channel:
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="m-1")
        await eventually(lambda: handler.ids == ["m-1"], within=20)


def _topology() -> Topology:
    return draw([QUEUE], WAITS, LADDER_POWERS)


async def test_a_queue_that_lost_its_leader_is_named_with_the_remedy_and_the_remedy_helps(
    own_node: PrivateNode,
) -> None:
    """RabbitMQ 3.10 keeps the name of a new quorum queue in memory for a second; see `tests.nodes.queues_settled`."""
    topology = draw([QUEUE], WAITS, LADDER_POWERS)
    work = next(queue for queue in topology.queues if queue.name == QUEUE.queue)
    async with outsider(own_node.url) as channel:
        await channel.declare_queue(work.name, durable=True, arguments=dict(work.arguments))
        await own_node.kill()
    await own_node.start()

    async with running(own_node.url, Handler(), until_up=False) as rig:
        supervisor = rig.supervisor
        await eventually(lambda: supervisor.is_up or "no leader" in supervisor.last_error, within=25)
        if supervisor.is_up:
            pytest.skip("this broker writes the names of its queues down at once")
        assert f"rabbitmqctl delete_queue {QUEUE.queue}" in supervisor.last_error

        async with outsider(own_node.url) as channel:
            await channel.queue_delete(QUEUE.queue)
        await eventually(lambda: supervisor.is_up, within=20)


async def test_a_supervisor_that_is_cancelled_in_the_very_turn_in_which_the_broker_answers_still_ends(
    broker_url: str,
) -> None:
    supervisor = Supervisor(broker_settings(broker_url), draw([QUEUE], WAITS, LADDER_POWERS))
    before = asyncio.all_tasks()
    running_task = asyncio.create_task(supervisor.run())
    await eventually(lambda: len(asyncio.all_tasks() - before) > 1, every=0, because="it connects")
    connecting = asyncio.all_tasks() - before - {running_task}

    # Python 3.11 swallows this cancel: whoever waits for the connection has its answer already.
    for task in connecting:
        task.add_done_callback(lambda _: running_task.cancel())
    ended, _ = await asyncio.wait({running_task}, timeout=10)

    assert ended
    assert running_task.cancelled()
    assert not supervisor.is_up


async def test_the_hub_refuses_to_start_on_drift_and_says_which_argument_differs(broker_url: str) -> None:
    async with outsider(broker_url) as channel:
        await channel.declare_queue(
            "hub.wait.50", durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 51}
        )
    connection = await connect(broker_settings(broker_url), name="test")

    with pytest.raises(TopologyDrift, match=r"queue hub\.wait\.50: different: .*x-") as refused:
        await declare(connection, _topology())

    await connection.close()
    assert len(refused.value.faults) == 1 + sum(1 for fault in refused.value.faults if "missing" in fault)


async def test_looking_at_the_topology_creates_nothing(broker_url: str) -> None:
    connection = await connect(broker_settings(broker_url), name="test")

    before = await inspect(connection, _topology())
    again = await inspect(connection, _topology())
    await declare(connection, _topology())
    after = await inspect(connection, _topology())

    await connection.close()
    assert {finding.state for finding in before} == {State.MISSING}
    assert before == again
    assert {finding.state for finding in after} == {State.THERE}


def test_every_queue_that_dead_letters_does_so_at_least_once_and_refuses_when_full() -> None:
    for queue in _topology().queues:
        assert isinstance(queue, Queue)
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-delivery-limit"]
        assert "x-max-length" not in queue.arguments
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.arguments["x-overflow"] == "reject-publish"
