"""T6: headers near the largest frame: the hub's own copy would not fit, so what is foreign is bounded."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from hub.amqp.copies import headers
from hub.amqp.copies.foreign_headers import ROOM_FOR_ATTRIBUTES, ROOM_FOR_OTHERS, bounded
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Retry
from hub.models.events import AnyEvent
from tests.broker.raw import RawProperties, send_raw
from tests.broker.rig import ORDER_ID, QUEUE, Handler, depth, letters, outsider, running, send
from tests.eventually import eventually

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})
# With its own name and properties just below the 131,072 bytes of a frame.
ALMOST_A_FRAME = 130_850
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "binary-1",
    "ce-type": "order.accepted",
    "ce-source": "/test",
}


async def test_a_letter_of_a_message_with_huge_headers_costs_no_connection_and_is_one(
    broker_url: str,
) -> None:
    async with running(broker_url, Handler()) as rig, outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted",
            b"{}",
            message_id="m-1",
            headers={"tenant": "north", "pad": "x" * ALMOST_A_FRAME},
        )

        async def dead() -> bool:
            return await depth(broker_url, QUEUE.dead) == 1 and rig.consumer.in_flight() == 0

        await eventually(dead)
        assert rig.supervisor.last_error == "not connected yet", "no session was lost"

    (letter,) = await letters(broker_url, QUEUE.dead)
    assert letter.headers["tenant"] == "north"
    assert "pad" not in letter.headers
    assert letter.headers[headers.DROPPED] == 1


async def test_a_binary_event_with_huge_headers_is_tried_again_as_the_same_event(broker_url: str) -> None:
    seen: list[tuple[str, int]] = []

    async def fails_once(event: AnyEvent, context: Context, /) -> Outcome:
        seen.append((event.id, context.attempt))
        return Retry("again") if context.attempt == 1 else Done()

    async with running(broker_url, fails_once) as rig, outsider(broker_url) as channel:
        await send(
            channel,
            "hub.fulfillment",
            "order.accepted",
            ACCEPTED,
            headers=BINARY | {f"pad-{number}": "x" * 100 for number in range(1100)},
        )
        await eventually(lambda: len(seen) == 2)
        assert rig.supervisor.last_error == "not connected yet", "no session was lost"

    assert seen == [("binary-1", 1), ("binary-1", 2)]


async def test_properties_that_grow_when_they_are_read_are_cut_and_not_refused(broker_url: str) -> None:
    """255 bytes that are not UTF-8 are 255 characters of three bytes each once they are read."""
    # content type, type and app id, as their flags are ordered.
    flags, content = 0x8000 | 0x0020 | 0x0008, b"".join([bytes([255]) + b"\xff" * 255] * 3)

    async with running(broker_url, Handler()) as rig, outsider(broker_url) as channel:
        await send_raw(channel, RawProperties(flags, content), ACCEPTED)

        async def dead() -> bool:
            return await depth(broker_url, QUEUE.dead) == 1 and rig.consumer.in_flight() == 0

        await eventually(dead)
        assert rig.supervisor.last_error == "not connected yet", "no session was lost"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        2**70,
        Decimal("1E+300"),
        Decimal("NaN"),
        "\ud800",
        datetime(1960, 1, 1, tzinfo=UTC),
        {"deep": [object()]},
        b"bytes",
    ],
    ids=["object", "2**70", "1E+300", "NaN", "surrogate", "1960", "nested object", "bytes"],
)
def test_a_header_that_cannot_be_written_is_dropped_and_the_rest_stays(value: Any) -> None:
    kept, dropped = bounded({"odd": value, "tenant": "north"})

    assert kept == {"tenant": "north"}
    assert dropped == 1


def test_attributes_of_the_event_have_a_room_that_others_cannot_fill() -> None:
    others = {f"pad-{number}": "x" * 1000 for number in range(200)}

    kept, dropped = bounded(others | BINARY)

    assert kept.items() >= BINARY.items()
    assert sum(len(name) + len(value) for name, value in kept.items()) < ROOM_FOR_ATTRIBUTES + ROOM_FOR_OTHERS
    assert dropped == len(others) + len(BINARY) - len(kept) > 0


def test_very_many_tiny_headers_are_bounded_in_number() -> None:
    kept, dropped = bounded({str(number): None for number in range(20_000)})

    assert len(kept) == 100
    assert dropped == 19_900


def test_a_name_that_the_client_library_would_cut_is_dropped() -> None:
    assert bounded({"n" * 200: 1}) == ({}, 1)


def test_the_frame_of_the_largest_copy_stays_far_below_the_limit() -> None:
    assert ROOM_FOR_ATTRIBUTES + ROOM_FOR_OTHERS < 131_072 / 4
