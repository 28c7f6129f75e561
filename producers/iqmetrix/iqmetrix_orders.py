"""The poller of the iQmetrix order feed (EIP Polling Consumer) over archived feeds (RFC 5005, section 4).

    descend   current page -> prev-archive -> … -> the archive page that was completely processed last
    climb     oldest page first, one page a poll; the cursor names the archive page behind it
    current   read afresh when nothing is left to climb; if it was archived meanwhile, descend again for what is missing

The descent stops only at the known archive page, at the end of the chain, or (first run) at a page that is older than
the start the operator chose: never at a known entry, since an old entry may come again on a new page. It keeps the
paths of the way and the few oldest pages, so that 400 archive pages cost no memory; they are read again on the way up.
What was read in a walk is only a short cut: the cursor alone decides what comes next, so that a poll can be repeated from
any page of the way. Validators (``etag``, ``last_modified``) are in the cursor, so that "not modified" is
only possible for a page that was committed.

A chain that breaks holds the cursor (``ArchiveChainBroken``) until a person has looked; nothing is skipped silently.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from hub.config.settings import Iqmetrix, Settings
from hub.errors import ArchiveChainBroken, HubError, InvalidMessage, TransientError
from hub.messaging.message import Message
from hub.messaging.polling.poller import Batch, Item
from hub.models.types import utc_text
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import VALIDATOR_MISMATCH
from hub.partners.iqmetrix.client import NotModified, PageMissing, PageRefused, PageResponse, client_of
from hub.partners.iqmetrix.feed import Entry, Malformed, Page, PageUnreadable
from hub.partners.iqmetrix.page_text import is_large
from hub.partners.iqmetrix.translate import ACCOUNT_HEADER, entry_from_letter, to_event, to_item
from hub.process.lifecycle import Resources
from hub.state.poller_notes import PollerNotes
from hub.state.protocols import Cursor
from hub.topology import WorkQueue
from producers.iqmetrix.archive_walk import KEPT_PAGES, Walk
from producers.iqmetrix.echoes import EchoWatch
from producers.registration import Polling, ProducerFlow

IQMETRIX_ORDERS = WorkQueue("iqmetrix", "orders")

_VALIDATORS = ("etag", "last_modified")
# Seconds at most between two polls without validators, less up to two fifths.
_PLAIN_EVERY_SECONDS = 15 * 60.0
CURRENT = "current"
"""The name of the current page where others have a path."""
# Bytes of a page that is translated at once: 50 orders are some 90 kB, and take 10 ms.
_SMALL_BYTES = 192 * 1024


class Notifications(Protocol):
    """The feed of one supplier; links in its pages are paths that ``page`` takes."""

    async def current_page(self, validators: Mapping[str, str] | None = None) -> PageResponse | NotModified:
        """Read the current page, unless it is as it was when ``validators`` were given."""

    async def page(self, href: str) -> Page:
        """Read an archive page; raises ``PageRefused`` or ``PageMissing``."""


class Skips(Protocol):
    """What a person has stepped over."""

    async def is_skipped(self, page: str, digest: str = "") -> bool:
        """Return whether this page is stepped over as long as it has these bytes."""


class _NoSkips:
    async def is_skipped(self, page: str, digest: str = "") -> bool:
        return False


class _ChainChanged(HubError):
    """An archive page does not link to the same older page as before."""


class IqmetrixOrders:
    """Yields the entries of one supplier's feed, each page once and oldest first.

    Args:
        settings: of the account.
        feed: reads its pages.
        skips: which unreadable pages are stepped over; absent: none.
        now: a clock in seconds, for the plain questions between those with validators.
    """

    def __init__(
        self,
        settings: Iqmetrix,
        feed: Notifications,
        skips: Skips | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name_of(settings)
        self._skips = skips or _NoSkips()
        self._settings = settings
        self._feed = feed
        self._walk: Walk | None = None
        # Pages that could not be read at the last try: one bad answer may pass, two hold the feed.
        self._unreadable: set[str] = set()
        self._now = now
        self._trusts_validators = True
        self._not_modified = False
        self._ask_plainly_at = now() + _PLAIN_EVERY_SECONDS * random.uniform(0.6, 1.0)

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        """Return the next page after ``cursor``: ``more`` until the current page is done.

        Raises:
            TransientError: the walk goes on from where it was at the next poll.
            ArchiveChainBroken: the archive chain is broken; says how, and what can be done.
            PermanentError: a page is not what the references promise.
        """
        refusal: HubError | None = None
        # The reference answers 400 to an unknown page id: the way is looked for once more, from the current page.
        for _ in range(2):
            try:
                return await self._step(cursor)
            except TransientError:
                raise
            except (PageRefused, _ChainChanged) as error:
                self._walk, refusal = None, error
            except HubError:
                self._walk = None
                raise
        raise self._held("an unbroken archive chain", f"{refusal}, and the same after a restart from current")

    async def _step(self, cursor: Cursor | None) -> Batch:
        archive, walk = _text(cursor, "archive"), self._walk
        if walk is None or not walk.leads_on_from(archive):
            # Done with the archive, or the cursor was moved by somebody else: the current page is read afresh.
            self._walk = None
            asked = self._validators(cursor)
            answer = await self._read_current(asked)
            if isinstance(answer, NotModified):
                assert cursor is not None
                self._not_modified = True
                return Batch((), cursor)
            if not asked:
                await self._compare(answer.page, cursor)
            walk = self._walk = self._begin(answer, cursor)
        await self._descend(walk, cursor)
        if left := walk.left_after(archive):
            return await self._climb(walk, cursor, left)
        self._walk = None
        return await self._take_current(walk.current, cursor)

    def _begin(self, answer: PageResponse, cursor: Cursor | None) -> Walk:
        page, archive = answer.page, _text(cursor, "archive")
        walk = Walk(answer, after=archive, below=page.prev_href)
        if page.self_href is not None:
            walk.seen.add(page.self_href)
        self._look_for_mark(walk, CURRENT, page, cursor)
        if page.prev_href is None:
            self._end_of_chain(walk, cursor)
        elif page.prev_href == archive or (cursor is None and self._is_before_start(page)):
            walk.below = None
        return walk

    def _validators(self, cursor: Cursor | None) -> dict[str, str]:
        """Return what to ask with: now and then nothing, since a server may call unchanged what has changed."""
        if self._trusts_validators and self._now() < self._ask_plainly_at:
            return {name: cursor[name] for name in _VALIDATORS if cursor and cursor.get(name)}
        return {}

    async def _compare(self, page: Page, cursor: Cursor | None) -> None:
        """After a plain answer: find out whether "not modified" had hidden what is new in it.

        The page may as well have changed just now, so the same question is asked as before: if the answer is still "not
        modified", validators of this account are worth nothing.
        """
        self._ask_plainly_at = self._now() + _PLAIN_EVERY_SECONDS * random.uniform(0.6, 1.0)
        hidden, self._not_modified = self._not_modified, False
        if cursor is None or not hidden or not _is_news(page, cursor):
            return
        with suppress(HubError):
            validators = {name: cursor[name] for name in _VALIDATORS if cursor.get(name)}
            if validators and isinstance(await self._feed.current_page(validators), NotModified):
                self._trusts_validators = False
                VALIDATOR_MISMATCH.labels(self.name).inc()
                log.error(
                    LogEvent.VALIDATORS_WRONG,
                    poller=self.name,
                    reason="the feed was called unchanged and has new entries; it is asked without validators from now on",
                )

    async def _descend(self, walk: Walk, cursor: Cursor | None) -> None:
        """Follow ``prev-archive`` down to what is known; after an error it goes on where it was."""
        archive = _text(cursor, "archive")
        while walk.below is not None:
            path = walk.below
            if path in walk.seen:
                raise self._held("an archive chain with an end", f"a loop: {path} is linked to twice")
            if len(walk.stack) >= self._settings.limits.pages_per_walk:
                raise self._held(
                    f"at most {self._settings.limits.pages_per_walk} pages down to {archive or 'the end of the chain'}",
                    f"more, the last one {walk.stack[-1][0]}",
                    "raise limits.pages_per_walk, or ",
                )
            page = await self._read(path, archive)
            walk.seen.add(path)
            self._look_for_mark(walk, path, page, cursor)
            walk.stack.append((path, page.prev_href))
            walk.pages.append((path, page))
            walk.below = page.prev_href
            if page.prev_href is None:
                self._end_of_chain(walk, cursor)
            elif page.prev_href == archive or (cursor is None and self._is_before_start(page)):
                walk.below = None

    async def _read_current(self, validators: Mapping[str, str]) -> PageResponse | NotModified:
        try:
            answer = await self._feed.current_page(validators)
        except PageUnreadable as broken:
            return PageResponse(await self._stepped_over(CURRENT, broken, None), {})
        self._unreadable.discard(CURRENT)
        return answer

    async def _read(self, path: str, below: str | None) -> Page:
        try:
            page = await self._feed.page(path)
        except PageMissing as missing:
            raise self._held(f"the archive page {path} that a newer page links to", str(missing)) from None
        except PageUnreadable as broken:
            # Without a link of its own it leads to what was processed last.
            return await self._stepped_over(path, broken, below)
        if page.self_href is not None and page.self_href.casefold() != path.casefold():
            raise self._held_at(path, PageUnreadable(f"expected the feed page {path}, got {page.self_href}"))
        self._unreadable.discard(path)
        return page

    @staticmethod
    def _look_for_mark(walk: Walk, path: str, page: Page, cursor: Cursor | None) -> None:
        mark = _text(cursor, "mark")
        if mark is not None and mark in _keys(page):
            walk.marked = path

    async def _stepped_over(self, path: str, broken: PageUnreadable, below: str | None) -> Page:
        """Return an empty page for one that a person has stepped over; raises what holds the feed for any other."""
        if not await self._skips.is_skipped(path, broken.digest):
            raise self._held_at(path, broken) from None
        log.warning(LogEvent.PAGE_SKIPPED, poller=self.name, page=path, digest=broken.digest)
        return Page(None, broken.links.get("prev-archive", below), None, ())

    def _held_at(self, path: str, broken: PageUnreadable) -> HubError:
        """Return what to raise for a page that cannot be read: what was raised, and from the second time on a hold."""
        if path not in self._unreadable:
            self._unreadable.add(path)
            return broken
        return ArchiveChainBroken(
            f"{self.name}: the feed page {path} cannot be read: {broken}. The cursor stays. Look at it with `hub cursor"
            f" show {self.name} --page FILE`, ask iQmetrix about it, or step over it with `hub cursor skip {self.name}`",
            page=path,
            digest=broken.digest,
        )

    def _end_of_chain(self, walk: Walk, cursor: Cursor | None) -> None:
        """There is no older page. Fine on a first run; else a page must be there that was read before.

        That is the page that was current at the last poll, and all that is older was processed before. It is known by its
        path, which it keeps when it is archived, or by the mark, an entry of it: a feed may name every current page alike.
        """
        archive, current, mark = _text(cursor, "archive"), _text(cursor, "current"), _text(cursor, "mark")
        if cursor is None or (archive is None and current is None and mark is None):
            return
        paths = [path for path, _ in walk.stack]
        if walk.marked == CURRENT:
            walk.stack.clear()
        elif current in paths:
            del walk.stack[paths.index(current) + 1 :]
        elif walk.marked is not None:
            del walk.stack[paths.index(walk.marked) + 1 :]
        elif mark is None and current in (None, walk.current.page.self_href):
            # Its entries are not known: all there is is read again, and told apart by the keys.
            return
        else:
            raise self._held(
                f"the archive page {archive or current or 'with the entries'} that was processed last",
                "the end of the chain without it: entries may be missing between",
            )
        kept = {path for path, _ in walk.stack}
        walk.pages = deque((pair for pair in walk.pages if pair[0] in kept), maxlen=KEPT_PAGES)

    async def _climb(self, walk: Walk, cursor: Cursor | None, left: int) -> Batch:
        """Return the oldest of the pages that are left."""
        path, older = walk.stack[left - 1]
        page = await walk.page(path, lambda path: self._read(path, older))
        if page.prev_href != older:
            raise _ChainChanged(f"{path} linked to {older} before, and to {page.prev_href} now")
        moved = {
            "archive": path,
            "current": _text(cursor, "current"),
            "mark": _text(cursor, "mark"),
            "newest": _newest(page, cursor),
        }
        return Batch(await self._items(page), moved, more=True)

    async def _take_current(self, answer: PageResponse, cursor: Cursor | None) -> Batch:
        page = answer.page
        moved = {
            # On a first run that stops at the start, what is before the current page counts as processed.
            "archive": _text(cursor, "archive") if cursor is not None else page.prev_href,
            "current": page.self_href,
            "mark": _mark(page, cursor),
            "newest": _newest(page, cursor),
            **answer.validators,
        }
        return Batch(await self._items(page), moved)

    async def _items(self, page: Page) -> tuple[Item, ...]:
        if translates_at_once(page):
            return self._translated(page)
        # Beside the event loop, which must not stand still for it.
        return await asyncio.to_thread(self._translated, page)

    def _translated(self, page: Page) -> tuple[Item, ...]:
        entries: tuple[Entry | Malformed, ...] = (*page.malformed, *page.entries)
        return tuple(to_item(entry, self._settings) for entry in entries)

    def _is_before_start(self, page: Page) -> bool:
        start = self._settings.start_from
        return (
            start is not None and bool(page.entries) and all(entry.updated < start for entry in page.entries)
        )

    def _held(self, expected: str, got: str, remedy: str = "") -> ArchiveChainBroken:
        return ArchiveChainBroken(
            f"{self.name}: expected {expected}, got {got}. The cursor stays. Ask iQmetrix about the feed, {remedy}"
            f"start again from the oldest page with `hub cursor reset {self.name}`: orders that were announced are not"
            " announced twice"
        )


def translates_at_once(page: Page) -> bool:
    """Return whether a page is so small that its entries are translated on the event loop."""
    return page.size_bytes <= _SMALL_BYTES


def name_of(settings: Iqmetrix) -> str:
    """Return the name of an account's poller."""
    return f"iqmetrix.orders:{settings.account}"


