"""What people report of RabbitMQ and its clients, tried on the headers of copies and on the reader of properties.

- Particular/NServiceBus.RabbitMQ #98, rabbitmq/rabbitmq-federation #12: a copied x-received-from stops federation.
- celery/celery #9867, rabbitmq/rabbitmq-server #11331, #767: a copied x-death drops the message, or crashes the queue.
- mosquito/aiormq #186, pika/pika #1698, cloudamqp/amqproxy #57: a timestamp in milliseconds ends the connection.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.amqp.copies import headers
from hub.amqp.protocol import lenient_types
from hub.messaging.message import Message


@pytest.mark.parametrize(
    "header",
    [
        "x-received-from",
        "x-death",
        "x-first-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-shovelled",
    ],
)
@pytest.mark.parametrize("copy", [headers.waiting, headers.dead], ids=["waiting", "dead"])
def test_no_copy_carries_what_a_broker_wrote(header: str, copy: Callable[..., dict[str, Any]]) -> None:
    message = Message(b"{}", headers={header: [{"uri": "amqp://upstream"}], "tenant": "north"})

    copied = copy(headers.RetryState(made=1), message, queue="hub.webhook.acme")

    assert copied["tenant"] == "north"
    assert header not in copied


@pytest.mark.parametrize("stamp", [1_772_000_000_000_000, 18446744073695295616, 2**64 - 1])
def test_a_timestamp_that_no_calendar_has_is_none_and_no_error(stamp: int) -> None:
    assert lenient_types.timestamp(struct.pack(">Q", stamp), 0) == (None, 8)


def test_a_timestamp_in_milliseconds_is_that_moment() -> None:
    moment, _ = lenient_types.timestamp(struct.pack(">Q", 1_772_000_000_000), 0)

    assert moment == datetime(2026, 2, 25, 6, 13, 20, tzinfo=UTC)
