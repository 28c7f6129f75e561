"""The signature of the hub's copies: whatever of a copy is changed, it is not the hub's any more."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hub.amqp.copies.signature import Signer
from hub.messaging.message import Message

QUEUE = "hub.webhook.acme"
SIGNER = Signer(b"k" * 32)
COPY = SIGNER.signed(
    Message(
        b'{"a": 1}',
        content_type="application/json",
        type="webhook.confirmation",
        message_id="m-1",
        timestamp=datetime(2026, 12, 1, 12, 0, 0, 250_000, tzinfo=UTC),
        headers={"x-hub-effect": "e-1", "x-hub-attempt": 2, "ce-type": "order.shipped", "tenant": "north"},
    ),
    queue=QUEUE,
)

CHANGES: dict[str, Callable[[Message], Message]] = {
    "body": lambda copy: replace(copy, body=b'{"a": 2}'),
    "type": lambda copy: replace(copy, type="webhook.cancellation"),
    "no type": lambda copy: replace(copy, type=None),
    "message id": lambda copy: replace(copy, message_id="m-2"),
    "content type": lambda copy: replace(copy, content_type="application/cloudevents+json"),
    "time": lambda copy: replace(copy, timestamp=datetime(2026, 12, 2, tzinfo=UTC)),
    "effect": lambda copy: replace(copy, headers={**copy.headers, "x-hub-effect": "e-2"}),
    "attempt": lambda copy: replace(copy, headers={**copy.headers, "x-hub-attempt": 1}),
    "attempt as text": lambda copy: replace(copy, headers={**copy.headers, "x-hub-attempt": "2"}),
    "further header": lambda copy: replace(copy, headers={**copy.headers, "x-hub-stored": 1}),
    "header in capitals": lambda copy: replace(copy, headers={**copy.headers, "X-Hub-Effect": "e-2"}),
    "attribute of the event": lambda copy: replace(copy, headers={**copy.headers, "ce-type": "order.cancelled"}),
    "signature": lambda copy: replace(copy, headers={**copy.headers, "x-hub-signature": "v1="}),
    "signature of another kind": lambda copy: replace(copy, headers={**copy.headers, "x-hub-signature": 1}),
    "signature with odd signs": lambda copy: replace(copy, headers={**copy.headers, "x-hub-signature": "v1=\udc80ü"}),
    "bytes moved from type to id": lambda copy: replace(copy, type="webhook.confirmationm", message_id="-1"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_copy_that_was_changed_is_not_the_hubs(change: Callable[[Message], Message]) -> None:
    assert not SIGNER.has_signed(change(COPY), queue=QUEUE)


def test_a_copy_is_the_hubs_for_its_own_queue_and_key_only() -> None:
    assert SIGNER.has_signed(COPY, queue=QUEUE)
    assert not SIGNER.has_signed(COPY, queue="hub.webhook.northwind")
    assert not Signer(b"x" * 32).has_signed(COPY, queue=QUEUE)


def test_what_brokers_and_shovels_do_to_a_copy_leaves_it_the_hubs() -> None:
    headers = {**COPY.headers, "x-death": [{"count": 1}], "x-shovelled": [{}], "tenant": b"north"}
    timestamp = COPY.timestamp
    assert timestamp is not None

    moved = replace(COPY, headers=headers, timestamp=timestamp.replace(microsecond=0), exchange="hub.requeue")

    assert SIGNER.has_signed(moved, queue=QUEUE)


@pytest.mark.parametrize(
    "odd",
    [
        {"message_id": "x" * 300},
        {"message_id": None},
        {"timestamp": datetime(1969, 1, 1, tzinfo=UTC)},
        {"timestamp": datetime(2054, 4, 17, 13, 19, tzinfo=UTC)},
        {"headers": {"ce-id": "\udc80", "ce-time": 1.5}},
    ],
    ids=str,
)
def test_what_is_odd_about_a_message_can_be_signed(odd: dict[str, object]) -> None:
    signed = SIGNER.signed(replace(COPY, **odd), queue=QUEUE)  # type: ignore[arg-type]

    assert SIGNER.has_signed(signed, queue=QUEUE)
