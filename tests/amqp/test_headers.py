from datetime import UTC, datetime

from hub.amqp import headers
from hub.messaging.message import Message


def test_what_brokers_write_is_stripped_from_every_copy() -> None:
    message = Message(
        b"",
        headers={
            "x-death": [{"count": 3}],
            "x-first-death-queue": "q",
            "x-last-death-reason": "expired",
            "x-delivery-count": 4,
            "x-acquired-count": 4,
            "tenant": "north",
        },
    )

    copied = headers.waiting(headers.Bookkeeping(made=1), message, queue="q")

    assert "tenant" in copied
    assert not [key for key in copied if not key.startswith("x-hub-") and key != "tenant"]


def test_a_reason_is_cut_so_that_headers_fit_a_frame() -> None:
    book = headers.Bookkeeping().failed("x" * 10_000, datetime.now(UTC))

    assert len(book.reason) == 500


def test_nonsense_in_the_hubs_own_headers_reads_as_none() -> None:
    book = headers.read(
        {"x-hub-attempt": True, "x-hub-attempts": -3, "x-hub-not-before": "soon", "x-hub-reason": 5},
        exchange="hub.requeue",
        routing_key="q",
    )

    assert book == headers.Bookkeeping()


def test_the_first_arrival_is_kept_while_a_message_waits_and_not_on_its_letter() -> None:
    first, later = datetime(2026, 5, 14, 12, tzinfo=UTC), datetime(2026, 5, 14, 13, tzinfo=UTC)
    lied = {"x-hub-received-at": "2020-01-01T00:00:00Z"}

    book = headers.read(lied, exchange="hub.fulfillment", routing_key="order.shipped", now=first)
    copied = headers.waiting(book, Message(b"", headers=lied), queue="q")

    assert book.received_at == first
    assert headers.read(copied, exchange="hub.requeue", routing_key="q", now=later).received_at == first
    letter = headers.dead(book, Message(b"", headers=copied), queue="q")
    assert headers.read(letter, exchange="hub.requeue", routing_key="q", now=later).received_at == later
