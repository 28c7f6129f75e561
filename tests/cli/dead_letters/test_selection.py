"""Which letters the options of a command mean: by the facts of their errors."""

from datetime import UTC, datetime

import pytest

from hub.amqp.copies.headers import RetryState
from hub.amqp.dead_letters.dead_letter import Letter
from hub.cli.dead_letters.selection import Choice
from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import Message

QUEUE = "hub.retailops.submit-purchase-orders"
REFUSED = ErrorFacts("retailops", "Vendor/PO/MarkSubmitted", 422, "vendor_unknown", "items.3.sku")


def letter(error: ErrorFacts, reason: str = "refused") -> Letter:
    message = Message(b"{}", type="order.created", message_id="a")
    book = RetryState(reason=reason).failed(reason, datetime(2026, 5, 1, tzinfo=UTC), error)
    return Letter(f"{QUEUE}.dead", 1, message, message, book, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wanted",
    [
        ErrorFacts(partner="RetailOps"),
        ErrorFacts(operation="Vendor/PO/MarkSubmitted"),
        ErrorFacts(operation="marksubmitted"),
        ErrorFacts(status=422),
        ErrorFacts(code="vendor_unknown"),
        ErrorFacts(field="items.3.sku"),
        ErrorFacts(field="items.#.sku"),
        REFUSED,
    ],
    ids=str,
)
def test_a_letter_is_chosen_by_each_fact_of_its_error(wanted: ErrorFacts) -> None:
    assert Choice((), facts=wanted).wants(letter(REFUSED))


@pytest.mark.parametrize(
    "wanted",
    [
        ErrorFacts(partner="retail"),
        ErrorFacts(operation="Complete"),
        ErrorFacts(status=400),
        ErrorFacts(code="vendor"),
        ErrorFacts(field="sku"),
        ErrorFacts(partner="retailops", status=500),
    ],
    ids=str,
)
def test_a_letter_is_not_chosen_when_one_fact_is_another(wanted: ErrorFacts) -> None:
    assert not Choice((), facts=wanted).wants(letter(REFUSED))


def test_a_letter_of_an_earlier_release_is_chosen_by_what_is_listed() -> None:
    old = letter(NO_FACTS, "retailops answered 422 to Vendor/PO/MarkSubmitted: vendor 27 not found")

    assert Choice((), facts=ErrorFacts(partner="retailops", operation="MarkSubmitted")).wants(old)
    assert not Choice((), facts=ErrorFacts(status=422)).wants(old)
