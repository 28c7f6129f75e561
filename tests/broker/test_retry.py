"""Retry and dead letters on a real broker: the ladder, the headers, the reset budget."""

import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest

from hub.amqp.copies.headers import ATTEMPT
from hub.errors import StoreUnavailable
from hub.messaging.dispatch import outcome_of
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Part, Reject, Retry, Split
from tests.broker.rig import ORDER_ID, QUEUE, WAITS, Handler, depth, letters, outsider, running, send
from tests.eventually import eventually

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})


async def test_a_failing_message_is_tried_six_times_and_then_lies_complete_in_its_dead_letter_queue(
    broker_url: str,
) -> None:
    handler = Handler(always=Retry("partner answered 503"))

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted.iqmetrix",
            ACCEPTED,
            message_id="m-1",
            correlation_id="c-1",
            content_type="application/json",
            headers={"tenant": "north"},
        )
        await eventually(lambda: len(handler.seen) == 6, because="six attempts")

        async def dead() -> bool:
            return await depth(broker_url, QUEUE.dead) == 1

        await eventually(dead)

    (letter,) = await letters(broker_url, QUEUE.dead)
    assert [context.attempt for _, context in handler.seen] == [1, 2, 3, 4, 5, 6]
    assert letter.body == ACCEPTED
    assert (letter.message_id, letter.correlation_id, letter.content_type) == (
        "m-1",
        "c-1",
        "application/json",
    )
    assert letter.headers["tenant"] == "north"
    assert letter.headers["x-hub-queue"] == QUEUE.queue
    assert letter.headers["x-hub-reason"] == "gave up after 6 attempts: partner answered 503"
    assert letter.headers["x-hub-exchange"] == "hub.fulfillment"
    assert letter.headers["x-hub-routing-key"] == "order.accepted.iqmetrix"
    assert letter.headers["x-hub-attempts"] == 6
    assert str(letter.headers["x-hub-first-failed-at"]) < str(letter.headers["x-hub-last-failed-at"])
    assert ATTEMPT not in letter.headers
    assert not [key for key in letter.headers if key.startswith("x-death")]


async def test_waits_follow_the_policy_and_are_never_early(broker_url: str) -> None:
    times: list[float] = []

    async def handler(event: object, context: object) -> Retry:
        times.append(time.monotonic())
        return Retry("no")

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED)
        await eventually(lambda: len(times) == 6)

    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap >= wait.total_seconds() for gap, wait in zip(gaps, WAITS, strict=True))


@pytest.mark.parametrize(
    "exchange", ["hub.requeue", ""], ids=["through hub.requeue", "straight to its queue"]
)
async def test_a_letter_moved_back_by_any_tool_starts_with_a_full_budget(
    broker_url: str, exchange: str
) -> None:
    handler = Handler(always=Retry("still down"))

    async with running(broker_url, handler, waits=WAITS[:1]), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="m-1")
        await eventually(lambda: len(handler.seen) == 2)
        moved: list[Any] = []
        await eventually(lambda: _collect(broker_url, moved))
        await send(channel, exchange, QUEUE.queue, moved[0].body, headers=moved[0].headers, message_id="m-1")
        await eventually(lambda: len(handler.seen) == 4)
        again: list[Any] = []
        await eventually(lambda: _collect(broker_url, again))

    assert [context.attempt for _, context in handler.seen] == [1, 2, 1, 2]
    assert again[0].headers["x-hub-attempts"] == 4
    assert again[0].headers["x-hub-routing-key"] == "order.accepted"


async def _collect(url: str, into: list) -> bool:
    into += await letters(url, QUEUE.dead)
    return bool(into)


async def test_a_hint_is_kept_without_costing_attempts_and_is_never_early(broker_url: str) -> None:
    hint = timedelta(milliseconds=730)
    times: list[float] = []
    attempts: list[int] = []

    async def handler(event: object, context: Context) -> Retry | Done:
        times.append(time.monotonic())
        attempts.append(context.attempt)
        return Retry("throttled", after=hint) if len(times) == 1 else Done()

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED)
        await eventually(lambda: len(times) == 2)

    waited = times[1] - times[0]
    assert attempts == [1, 2]
    assert hint.total_seconds() <= waited


async def test_a_delivery_that_misses_the_state_store_says_so_and_spends_no_attempt(broker_url: str) -> None:
    away = outcome_of(StoreUnavailable("disk full"))
    handler = Handler([away, Split((Part(Message(ACCEPTED, message_id="m-1"), away),))])
    said: list[str] = []

    async with (
        running(broker_url, handler, on_store_away=said.append),
        outsider(broker_url) as channel,
    ):
        await send(channel, "hub.fulfillment", "order.accepted.iqmetrix", ACCEPTED, message_id="m-1")
        await eventually(lambda: len(handler.seen) == 3)

    assert [context.attempt for _, context in handler.seen] == [1, 1, 1]
    assert said == ["disk full", "disk full"]


