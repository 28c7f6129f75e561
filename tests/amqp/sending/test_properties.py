"""Properties on the wire: a publish of the hub sends what an aio_pika message would."""

from datetime import UTC, datetime

import pytest

from hub.amqp.sending.properties import properties, to_send
from hub.messaging.message import Message

FULL = Message(
    b"{}",
    "application/json",
    "order.created",
    "an-id",
    correlation_id="another",
    timestamp=datetime(2024, 5, 14, 16, 2, tzinfo=UTC),
    headers={"x-hub-attempt": 1},
    others={"priority": 3, "app_id": "oms", "reply_to": "svc.answers", "content_encoding": "gzip"},
)


@pytest.mark.parametrize(
    "message",
    [
        FULL,
        Message(b""),
        Message(b"", message_id="i" * 300),
        Message(b"", timestamp=datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_both_ways_to_send_a_message_give_the_same_bytes(message: Message) -> None:
    assert properties(message).marshal() == to_send(message).properties.marshal()


@pytest.mark.parametrize("year", [1, 1969])
def test_a_time_that_the_property_cannot_hold_is_left_out(year: int) -> None:
    sent = properties(Message(b"", timestamp=datetime(year, 12, 31, tzinfo=UTC)))

    sent.marshal()
    assert sent.timestamp is None


def test_the_first_and_the_last_time_of_the_property_are_sent() -> None:
    for moment in (datetime(1970, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        sent = properties(Message(b"", timestamp=moment))

        sent.marshal()
        assert sent.timestamp == moment
