"""Letters on a real broker: what they say, and that no way of handling them loses one."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.receiving.ack_batcher import AckBatcher
from hub.amqp.receiving.consumer import receive
from hub.amqp.receiving.delivery import Delivery
from hub.amqp.receiving.settlement import Settler
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.amqp.topology import declare
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, ConfigError
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Reject
from hub.messaging.resilience.retry import RetryPolicy
from hub.models.events import Event, OrderAccepted
from hub.topology import EARLIER_DELIVERY_LIMIT, Queue, WorkQueue, draw
from tests.broker.rig import SIGNER
from tests.eventually import eventually

WORK = WorkQueue("iqmetrix", "update_order_status", hears=("order.accepted",), sources=("iqmetrix",))
MAP = draw((WORK,), waits=[timedelta(seconds=1.5)], powers=[timedelta(seconds=1)])
# What an earlier release has declared: the delivery limit of today is never reached.
EARLIER = replace(
    MAP,
    queues=tuple(
        Queue(queue.name, queue.earlier[0] if queue.earlier else queue.arguments) for queue in MAP.queues
    ),
)
ORDER = "iqmetrix:71204:7a0e"
EVENT = Event(
    id="event-1",
    type="order.accepted",
    source="/test",
    subject=ORDER,
    time=datetime(2026, 5, 1, tzinfo=UTC),
    data=OrderAccepted(order_id=ORDER),
)


@dataclass
class Bench:
    """A broker with the map, and what a test does on it."""

    client_session: ClientSession
    consuming: AbstractChannel

    async def publish(self, message: Message, **values: Any) -> None:
        """Publish as another service would, with any property."""
        exchange = await self.client_session.channel.get_exchange(message.exchange, ensure=False)
        await exchange.publish(
            aio_pika.Message(
                message.body,
                headers=dict(message.headers),
                message_id=message.message_id,
                type=message.type,
                content_type=message.content_type,
                **values,
            ),
            message.routing_key,
        )

    async def delivery(self) -> Delivery:
        """Take the next delivery of the work queue."""
        underlay = await self.consuming.get_underlay_channel()
        found: list[Delivery] = []

        async def is_there() -> bool:
            delivered = await underlay.basic_get(WORK.queue)
            if delivered.delivery_tag is not None:
                found.append(Delivery(delivered, WORK.queue, AckBatcher(underlay)))
            return bool(found)

        await eventually(is_there, because="no delivery in the work queue")
        return found[0]

    async def count(self, queue: str) -> int:
        found = await self.consuming.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def eventually_holds(self, queue: str, number: int) -> None:
        async def holds() -> bool:
            return await self.count(queue) == number

        await eventually(holds, because=f"expected {number} in {queue}")

    async def reject(self, delivery: Delivery, reason: str) -> None:
        """Settle as the hub does when an event can never be handled."""
        message, book = receive(delivery, SIGNER)
        settler = Settler(
            self.client_session, policy=RetryPolicy((timedelta(seconds=1),)), rungs=MAP.rungs, signer=SIGNER
        )
        assert await settler.settle(delivery, message, book, Reject(reason))

    async def read(self, queue: str = WORK.dead, *, number: int = 1) -> list[Letter]:
        """Look at all letters of a queue, once they are so many, and put them back."""
        await self.eventually_holds(queue, number)
        async with (
            dead_letter_queue.open_letters(self.client_session.connection, queue) as open_letters,
            aclosing(open_letters.letters()) as every,
        ):
            return [letter async for letter in every]

    async def replay(self, queue: str = WORK.dead, sender: Any = None) -> int:
        """Replay all letters of a queue, once there is one; the number replayed."""
        await self.eventually_holds(queue, 1)
        count = 0
        async with (
            dead_letter_queue.open_letters(self.client_session.connection, queue) as open_letters,
            aclosing(open_letters.letters()) as every,
        ):
            async for letter in every:
                await dead_letter_queue.replay(letter, sender or self.client_session, SIGNER)
                count += 1
        return count


@pytest.fixture
async def bench(broker_url: str) -> AsyncIterator[Bench]:
    async with client_session(Broker(url=SecretStr(broker_url)), name="test") as open_session:
        await declare.declare(open_session.connection, EARLIER)
        yield Bench(open_session, await open_session.connection.channel(publisher_confirms=False))


async def kill_by_delivery_limit(bench: Bench) -> None:
    """Return the message to its queue until the broker sets it aside, as a consumer that crashes each time would."""
    queue = await bench.consuming.get_queue(WORK.queue, ensure=False)

    async def is_dead() -> bool:
        incoming = await queue.get(no_ack=False, fail=False)
        if incoming is not None:
            await incoming.reject(requeue=True)
        return await bench.count(WORK.dead) == 1

    await eventually(is_dead, within=20, because=f"not dead after {EARLIER_DELIVERY_LIMIT} deliveries")


async def test_a_letter_of_the_hub_is_complete(bench: Bench) -> None:
    message = cloudevents.encode(EVENT)
    await bench.publish(message)
    await bench.reject(await bench.delivery(), "no such order")

    (letter,) = await bench.read()

    assert letter.message.body == message.body
    assert (letter.id, letter.type, letter.order_id) == ("event-1", "order.accepted", ORDER)
    assert (letter.message.exchange, letter.message.routing_key) == (message.exchange, message.routing_key)
    assert (letter.reason, letter.attempts) == ("no such order", 1)
    assert letter.book.first_failed_at == letter.book.last_failed_at != ""
    assert headers.ATTEMPT not in letter.arrived.headers


@pytest.mark.parametrize("outcome", [Done("told"), Reject("never")], ids=["done", "rejected"])
async def test_a_delivery_whose_channel_has_closed_is_lost_and_left_to_the_broker(
    bench: Bench, outcome: Done | Reject
) -> None:
    await bench.publish(cloudevents.encode(EVENT))
    delivery = await bench.delivery()
    message, book = receive(delivery, SIGNER)
    settler = Settler(
        bench.client_session, policy=RetryPolicy((timedelta(seconds=1),)), rungs=MAP.rungs, signer=SIGNER
    )
    await bench.consuming.close()

    assert delivery.lost
    assert await settler.settle(delivery, message, book, outcome) is None

    bench.consuming = await bench.client_session.connection.channel(publisher_confirms=False)
    await bench.eventually_holds(WORK.queue, 1)
    assert await bench.count(WORK.dead) == 0


async def test_looking_at_letters_takes_none_away(bench: Bench) -> None:
    for number in range(3):
        await bench.publish(
            Message(b"{}", exchange="hub.fulfillment", routing_key="order.accepted", message_id=str(number))
        )
        await bench.reject(await bench.delivery(), "invalid")

    seen = {letter.id for letter in await bench.read(number=3)}
    again = {letter.id for letter in await bench.read(number=3)}

    assert seen == again == {"0", "1", "2"}
    await bench.eventually_holds(WORK.dead, 3)


async def test_a_replayed_letter_starts_with_a_full_budget_and_says_how_often_it_was_replayed(
    bench: Bench,
) -> None:
    await bench.publish(cloudevents.encode(EVENT))
    await bench.reject(await bench.delivery(), "first time")
    assert await bench.replay() == 1
    await bench.reject(await bench.delivery(), "second time")
    assert await bench.replay() == 1

    message, book = receive(await bench.delivery(), SIGNER)

    assert not message.unsigned
    assert (book.made, book.total, book.replays) == (0, 2, 2)
    assert (message.exchange, message.routing_key) == ("hub.fulfillment", "order.accepted.iqmetrix")
    assert cloudevents.decode(message) == EVENT
    await bench.eventually_holds(WORK.dead, 0)


async def test_a_plain_message_that_the_broker_set_aside_says_why_and_still_knows_its_type_after_a_replay(
    bench: Bench,
) -> None:
    body = f'{{"order_id": "{ORDER}"}}'.encode()
    await bench.publish(Message(body, exchange="hub.fulfillment", routing_key="order.accepted.iqmetrix"))
    await kill_by_delivery_limit(bench)

    (letter,) = await bench.read()
    await bench.replay()
    message, book = receive(await bench.delivery(), SIGNER)

    assert letter.reason == "set aside by the broker: delivery limit"
    assert letter.order_id == ORDER
    assert letter.type == "order.accepted.iqmetrix"
    assert letter.book.last_failed_at != ""
    assert cloudevents.decode(message).type == "order.accepted"
    assert book.replays == 1
    assert not any(
        name.startswith("x-death") or name == "x-delivery-count" for name in headers.foreign(message.headers)
    )
    assert "x-death" not in message.headers


async def test_hub_headers_of_a_stranger_are_not_believed_in_a_letter_of_the_broker(bench: Bench) -> None:
    forged = {headers.EXCHANGE: "hub.orders", headers.ROUTING_KEY: "order.created", headers.ATTEMPTS: 99}
    await bench.publish(
        Message(b"{}", exchange="hub.fulfillment", routing_key="order.accepted", headers=forged)
    )
    await kill_by_delivery_limit(bench)

    (letter,) = await bench.read()

    assert letter.attempts == 0
    assert letter.message.exchange == "hub.fulfillment"


async def test_a_retry_that_killed_its_consumer_keeps_its_bookkeeping(bench: Bench) -> None:
    message = cloudevents.encode(EVENT)
    book = RetryState(made=2, exchange=message.exchange, routing_key=message.routing_key, reason="away")
    waiting = headers.waiting(book, message, queue=WORK.queue)
    await bench.publish(
        Message(
            message.body,
            exchange="hub.wait.1000",
            routing_key=WORK.queue,
            headers=waiting,
            message_id="event-1",
        )
    )
    await bench.eventually_holds(WORK.queue, 1)
    await kill_by_delivery_limit(bench)

    (letter,) = await bench.read()

    assert letter.reason == "set aside by the broker: delivery limit"
    assert letter.attempts == 2
    assert letter.message.routing_key == "order.accepted.iqmetrix"


class Refusing:
    """A sender that the broker never confirms."""

    async def send(self, message: Message, *, exchange: str, routing_key: str) -> None:
        raise BrokerUnavailable("not confirmed")


@dataclass
class DyingAfterConfirm:
    """A sender whose process dies between the confirm and the ack."""

    client_session: ClientSession

    async def send(self, message: Message, *, exchange: str, routing_key: str) -> None:
        await self.client_session.send(message, exchange=exchange, routing_key=routing_key)
        raise KeyboardInterrupt


async def test_a_letter_stays_when_its_replay_is_not_confirmed(bench: Bench) -> None:
    await bench.publish(cloudevents.encode(EVENT))
    await bench.reject(await bench.delivery(), "no such order")

    with pytest.raises(BrokerUnavailable):
        await bench.replay(sender=Refusing())

    await bench.eventually_holds(WORK.dead, 1)


async def test_a_crash_between_confirm_and_ack_leaves_letter_and_copy_under_one_id(bench: Bench) -> None:
    await bench.publish(
        Message(
            f'{{"order_id": "{ORDER}"}}'.encode(), exchange="hub.fulfillment", routing_key="order.accepted"
        )
    )
    await bench.reject(await bench.delivery(), "no such order")

    with pytest.raises(KeyboardInterrupt):
        await bench.replay(sender=DyingAfterConfirm(bench.client_session))

    await bench.eventually_holds(WORK.dead, 1)
    (letter,) = await bench.read()
    message, _ = receive(await bench.delivery(), SIGNER)
    assert message.message_id == letter.id


async def test_a_removed_letter_is_gone_and_the_others_are_not(bench: Bench) -> None:
    for number in range(2):
        await bench.publish(
            Message(b"{}", exchange="hub.fulfillment", routing_key="order.accepted", message_id=str(number))
        )
        await bench.reject(await bench.delivery(), "invalid")

    await bench.eventually_holds(WORK.dead, 2)
    async with (
        dead_letter_queue.open_letters(bench.client_session.connection, WORK.dead) as open_letters,
        aclosing(open_letters.letters()) as every,
    ):
        async for letter in every:
            if letter.id == "0":
                await dead_letter_queue.remove(letter)

    assert [letter.id for letter in await bench.read()] == ["1"]


async def test_what_was_unroutable_goes_back_to_where_it_was_sent(bench: Bench) -> None:
    kept = {"tenant": "north", "x-hub-attempt": 4}
    await bench.publish(
        Message(
            b"{}", exchange="hub.fulfillment", routing_key="order.teleported", message_id="m-1", headers=kept
        )
    )
    await bench.eventually_holds("hub.unroutable", 1)

    (letter,) = await bench.read("hub.unroutable")
    exchange, routing_key, message = dead_letter_queue.replay_target(letter, SIGNER, trusted=False)
    queue = await bench.consuming.declare_queue("test.new", exclusive=True)
    await queue.bind("hub.fulfillment", "order.teleported")
    await bench.replay("hub.unroutable")
    incoming = await queue.get(timeout=5)

    assert (exchange, routing_key) == ("hub.fulfillment", "order.teleported")
    assert "no queue is bound to hub.fulfillment" in letter.reason
    assert message.headers == {"tenant": "north"}
    assert incoming is not None
    assert (incoming.body, incoming.message_id, dict(incoming.headers)) == (b"{}", "m-1", {"tenant": "north"})
    await bench.eventually_holds("hub.unroutable", 0)


async def test_a_retry_whose_queue_was_gone_returns_with_its_bookkeeping(bench: Bench) -> None:
    message = cloudevents.encode(EVENT)
    book = RetryState(made=2, exchange=message.exchange, routing_key=message.routing_key, reason="away")
    waiting = headers.waiting(book, message, queue="hub.iqmetrix.old")
    await bench.publish(
        Message(
            message.body,
            exchange="hub.wait.1000",
            routing_key="hub.iqmetrix.old",
            headers=waiting,
            message_id="e",
        )
    )
    await bench.eventually_holds("hub.unroutable", 1)

    (letter,) = await bench.read("hub.unroutable")
    exchange, routing_key, back = dead_letter_queue.replay_target(letter, SIGNER, trusted=False)

    assert (exchange, routing_key) == ("hub.requeue", "hub.iqmetrix.old")
    assert letter.message.routing_key == "order.accepted.iqmetrix"
    assert back.headers[headers.ROUTING_KEY] == "order.accepted.iqmetrix"
    assert headers.ATTEMPT not in back.headers
    assert "x-death" not in back.headers


async def test_a_queue_that_the_broker_lacks_is_named_with_the_remedy(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"hub\.gone\.dead.*hub topology apply"):
        async with dead_letter_queue.open_letters(bench.client_session.connection, "hub.gone.dead"):
            pytest.fail("opened a queue that does not exist")


async def test_a_letter_survives_more_looks_than_a_work_queue_allows_deliveries(bench: Bench) -> None:
    await bench.publish(cloudevents.encode(EVENT))
    await bench.reject(await bench.delivery(), "no such order")

    for _ in range(EARLIER_DELIVERY_LIMIT + 5):
        assert len(await bench.read()) == 1

    await bench.eventually_holds(WORK.dead, 1)
