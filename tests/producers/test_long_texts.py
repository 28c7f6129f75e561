"""One entry or PO whose texts are endless is set aside; the rest of its page goes on, on every store.

PostgreSQL refuses index entries above 2704 bytes: such a text was asked for again and again, and nothing behind it came.
"""

import random
import string
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.config.settings import FeedLimits
from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import Message
from hub.messaging.polling.poller import Poller, Taken
from hub.models.events import AnyEvent
from hub.partners.iqmetrix.client import PageResponse
from hub.partners.iqmetrix.feed import Page, parse_page
from hub.partners.retailops.client import Fetched
from hub.state.protocols import Store
from producers.iqmetrix.iqmetrix_orders import IqmetrixOrders
from producers.retailops.retailops_purchase_orders import RetailopsPurchaseOrders
from tests.partners.iqmetrix import samples as iqmetrix
from tests.partners.retailops import samples as retailops
from tests.state.opening import KINDS, opened
from tests.taking import take_in

# The same in each run, and nothing that a database could compress.
LONG = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=5000))
# Fits the limit of characters, and takes 4000 bytes.
WIDE = "".join(chr(random.Random(place).randrange(0x20000, 0x2A000)) for place in range(1000))


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request, tmp_path) as store:
        yield store


class Feed:
    """A feed of one page."""

    def __init__(self, *entries: str) -> None:
        self._page = parse_page(iqmetrix.a_page(entries), FeedLimits())

    async def current_page(self, validators: Any = None) -> PageResponse:
        return PageResponse(self._page, {})

    async def page(self, href: str) -> Page:
        raise AssertionError(f"there is no other page: {href}")


class Rows:
    """POs that fit on one page."""

    def __init__(self, *records: object) -> None:
        self._records = records

    async def fetch(self, start: int, limit: int) -> Fetched:
        return Fetched(self._records[start : start + limit])


class Broker:
    def __init__(self) -> None:
        self.published: list[str] = []
        self.reasons: list[str] = []

    async def publish(self, event: AnyEvent) -> None:
        self.published.append(event.id)

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        self.reasons.append(reason)


async def _poll(poller: Poller, store: Store, broker: Broker) -> Taken:
    await store.acquire_lease(poller.name, holder="me", lease=timedelta(minutes=1))
    batch = await poller.poll(await store.cursor(poller.name))
    return await take_in(batch, poller=poller.name, queue="q", holder="me", store=store, publisher=broker)


async def test_an_entry_with_an_endless_id_is_one_letter_and_the_others_flow(store: Store) -> None:
    unreadable = iqmetrix.an_entry(f"{LONG}b").replace("<updated>", "<updated>not ")
    feed = Feed(iqmetrix.an_entry("one"), iqmetrix.an_entry(LONG, iqmetrix.created()), unreadable)
    broker = Broker()

    first = await _poll(IqmetrixOrders(iqmetrix.settings(), feed), store, broker)
    again = await _poll(IqmetrixOrders(iqmetrix.settings(), feed), store, broker)

    assert (first, again) == (Taken(published=1, set_aside=2), Taken())
    assert broker.published == ["iqmetrix:71204:one"]
    assert sorted(reason.partition(":")[0] for reason in broker.reasons) == ["source_event_id", "updated"]


async def test_an_entry_with_an_endless_id_from_before_the_start_is_remembered(store: Store) -> None:
    start = datetime(2024, 6, 1, tzinfo=UTC)
    poller = IqmetrixOrders(iqmetrix.settings(start_from=start), Feed(iqmetrix.an_entry(LONG, "<a/>")))

    assert await _poll(poller, store, Broker()) == Taken(skipped=1)
    assert await _poll(poller, store, Broker()) == Taken()


@pytest.mark.parametrize(
    "content",
    [
        iqmetrix.created().replace("<printable-id>", f"<printable-id>{LONG}"),
        iqmetrix.created().replace("<po-reference>", f"<po-reference>{LONG}"),
        iqmetrix.created(items=iqmetrix.an_item(sku=WIDE)),
    ],
    ids=["printable-id", "po-reference", "sku"],
)
async def test_an_entry_with_a_text_that_no_index_takes_is_one_letter(store: Store, content: str) -> None:
    feed = Feed(iqmetrix.an_entry("one"), iqmetrix.an_entry("two", content))
    broker = Broker()

    first = await _poll(IqmetrixOrders(iqmetrix.settings(), feed), store, broker)
    again = await _poll(IqmetrixOrders(iqmetrix.settings(), feed), store, broker)

    assert (first, again) == (Taken(published=1, set_aside=1), Taken())
    assert "expected at most" in broker.reasons[0]
    assert LONG[:20] not in broker.reasons[0]


@pytest.mark.parametrize(
    "record",
    [
        retailops.a_po(LONG),
        retailops.a_po("D2\0"),
        retailops.a_po("D2", items=[{"po_item_id": 1, "vpc": WIDE, "quantity": 1}]),
        retailops.a_po("D2", items=[{"po_item_id": 1, "vpc": "A\0", "quantity": 1}]),
        retailops.a_po("D2", addressee="Dana\0Whitfield"),
    ],
    ids=["long po", "po with a NUL", "wide vpc", "vpc with a NUL", "address with a NUL"],
)
async def test_a_po_with_a_text_that_no_store_takes_is_one_letter(store: Store, record: object) -> None:
    rows = Rows(retailops.a_po("D1"), record)
    broker = Broker()

    first = await _poll(RetailopsPurchaseOrders(retailops.settings(), rows, store), store, broker)
    again = await _poll(RetailopsPurchaseOrders(retailops.settings(), rows, store), store, broker)

    assert (first, again) == (Taken(published=1, set_aside=1), Taken())
    assert broker.published == ["retailops:27:D1"]
