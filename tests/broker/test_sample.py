"""How full the queues are and how old the work in hand is, as the metrics tell it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
from prometheus_client import REGISTRY

from hub.amqp.connection.connection import connect
from hub.amqp.diagnostics.queue_metrics import QueueSampler
from hub.amqp.topology.declare import State, inspect
from hub.messaging.outcome import Reject
from tests.broker.rig import ORDER_ID, QUEUE, Handler, Rig, broker_settings, outsider, running, send
from tests.eventually import eventually

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})


def messages(queue: str, kind: str, orphan: str = "false") -> float | None:
    labels = {"queue": queue, "kind": kind, "orphan": orphan}
    return REGISTRY.get_sample_value("hub_queue_messages", labels)


def consumers() -> float | None:
    return REGISTRY.get_sample_value("hub_queue_consumers", {"queue": QUEUE.queue})


@asynccontextmanager
async def sampled(rig: Rig, *orphans: str) -> AsyncIterator[None]:
    sampler = QueueSampler(rig.supervisor, rig.topology, orphans=orphans, every=0.05)
    sampling = asyncio.create_task(sampler.run())
    try:
        yield
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)


async def test_letters_and_consumers_are_told_as_the_broker_counts_them(broker_url: str) -> None:
    async with running(broker_url, Handler(always=Reject("no"))) as rig, outsider(broker_url) as channel:
        async with sampled(rig):
            await eventually(lambda: messages(QUEUE.dead, "dead") == 0)
            for number in range(3):
                await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=f"m-{number}")
            await send(channel, "hub.orders", "order.misspelt", ACCEPTED)

            await eventually(lambda: messages(QUEUE.dead, "dead") == 3)
            await eventually(lambda: messages("hub.unroutable", "unroutable") == 1)
            await eventually(lambda: consumers() == 1)
        assert messages(QUEUE.queue, "work") == 0
        assert messages("hub.wait.50", "wait") == 0


async def test_a_queue_and_an_exchange_that_were_deleted_are_declared_again(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as channel, sampled(rig):
        await eventually(lambda: messages("hub.wait.100", "wait") == 0)

        # Nothing is published: the look alone finds it.
        for name in (QUEUE.dead, "hub.wait.100"):
            await channel.queue_delete(name)
        for name in ("hub.wait.100", "hub.dead-letter"):
            await channel.exchange_delete(name)

        async def repaired() -> bool:
            async with await connect(broker_settings(broker_url), name="test") as connection:
                return {each.state for each in await inspect(connection, rig.topology)} == {State.THERE}

        await eventually(repaired, within=10, every=0.1)
        await send(channel, "hub.dead-letter", QUEUE.queue, b"{}")
        await eventually(lambda: messages(QUEUE.dead, "dead") == 1)
        assert rig.supervisor.last_error == "not connected yet"


async def test_whoever_is_cut_off_from_the_broker_does_not_tell_what_was_before(broker_url: str) -> None:
    async with AsyncExitStack() as connected:
        rig = await connected.enter_async_context(running(broker_url, Handler()))
        async with sampled(rig):
            await eventually(lambda: messages(QUEUE.queue, "work") == 0)

            await connected.aclose()

            await eventually(lambda: messages(QUEUE.queue, "work") is None)
            assert consumers() is None


async def test_the_oldest_delivery_in_hand_has_an_age_until_it_is_settled(broker_url: str) -> None:
    gate = asyncio.Event()
    handler = Handler(gate=gate)

    async with running(broker_url, handler) as rig, outsider(broker_url) as channel:
        before = rig.consumer.oldest_seconds()
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="old")
        await eventually(lambda: rig.consumer.oldest_seconds() > 0.05)
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="young")
        await eventually(lambda: len(handler.seen) == 2)
        with_two = rig.consumer.oldest_seconds()
        gate.set()
        await eventually(lambda: rig.consumer.oldest_seconds() == 0, because="both are settled")

    assert before == 0
    assert with_two > 0.05


async def test_a_queue_that_left_the_settings_is_counted_as_an_orphan(broker_url: str) -> None:
    gone = "hub.webhook.gone.dead"
    async with running(broker_url, None) as rig, outsider(broker_url) as channel:
        await channel.declare_queue(gone, durable=True)
        await send(channel, "", gone, b"{}")

        async with sampled(rig, gone):
            await eventually(lambda: messages(gone, "dead", orphan="true") == 1)


async def test_a_binding_that_was_deleted_is_made_again(broker_url: str) -> None:
    handler = Handler()
    async with running(broker_url, handler) as rig, outsider(broker_url) as channel, sampled(rig):
        await eventually(lambda: messages(QUEUE.queue, "work") == 0)
        queue = await channel.get_queue(QUEUE.queue, ensure=False)
        for exchange, key in QUEUE.bindings():
            await queue.unbind(exchange, key)

        async def heard() -> bool:
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED)
            return bool(handler.seen)

        await eventually(heard, every=0.1)


async def test_without_repair_what_is_missing_is_only_named(broker_url: str) -> None:
    async with running(broker_url, None) as rig, outsider(broker_url) as channel:
        sampler = QueueSampler(rig.supervisor, rig.topology, repair=False, every=0.05)
        sampling = asyncio.create_task(sampler.run())
        await channel.queue_delete("hub.wait.100")

        await eventually(lambda: list(sampler.missing) == ["queue hub.wait.100"])

        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        async with await connect(broker_settings(broker_url), name="test") as connection:
            findings = await inspect(connection, rig.topology)
    assert [each.name for each in findings if each.state is State.MISSING] == ["hub.wait.100"]
