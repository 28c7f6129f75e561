from dataclasses import replace
from datetime import UTC, datetime

from hub.amqp.copies import headers
from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import Message

AT = datetime(2024, 5, 14, 16, 3, 23, tzinfo=UTC)


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

    copied = headers.waiting(headers.RetryState(made=1), message, queue="q")

    assert "tenant" in copied
    assert not [key for key in copied if not key.startswith("x-hub-") and key != "tenant"]


def test_a_reason_is_cut_so_that_headers_fit_a_frame() -> None:
    book = headers.RetryState().failed("x" * 10_000, datetime.now(UTC))

    assert len(book.reason) == 500


def test_nonsense_in_the_hubs_own_headers_reads_as_none() -> None:
    book = headers.read(
        {"x-hub-attempt": True, "x-hub-attempts": -3, "x-hub-not-before": "soon", "x-hub-reason": 5},
        exchange="hub.requeue",
        routing_key="q",
    )

    assert book == headers.RetryState()


def test_the_first_arrival_is_kept_while_a_message_waits_and_not_on_its_letter() -> None:
    first, later = datetime(2026, 5, 14, 12, tzinfo=UTC), datetime(2026, 5, 14, 13, tzinfo=UTC)
    lied = {"x-hub-received-at": "2020-01-01T00:00:00Z"}

    book = headers.read(lied, exchange="hub.fulfillment", routing_key="order.shipped", now=first)
    copied = headers.waiting(book, Message(b"", headers=lied), queue="q")

    assert book.received_at == first
    assert headers.read(copied, exchange="hub.requeue", routing_key="q", now=later).received_at == first
    letter = headers.dead(book, Message(b"", headers=copied), queue="q")
    assert headers.read(letter, exchange="hub.requeue", routing_key="q", now=later).received_at == later


FACTS = ErrorFacts("retailops", "Vendor/PO/Complete", 200, "1042", "items", answer="no order of Dana")


def test_the_facts_of_an_error_survive_on_a_waiting_copy_but_for_the_answer() -> None:
    book = headers.RetryState().failed("refused", AT, FACTS)

    copied = headers.waiting(book, Message(b""), queue="q")
    read = headers.read(copied, exchange="hub.requeue", routing_key="q")

    assert copied["x-hub-error-status"] == 200
    assert read.error == FACTS
    assert "Dana" not in str(copied)


def test_a_letter_keeps_the_start_of_the_partners_answer() -> None:
    facts = replace(FACTS, answer="no order of Dana " + "x" * 5000)

    letter = headers.dead(headers.RetryState().failed("refused", AT, facts), Message(b""), queue="q")

    assert letter["x-hub-error-answer"] == facts.answer[:1024]


def test_the_facts_of_an_earlier_failure_are_dropped() -> None:
    earlier = headers.waiting(headers.RetryState().failed("refused", AT, FACTS), Message(b""), queue="q")
    book = headers.read(earlier, exchange="hub.requeue", routing_key="q")

    later = book.failed("expected a text", AT, ErrorFacts(code="missing", field="data.sku"))
    copied = headers.dead(later, Message(b"", headers=earlier), queue="q")

    assert {name: value for name, value in copied.items() if name.startswith("x-hub-error")} == {
        "x-hub-error-code": "missing",
        "x-hub-error-field": "data.sku",
    }


def test_a_message_of_an_earlier_release_has_no_facts() -> None:
    book = headers.read({"x-hub-reason": "refused"}, exchange="hub.requeue", routing_key="q")

    assert book.error == NO_FACTS