async def parse_letter(message: Message, settings: Settings) -> Item:
    """Take a raw entry in again that was set aside and is replayed (EIP Message Translator, second try).

    Raises:
        InvalidMessage: no such account is configured, or the entry still cannot be translated; says why.
    """
    account = message.headers.get(ACCOUNT_HEADER)
    known = {section.account: section for section in settings.iqmetrix}
    if account not in known:
        raise InvalidMessage(
            f"expected one of {', '.join(known) or 'none'}, got another account", field=ACCOUNT_HEADER
        )
    read = partial(_item_of, message.body, known[account])
    return await asyncio.to_thread(read) if is_large(message.body) else read()


def _item_of(raw: bytes, settings: Iqmetrix) -> Item:
    entry = entry_from_letter(raw, settings.limits)
    return Item(entry.key, event=to_event(entry, settings))


def _text(cursor: Cursor | None, name: str) -> str | None:
    value: Any = cursor.get(name) if cursor is not None else None
    return value if isinstance(value, str) else None


def _is_news(page: Page, cursor: Cursor) -> bool:
    """Return whether the page differs from that of the last poll."""
    newest, current = _newest(page, None), _text(cursor, "current")
    return newest != _text(cursor, "newest") or (current is not None and page.self_href != current)


def _keys(page: Page) -> list[str]:
    return [entry.key for entry in page.entries] + [entry.key for entry in page.malformed]


def _mark(page: Page, cursor: Cursor | None) -> str | None:
    """Return the key of an entry of the page, the same as before where it is still there."""
    keys = _keys(page)
    before = _text(cursor, "mark")
    return before if before in keys else next(iter(keys), None)


def _newest(page: Page, cursor: Cursor | None) -> str | None:
    """The time of the newest entry so far, for people; nothing decides by it, since entries share seconds."""
    times = [text for text in (_text(cursor, "newest"),) if text]
    times += [utc_text(page.entries[-1].updated)] if page.entries else []
    return max(times, default=None)


def _pollers(resources: Resources) -> tuple[Polling, ...]:
    return tuple(
        Polling(
            IqmetrixOrders(
                account, client_of(resources, account), PollerNotes(resources.store, name_of(account))
            ),
            account.poll_every,
            EchoWatch(account, resources.store).run,
        )
        for account in resources.settings.iqmetrix
    )


FLOW = ProducerFlow(
    "iqmetrix_orders",
    IQMETRIX_ORDERS,
    "iqmetrix.",
    lambda settings: bool(settings.iqmetrix),
    _pollers,
    parse_letter,
)
