"""Input that breaks its own types: it is set aside, and nobody beside it notices."""

import struct
from typing import Any

import orjson

from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Retry
from hub.models.events import AnyEvent
from tests.broker.raw import RawProperties, send_raw
from tests.broker.rig import ORDER_ID, QUEUE, Handler, depth, letters, outsider, running, send
from tests.eventually import eventually

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})
TIMESTAMP, MESSAGE_ID, HEADERS = 64, 128, 8192


async def test_properties_that_cannot_be_read_cost_no_connection_and_no_neighbor(broker_url: str) -> None:
    handler = Handler()
    nanoseconds = struct.pack(">Q", 1_715_702_529_000_000_000)
    latin1 = "Étui".encode("latin-1")
    odd_table = b"\x04when" + b"T" + nanoseconds
    bad = [
        RawProperties(TIMESTAMP, nanoseconds),
        RawProperties(MESSAGE_ID, bytes([len(latin1)]) + latin1),
        RawProperties(HEADERS, struct.pack(">I", len(odd_table)) + odd_table),
    ]

    async with running(broker_url, handler) as rig, outsider(broker_url) as channel:
        for properties in bad:
            await send_raw(channel, properties, ACCEPTED)
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id="neighbor")
        await eventually(lambda: len(handler.seen) == 4)
        assert rig.supervisor.is_up

    assert {context.attempt for _, context in handler.seen} == {1}
    assert "neighbor" in handler.ids
    assert await depth(broker_url, QUEUE.dead) == 0


async def test_headers_that_are_not_utf_8_or_nested_without_end_cost_no_connection_and_can_be_copied(
    broker_url: str,
) -> None:
    attempts: list[int] = []

    async def fails_once(event: AnyEvent, context: Context, /) -> Outcome:
        attempts.append(context.attempt)
        return Retry("again") if context.attempt == 1 else Done()

    nested = b""
    for _ in range(2000):
        nested = b"A" + struct.pack(">I", len(nested)) + nested
    tables = [b"\x04name" + b"S" + struct.pack(">I", 4) + "Étu".encode("latin-1") + b"i", b"\x01a" + nested]

    async with running(broker_url, fails_once) as rig, outsider(broker_url) as channel:
        for table in tables:
            await send_raw(channel, RawProperties(HEADERS, struct.pack(">I", len(table)) + table), ACCEPTED)
        await eventually(lambda: len(attempts) == 4)
        assert rig.supervisor.is_up

    assert sorted(attempts) == [1, 1, 2, 2]


async def test_a_time_beyond_all_calendars_is_a_letter(broker_url: str) -> None:
    document = {
        "specversion": "1.0",
        "id": "e",
        "type": "order.accepted",
        "source": "/t",
        "time": "9999-12-31T23:59:59-05:00",
        "data": {"order_id": ORDER_ID},
    }

    async with running(broker_url, Handler()), outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted",
            orjson.dumps(document),
            content_type="application/cloudevents+json",
        )
        found: list[Any] = []

        async def dead() -> bool:
            found.extend(await letters(broker_url, QUEUE.dead))
            return bool(found)

        await eventually(dead)

    assert str(found[0].headers["x-hub-reason"]).startswith("time: ")


async def test_a_key_that_names_another_source_than_the_order_is_a_letter(broker_url: str) -> None:
    """It would reach the consumers that hear every source and pass the order's own partner by."""
    handler = Handler()

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(
            channel, "hub.fulfillment", "order.accepted.iqmetrix", ACCEPTED.replace(b"iqmetrix", b"retailops")
        )
        found: list[Any] = []

        async def dead() -> bool:
            found.extend(await letters(broker_url, QUEUE.dead))
            return bool(found)

        await eventually(dead)

    assert handler.seen == []
    assert str(found[0].headers["x-hub-reason"]).startswith("routing_key: expected order.accepted")


async def test_an_event_without_a_time_has_the_same_time_at_every_attempt(broker_url: str) -> None:
    times = []

    async def handler(event: Any, context: Any) -> Retry | Done:
        times.append(event.time)
        return Retry("again") if len(times) < 3 else Done()

    async with running(broker_url, handler), outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED)
        await eventually(lambda: len(times) == 3)

    assert len(set(times)) == 1


async def test_a_letter_keeps_all_properties_but_routes_nowhere_else(broker_url: str) -> None:
    async with running(broker_url, Handler()), outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted",
            b"{}",
            reply_to="svc.oms.replies",
            app_id="oms",
            content_encoding="utf-8",
            priority=3,
            headers={"CC": ["hub.unroutable"], "tenant": "north"},
        )
        found: list[Any] = []

        async def dead() -> bool:
            found.extend(await letters(broker_url, QUEUE.dead))
            return bool(found)

        await eventually(dead)

    (letter,) = found
    assert (letter.reply_to, letter.app_id, letter.content_encoding, letter.priority) == (
        "svc.oms.replies",
        "oms",
        "utf-8",
        3,
    )
    assert letter.headers["tenant"] == "north"
    assert "CC" not in letter.headers
