"""Reasons as the code really writes them, read as faults: the errors are raised here by the code that raises them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from consumers.retailops.submission import not_yet_submitted
from hub.amqp.copies.headers import RetryState
from hub.amqp.dead_letters.dead_letter import Letter
from hub.config.settings import Retailops
from hub.errors import HubError
from hub.http.classify import raise_for_status as judge
from hub.http.classify import validation_said
from hub.http.session import HttpSession, Response
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.outcome import Retry
from hub.messaging.resilience.retry import GiveUp, RetryPolicy, decide
from hub.models.events import Event, OrderCancelled, OrderCreated
from hub.models.order import Order
from hub.models.order_transitions import FieldError, apply
from hub.operations.dead_letters.facts import normalised
from hub.operations.dead_letters.grouping import grouped
from hub.operations.dead_letters.legacy import read_reason
from hub.partners.retailops import answers

SUBMIT = "hub.retailops.submit-purchase-orders"
STATUS = "hub.iqmetrix.update-order-status"
ACME = "hub.webhook.acme"
AT = datetime(2026, 5, 1, tzinfo=UTC)


def said(act: Callable[[], object]) -> str:
    """The reason that a letter gets when this fails."""
    with pytest.raises((HubError, ValueError)) as raised:
        act()
    return str(raised.value)


def retailops_says(status: int, body: bytes, action: str = "Vendor/PO/MarkSubmitted") -> str:
    done = Retailops(api_key=SecretStr("k"), vendor_id="27").already_done
    return said(
        lambda: answers.judge(Response(status, {}, body), action, already_done=done, once=True, now=AT)
    )


def order(number: int) -> Order:
    details = OrderCreated.model_validate(
        {
            "order_id": f"iqmetrix:1:{number}",
            "source": "iqmetrix",
            "source_account": "1",
            "source_order_id": str(number),
            "source_event_id": f"e-{number}",
            "created_at": AT,
            "lines": [{"line_id": f"{number}:1", "sku": f"NF-{number}", "quantity": number}],
        }
    )
    return Order.new(details)


def cancelled(number: int, **line: Any) -> str:
    data = OrderCancelled.model_validate({"order_id": f"iqmetrix:1:{number}", "lines": [line]})
    event = Event(f"c-{number}", "order.cancelled", "/test", data.order_id, AT, data)
    with pytest.raises(FieldError) as raised:
        apply(order(number), event)
    return f"{raised.value.field}: {raised.value}"


@pytest.mark.parametrize(
    ("reason", "queue", "kind", "text"),
    [
        (
            retailops_says(200, b'{"ERROR": "vendor not found"}'),
            SUBMIT,
            "order.created",
            "retailops · MarkSubmitted · ERROR 'an error text of 16 characters'",
        ),
        (
            retailops_says(400, b'{"ERROR": "no class", "ERRORCODE": "C7"}', "Vendor/PO/Complete"),
            "hub.retailops.complete-purchase-order",
            "order.shipped",
            "retailops · Complete · 400 ERROR 'an error text of 8 characters' code C7",
        ),
        (
            said(
                lambda: judge(
                    Response(422, {}, b'{"errors": [{"field": "items[0].sku", "code": "invalid"}]}'),
                    partner="acme",
                    operation="the webhook",
                    read=validation_said(("items", "sku")),
                )
            ),
            ACME,
            "webhook.confirmation",
            "acme · order confirmation · 422 items.0.sku: invalid",
        ),
        (
            said(lambda: judge(Response(404, {}, b""), partner="acme", operation="the webhook")),
            ACME,
            "webhook.disposition",
            "acme · disposition update · 404",
        ),
        (
            said(
                lambda: judge(Response(302, {}, b""), partner="iqmetrix", operation="an order status update")
            ),
            STATUS,
            "order.shipped",
            "iqmetrix · order status update · 302",
        ),
        (
            f"{HttpSession('acme', timeout=timedelta(1))._where('POST', 'https://a.example/hooks/x')}: could not connect",
            ACME,
            "webhook.cancellation",
            "acme · order cancellation · could not connect",
        ),
        (
            said(lambda: cloudevents.decode(Message(b'{"order_id": "x"}', routing_key="order.accepted"))),
            STATUS,
            "order.accepted",
            "order.accepted · data.order_id · expected <source>:<account>:<order id>",
        ),
        (
            f"data.{cancelled(7, sku='GONE', quantity=1)}",
            STATUS,
            "order.cancelled.iqmetrix",
            "order.cancelled · data.lines.0.sku · expected a sku of the order ('NF-7')",
        ),
        (
            "set aside by the broker: delivery limit",
            STATUS,
            "order.accepted",
            "order.accepted · set aside by the broker · delivery limit",
        ),
        (
            "no queue is bound to hub.fulfillment for 'order.teleported'",
            "hub.unroutable",
            "order.teleported",
            "the broker · no queue is bound to hub.fulfillment for 'order.teleported'",
        ),
        (
            not_yet_submitted(order(1)),
            "hub.retailops.complete-purchase-order",
            "order.shipped",
            "retailops · complete purchase order · not yet submitted",
        ),
        (
            "items: expected at least one order-item, got none",
            "hub.iqmetrix.orders",
            "iqmetrix.entry",
            "feed entry · items · expected at least one order-item",
        ),
        (
            "unexpected KeyError in update_order_status; see the log",
            STATUS,
            "order.accepted",
            "iqmetrix · update order status · unexpected KeyError in update_order_status; see the log",
        ),
    ],
)
def test_a_reason_is_read_as_partner_operation_and_what_was_wrong(
    reason: str, queue: str, kind: str, text: str
) -> None:
    assert str(read_reason(reason, queue=queue, message_type=kind)) == text


@pytest.mark.parametrize(
    "reasons",
    [
        [retailops_says(200, b'{"ERROR": "PO D%d of vendor 27 is locked"}' % n) for n in (1, 22)],
        [f"data.{cancelled(n, sku=f'GONE-{n}', quantity=1)}" for n in (3, 44)],
        [f"data.{cancelled(n, sku=f'NF-{n}', quantity=99 + n)}" for n in (3, 44)],
        [
            f"iqmetrix answered 400 to an item status update: order {n}f-b{n} not found at 2026-05-0{n}T10:00:00Z"
            for n in (1, 2)
        ],
        [f"order_id: expected an order that a producer has recorded, got 'iqmetrix:1:{n}'" for n in (1, 2)],
    ],
)
def test_ids_numbers_and_times_do_not_tell_faults_apart(reasons: list[str]) -> None:
    first, second = (read_reason(reason, queue=SUBMIT, message_type="order.cancelled") for reason in reasons)

    assert reasons[0] != reasons[1]
    assert first.key == second.key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme answered 422 to the webhook", "acme answered 409 to the webhook"),
        ("retailops answered 200 to Vendor/PO/X: locked", "retailops answered 200 to Vendor/PO/X: unknown"),
        ("retailops answered 200 to A/X: no (code 1)", "retailops answered 200 to A/X: no (code 2)"),
        ("retailops answered 500 to Vendor/PO/X", "retailops answered 500 to Vendor/PO/Y"),
        ("data.lines.0.sku: expected a", "data.lines.0.quantity: expected a"),
        ("no queue is bound to hub.orders for 'a1'", "no queue is bound to hub.orders for 'a2'"),
    ],
)
def test_status_code_operation_and_field_tell_faults_apart(one: str, other: str) -> None:
    first, second = (read_reason(reason, queue=ACME, message_type="order.shipped") for reason in (one, other))

    assert first.key != second.key


def letter(number: int, reason: str) -> Letter:
    message = Message(b"{}", type="order.created", message_id=f"id-{number}")
    book = RetryState(reason=reason).failed(reason, AT + timedelta(minutes=number))
    return Letter(f"{SUBMIT}.dead", number, message, message, book, None, None)  # type: ignore[arg-type]


def test_five_thousand_letters_of_one_fault_are_one_line_that_says_what_they_share() -> None:
    reasons = [
        f"retailops answered 200 to Vendor/PO/MarkSubmitted: PO D{n} is locked (code 17)" for n in range(5000)
    ]

    (group,) = grouped(letter(number, reason) for number, reason in enumerate(reasons))

    assert group.text == "retailops · MarkSubmitted · ERROR 'PO # is locked' code 17"
    assert (group.count, group.example) == (5000, "id-4999")
    assert (group.oldest, group.newest) == (AT, AT + timedelta(minutes=4999))


def test_a_group_whose_letters_all_say_the_same_keeps_their_words_and_the_largest_comes_first() -> None:
    often = "retailops answered 503 to Vendor/PO/Complete"

    groups = grouped(letter(n, often if n else "data.id: expected 8 digits") for n in range(3))

    assert [(group.count, group.text) for group in groups] == [
        (2, "retailops · Complete · 503"),
        (1, "order.created · data.id · expected 8 digits"),
    ]


def test_a_letter_without_a_time_is_counted_all_the_same() -> None:
    timeless = replace(letter(1, "x"), book=RetryState(reason="x"))

    (group,) = grouped([timeless])

    assert (group.count, group.oldest, group.newest, group.example) == (1, None, None, "id-1")


def test_normalising_leaves_words_alone() -> None:
    assert normalised("PO 'D1' and 'D2', 3 of 27 at 10:00 for deadbeefcafe") == "PO '…', # of # at # for #"
    assert normalised("carrier class not found") == "carrier class not found"


def test_the_last_of_six_attempts_is_the_fault_and_not_that_it_was_the_last() -> None:
    policy = RetryPolicy((timedelta(seconds=1),) * 5)
    said = "acme answered 422 to the webhook"
    gave_up = decide(Retry(said), attempt=6, policy=policy, rungs=policy.waits, now=datetime.now(UTC))

    assert isinstance(gave_up, GiveUp)
    last, first = (
        read_reason(reason, queue=ACME, message_type="webhook.confirmation")
        for reason in (gave_up.reason, said)
    )
    assert last == first
