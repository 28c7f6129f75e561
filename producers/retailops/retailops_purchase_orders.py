"""The poller of RetailOps purchase orders (EIP Polling Consumer), by offset over a filter that marking shrinks.

    pass     every page until one brings nothing new, whatever its length; all before anything of it is given: a mark
             moves the rows behind it, so that a page is missed
    due      only POs whose ``date_submit`` has come; the others are left alone and looked at again in the next pass
    news     a PO not seen before is ``order.created``; one whose lines differ from those of before ``order.changed``
    batches  what is new, oldest first, in parts that a publish deadline allows; the pass is kept until all are given

The RetailOps Interaction Guide for Dropship Integrations says which POs may be acted on. A PO that a shifting offset
hides from a pass is found by the next one. How news is told from what was seen is in ``purchase_order_news``, what people
are told of POs that stand still in ``purchase_order_watch``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from hub.config.settings import Retailops, Settings
from hub.errors import ErrorFacts, InvalidMessage
from hub.messaging.message import Message
from hub.messaging.polling.poller import Batch, Item
from hub.models.types import utc_text
from hub.partners.retailops.client import Fetched, client_of
from hub.partners.retailops.page import Unreadable, is_large
from hub.partners.retailops.translate import (
    ACCOUNT_HEADER,
    parse_date_submit,
    po_of,
    read_purchase_order,
    record_from_letter,
    to_letter,
    to_order_changed,
    to_order_created,
)
from hub.process.lifecycle import Resources
from hub.state.protocols import Cursor
from hub.topology import WorkQueue
from producers.registration import Polling, ProducerFlow
from producers.retailops.change_detection import Due, Memory, News, PurchaseOrderNews, changes_in
from producers.retailops.overdue_watch import Pass, PurchaseOrderWatch
from producers.retailops.purchase_order_pages import later_of, records_by_identity

RETAILOPS_PURCHASE_ORDERS = WorkQueue("retailops", "purchase_orders")

# POs of one batch: all its publishes share one deadline for their confirms.
_PER_BATCH = 1000
# Records that are looked at before others in this process have their turn.
_PER_BREATH = 100
# POs of one pass, against a partner whose pages have no end; the rest is found once these are marked.
_PER_PASS = 50_000
# Changed POs whose last lines the cursor knows, the newest; about 100 bytes each.
_CHANGES_KEPT = 1000


class PurchaseOrders(Protocol):
    """The POs of one vendor, by row."""

    async def fetch(self, start: int, limit: int) -> Fetched:
        """Read ``limit`` POs from row ``start`` on."""


class RetailopsPurchaseOrders:
    """Yields the POs of one vendor that are due, each once, and again when its lines have changed.

    Args:
        settings: of the account.
        client: reads its POs.
        memory: tells what was taken in and recorded before.
        now: the time that POs are due by.
    """

    def __init__(
        self,
        settings: Retailops,
        client: PurchaseOrders,
        memory: Memory,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = f"retailops.purchase_orders:{settings.account}"
        self._settings = settings
        self._vendor = settings.account
        self._client = client
        self._news = PurchaseOrderNews(self.name, settings.account, memory)
        self._now = now
        # Of the pass at hand: what is still to give, and the cursor of the batch before.
        self._left: list[News] = []
        self._given: Cursor | None = None
        self._watch = PurchaseOrderWatch(self.name)

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        """Read a whole pass and give what is new, or give the next part of it: ``more`` until all is given.

        Raises:
            TransientError: a page could not be read; the next poll begins a new pass.
            PermanentError: a page is not what can be read.
        """
        if self._left and cursor is not None and cursor == self._given:
            return self._next_batch(cursor)
        # Not committed, or moved by somebody else: what is left may be told by now.
        self._left = []
        self._left = await self._read_news(cursor)
        return self._next_batch(cursor)

    def _next_batch(self, cursor: Cursor | None) -> Batch:
        part, self._left = self._left[:_PER_BATCH], self._left[_PER_BATCH:]
        changed = changes_in(cursor)
        for news in part:
            if news.changed_to is not None:
                changed.pop(news.po, None)
                changed[news.po] = news.changed_to
        # Pairs, not an object: not every store keeps the order of an object's members.
        kept = [[po, lines] for po, lines in changed.items()][-_CHANGES_KEPT:]
        self._given = {
            "polled_at": utc_text(self._now()),
            "left": len(self._left),
            "changed": kept,
            "ready": self._watch.to_keep(),
        }
        return Batch(tuple(item for news in part for item in news.items), self._given, more=bool(self._left))

    # --- one pass

    async def _read_news(self, cursor: Cursor | None) -> list[News]:
        """Read all pages, sort the POs by what may be done with them, and give what is new."""
        records = await self._read_pass()
        now = self._now()
        due, undated, not_due = [], [], 0
        letters: list[Item] = []
        for position, record in enumerate(records):
            if not position % _PER_BREATH:
                await asyncio.sleep(0)
            po = po_of(record)
            if po is None:
                letters.append(_unnamed(record, self._vendor))
                continue
            date_submit = parse_date_submit(record.get("date_submit") if isinstance(record, dict) else None)
            if date_submit is None:
                undated.append(po)
            elif date_submit > now:
                not_due += 1
            else:
                due.append(Due(po, date_submit, record))
        due.sort(key=lambda known: (known.date_submit, known.po))
        news, waiting = await self._news.of(due, letters, cursor, now)
        self._watch.note(Pass(now, len(due), not_due, undated, waiting), cursor)
        return news

    async def _read_pass(self) -> Iterable[object]:
        """Read until a page brings no PO that was not seen in this pass, whatever its length."""
        found: dict[str, object] = {}
        limit, start, short = self._settings.page_size, 0, 0
        while len(found) < _PER_PASS:
            page = await self._client.fetch(start, limit)
            read = records_by_identity(page.records)
            brings_news = not read.keys() <= found.keys()
            for identity, record in read.items():
                found[identity] = later_of(found.get(identity), record)
            if not brings_news:
                return found.values()
            if short:
                self._watch.note_short_pages(asked=limit, given=short)
            short = page.count if page.count < limit else 0
            start += page.count
        self._watch.warn(
            "more", list(found), f"more than {_PER_PASS} in one pass: the rest comes once these are marked"
        )
        return found.values()


def _unnamed(record: object, vendor: str) -> Item:
    """Make the letter of a record without a PO number, or of one that cannot be read at all."""
    if isinstance(record, Unreadable):
        return to_letter(record, vendor, record.reason, ErrorFacts(code="unreadable"))
    return to_letter(
        record,
        vendor,
        "po: expected a PO number, got none that can be read",
        ErrorFacts(code="missing", field="po"),
    )


async def parse_letter(message: Message, settings: Settings) -> Item:
    """Take a raw PO in again that was set aside and is replayed (EIP Message Translator, second try).

    Raises:
        InvalidMessage: no such account is configured, or the PO still cannot be translated or is not due; says why.
    """
    account = message.headers.get(ACCOUNT_HEADER)
    known = {section.account for section in settings.retailops}
    if not isinstance(account, str) or account not in known:
        raise InvalidMessage(
            f"expected one of {', '.join(sorted(known)) or 'none'}, got another account", field=ACCOUNT_HEADER
        )
    read = partial(_item_of, message.body, account)
    return await asyncio.to_thread(read) if is_large(message.body) else read()


def _item_of(raw: bytes, account: str) -> Item:
    record = record_from_letter(raw)
    purchase_order = read_purchase_order(record)
    date_submit = parse_date_submit(record.get("date_submit") if isinstance(record, dict) else None)
    if date_submit is None or date_submit > datetime.now(UTC):
        raise InvalidMessage("expected a date that can be read and has come", field="date_submit")
    return Item(
        f"{account}:{purchase_order.po}",
        event=to_order_created(purchase_order, account, date_submit),
        if_known=to_order_changed(purchase_order, account, date_submit, seen_at=datetime.now(UTC)),
    )


def _pollers(resources: Resources) -> tuple[Polling, ...]:
    return tuple(
        Polling(
            RetailopsPurchaseOrders(account, client_of(resources, account), resources.store),
            account.poll_every,
        )
        for account in resources.settings.retailops
    )


FLOW = ProducerFlow(
    "retailops_purchase_orders",
    RETAILOPS_PURCHASE_ORDERS,
    "retailops.",
    lambda settings: bool(settings.retailops),
    _pollers,
    parse_letter,
)
