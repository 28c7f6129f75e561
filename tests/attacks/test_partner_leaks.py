"""No value that a partner chose comes out of the hub: of feed entries, purchase orders, and answers that are errors.

A canary stands in every leaf in turn. Looked at are reasons and facts, log lines, and the letter as `hub letters` shows it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest
import structlog
from lxml import etree

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.dead_letters.dead_letter import Letter
from hub.cli.dead_letters.rendering import in_full, row
from hub.config.settings import FeedLimits
from hub.errors import HubError, InvalidMessage
from hub.http.classify import raise_for_status, validation_said
from hub.http.session import Response
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.observability.logging import LogEvent, log, set_up_logging
from hub.operations.dead_letters.grouping import grouped
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.iqmetrix.feed import Entry, Malformed, parse_page
from hub.partners.iqmetrix.translate import to_item
from hub.partners.iqmetrix.wire import OrderStatusUpdate, Status
from hub.partners.optoro.wire import FIELD_NAMES
from hub.partners.retailops import answers
from hub.partners.retailops.translate import read_purchase_order, to_letter
from tests.attacks.test_leaks import CANARIES, TRACES, WORD, poisoned
from tests.partners.iqmetrix.samples import BASE, SOURCE_ORDER_ID, SUPPLIER, TOKEN_URL, a_page, an_entry
from tests.partners.iqmetrix.samples import settings as iqmetrix_settings
from tests.partners.retailops.samples import VENDOR, a_po
from tests.partners.retailops.samples import settings as retailops_settings
from tests.responses import Responses

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FEED, POS = "hub.iqmetrix.orders", "hub.retailops.purchase-orders"
ACME, STATUS = "hub.webhook.acme", "hub.iqmetrix.update-order-status"
SUBMIT = "hub.retailops.submit-purchase-orders"
ANSWERS = (
    {"ERROR": "PO is locked", "code": "17", "records": [{"po": "D1", "ERROR": "no"}]},
    {"message": "invalid", "errors": [{"field": "shipment.carrier", "code": "invalid", "message": "no"}]},
    {"Message": "no", "ErrorCode": "E17", "ModelState": {"Status": ["no"]}},
)


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []
    set_up_logging("json", "debug", write=lines.append)
    yield lines
    structlog.reset_defaults()


def died(message: Message, error: HubError | Item, queue: str) -> Letter:
    """The letter that the hub makes of a message that failed so; the failure is in the log."""
    reason = error.reason if isinstance(error, Item) else str(error)
    book = RetryState().failed(reason, NOW, error.facts)
    arrived = Message(
        message.body,
        type=message.type,
        message_id=message.message_id,
        headers=headers.dead(book, message, queue=queue),
    )
    log.warning(LogEvent.SET_ASIDE, queue=queue, reason=reason, message_id=message.message_id)
    return Letter(f"{queue}.dead", 1, message, arrived, book, None, None)  # type: ignore[arg-type]


def leaks_of(letters: list[Letter], log_lines: list[str]) -> set[tuple[str, str]]:
    """Where a trace of a canary comes out; a single word in a field of words is shown by `hub letters show`."""
    shown = {
        "reasons": "\n".join(letter.reason for letter in letters),
        "facts": "\n".join(str(letter.book.error) for letter in letters),
        "rows": "\n".join(str(row(letter, NOW)) for letter in letters),
        "groups": "\n".join(f"{group.text} {group.example}" for group in grouped(letters)),
        "log": "\n".join(log_lines),
    }
    assert all(shown.values())
    pages = "\n".join(str(in_full(letter, unmask=False)) for letter in letters)
    return {(name, trace) for name, text in shown.items() for trace in TRACES if trace in text} | {
        ("show", trace) for trace in TRACES if trace in pages and trace != WORD
    }


def poisoned_entries() -> Iterator[str]:
    """A feed entry with each text and attribute replaced in turn by what XML can hold of a canary."""
    places = [
        (number, name)
        for number, element in enumerate(etree.fromstring(an_entry("e1")).iter())
        for name in (None, *element.attrib)
    ]
    for position, (number, name) in enumerate(places):
        entry = etree.fromstring(an_entry("e1"))
        element = list(entry.iter())[number]
        canary = CANARIES[position % len(CANARIES)].replace("\x1b", "")
        if name is None:
            element.text = canary
        else:
            element.set(name, canary)
        yield etree.tostring(entry, encoding="unicode")


def test_no_canary_of_a_feed_entry_comes_out(log_lines: list[str]) -> None:
    letters: list[Letter] = []
    for entry in poisoned_entries():
        page = parse_page(a_page([entry]), FeedLimits())
        read: list[Entry | Malformed] = [*page.entries, *page.malformed]
        items = [to_item(each, iqmetrix_settings()) for each in read]
        letters += [died(item.letter, item, FEED) for item in items if item.letter is not None]

    assert len(letters) >= 5
    assert leaks_of(letters, log_lines) == set()


def test_no_canary_of_a_purchase_order_comes_out(log_lines: list[str]) -> None:
    letters = []
    for record in poisoned(a_po()):
        try:
            read_purchase_order(record)
        except InvalidMessage as error:
            item = to_letter(record, VENDOR, str(error), error.facts)
            assert item.letter is not None
            letters.append(died(item.letter, item, POS))

    assert len(letters) > 3
    assert leaks_of(letters, log_lines) == set()


def test_no_canary_of_an_answer_of_retailops_comes_out(log_lines: list[str]) -> None:
    letters = []
    for status in (200, 400, 422, 500):
        for document in poisoned(ANSWERS[0]):
            try:
                answers.judge(
                    Response(status, {}, orjson.dumps(document)),
                    "Vendor/PO/MarkSubmitted",
                    already_done=retailops_settings().already_done,
                    once=True,
                    now=NOW,
                )
            except HubError as error:
                letters.append(died(Message(b"{}", type="order.created"), error, SUBMIT))

    assert len(letters) > 10
    assert leaks_of(letters, log_lines) == set()


def test_no_canary_of_an_answer_of_a_client_comes_out(log_lines: list[str]) -> None:
    letters = []
    for status in (302, 400, 422, 429, 503):
        for document in poisoned(ANSWERS[1]):
            answer = Response(status, {"Retry-After": CANARIES[0]}, orjson.dumps(document))
            with pytest.raises(HubError) as raised:
                raise_for_status(
                    answer, partner="acme", operation="the webhook", read=validation_said(FIELD_NAMES)
                )
            letters.append(died(Message(b"{}", type="webhook.confirmation"), raised.value, ACME))

    assert leaks_of(letters, log_lines) == set()


async def test_no_canary_of_an_answer_of_iqmetrix_comes_out(log_lines: list[str]) -> None:
    letters = []
    url = f"{BASE}/Suppliers({SUPPLIER})/Orders({SOURCE_ORDER_ID})/OrderStatusUpdate"
    update = OrderStatusUpdate(Id=SOURCE_ORDER_ID, Status=Status.SHIPPED, TrackingInfo="1Z")
    client = IqmetrixClient(iqmetrix_settings(), now=lambda: NOW)
    with Responses() as iqmetrix:
        iqmetrix.post(TOKEN_URL, payload={"access_token": "t", "expires_in": 43199})
        for document in poisoned(ANSWERS[2]):
            iqmetrix.put(url, status=400, body=orjson.dumps(document))
            with pytest.raises(HubError) as raised:
                await client.update_order(SOURCE_ORDER_ID, update)
            letters.append(died(Message(b"{}", type="order.shipped"), raised.value, STATUS))
    await client.close()

    assert leaks_of(letters, log_lines) == set()