async def test_bookkeeping_headers_of_a_foreign_publisher_are_not_heard(broker_url: str) -> None:
    handler = Handler(always=Retry("no"))

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted",
            ACCEPTED,
            headers={"x-hub-attempt": 5, "x-hub-not-before": "2099-01-01T00:00:00Z"},
        )
        await eventually(lambda: len(handler.seen) == 6, because="a full budget, at once")

    assert handler.seen[0][1].attempt == 1


@pytest.mark.parametrize(
    ("body", "properties", "reason"),
    [
        (b"\xff\xfe not json", {}, "body: expected JSON in UTF-8"),
        (b"[]", {"content_type": "application/cloudevents+json"}, "body: expected a JSON object"),
        (b"{}", {}, "data.order_id: Field required"),
        (b'{"order_id": "x"}', {}, "data.order_id: expected <source>:<account>:<order id>"),
        (ACCEPTED, {"type": "order.teleported"}, "type: expected one of order.created"),
        (ACCEPTED, {"type": "order.failed"}, "type: expected 'order.accepted' as its routing key says"),
        (b"[%b0]" % (b"0," * 32_000), {}, "body: expected at most 32000 objects, lists and values"),
        (ACCEPTED, {"content_type": "text/plain"}, "content_type: expected application/json"),
    ],
    ids=["bytes", "no object", "missing", "order id", "unknown type", "other type", "many", "text"],
)
async def test_bad_input_is_a_letter_that_names_the_field_and_delays_nothing(
    broker_url: str, body: bytes, properties: dict, reason: str
) -> None:
    handler = Handler()

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", body, **properties)
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="good")
        await eventually(lambda: handler.ids == ["good"])
        found: list = []
        await eventually(lambda: _collect(broker_url, found))

    assert found[0].headers["x-hub-reason"].startswith(reason)
    assert found[0].body == body
    assert found[0].headers["x-hub-attempts"] == 1


async def test_an_unknown_routing_key_is_kept_in_hub_unroutable(broker_url: str) -> None:
    async with running(broker_url, Handler()), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.teleported", ACCEPTED, message_id="lost?")

        (kept,) = await letters(broker_url, "hub.unroutable")

    assert kept.message_id == "lost?"


async def test_a_retry_for_a_queue_that_is_gone_stops_no_rung(broker_url: str) -> None:
    handler = Handler(script=[Retry("once")])

    async with running(broker_url, handler), outsider(broker_url) as channel:
        for number in range(40):
            await send(channel, "hub.wait.100", "hub.gone.forever", b"x", message_id=f"g-{number}")
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="alive")
        await eventually(lambda: handler.ids == ["alive", "alive"])

        async def kept() -> bool:
            return await depth(broker_url, "hub.unroutable") == 40

        await eventually(kept)


async def test_a_split_delivery_settles_each_part_on_its_own(broker_url: str) -> None:
    parts: list[bytes] = []

    async def stored(message: Message, context: object) -> Done:
        parts.append(message.body)
        return Done()

    async def handler(event: object, context: object) -> Split:
        return Split(
            (
                Part(Message(b"one", type="order.accepted", message_id="p1", stored=True), Retry("later")),
                Part(Message(b"two", type="order.accepted", message_id="p2"), Reject("never")),
                Part(Message(b"three", message_id="p3"), Done()),
            )
        )

    async with running(broker_url, handler) as rig, outsider(broker_url) as channel:
        rig.stored["order."] = stored
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED)
        await eventually(lambda: parts == [b"one"])
        found: list = []
        await eventually(lambda: _collect(broker_url, found))

    assert [(letter.body, letter.headers["x-hub-reason"]) for letter in found] == [(b"two", "never")]


async def test_a_message_that_the_broker_set_aside_can_be_retried(broker_url: str) -> None:
    async with running(broker_url, None), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="killer")
        queue = await channel.get_queue(QUEUE.queue, ensure=False)
        message = await queue.get()
        assert message is not None
        await message.reject(requeue=False)

        async def dead() -> bool:
            return await depth(broker_url, QUEUE.dead) == 1

        await eventually(dead)

    async with (
        running(broker_url, handler := Handler(script=[Retry("again")])),
        outsider(broker_url) as channel,
    ):
        (letter,) = await letters(broker_url, QUEUE.dead)
        assert "x-hub-reason" not in letter.headers
        await send(
            channel, "hub.requeue", QUEUE.queue, letter.body,
            headers=letter.headers | {"x-hub-routing-key": "order.accepted"}, message_id="killer",
        )  # fmt: skip
        await eventually(
            lambda: handler.ids == ["killer", "killer"], because="a replayed letter can still be retried"
        )
