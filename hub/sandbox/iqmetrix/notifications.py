"""The order notification feed as a server keeps it: entries come in, pages go out, and tests spoil it on purpose.

iQmetrix Supplier Orders reference, 25-01-2016, and iQmetrix Dropship Order Management Guide, 18-04-2016. The feed is a complete
archive of all orders of one supplier and of the supplier's own updates. It delivers at least once.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from hub.sandbox.iqmetrix.audit import LineState
from hub.sandbox.iqmetrix.feed import FeedLinks, created_entry, page_document, status_entry
from hub.sandbox.iqmetrix.orders import SandboxLine, SandboxOrder, damaged, uuid_text
from hub.sandbox.iqmetrix.pages import Entry, PageChain
from hub.sandbox.request_log import Refused

__all__ = ["NotificationFeed"]

# The share of entries whose id is no valid UUID, as in the guide's sample.
_DAMAGED_IDS = 0.1


@dataclass(slots=True)
class _Failure:
    status: int
    text: str
    times: int | None


@dataclass(eq=False)
class NotificationFeed:
    """One supplier's feed; `rng` gives the ids of pages and entries."""

    pages: PageChain
    links: FeedLinks
    rng: random.Random
    add_any: Callable[[], object]
    roll_over_next: bool = False
    _failures: dict[str, _Failure] = field(default_factory=dict, repr=False)

    def add_created(self, order: SandboxOrder, at: datetime) -> str:
        """Add an `order-created` entry and return its id."""
        return self._add(at, lambda entry: created_entry(order, entry))

    def add_status(
        self, order: SandboxOrder, states: tuple[tuple[SandboxLine, LineState], ...], at: datetime
    ) -> str:
        """Add an `order-status-updated` entry and return its id."""
        return self._add(at, lambda entry: status_entry(order, states, entry))

    def add_xml(self, xml: str, at: datetime) -> None:
        """Add an entry as it is written, well-formed or not; it must bring its own `entry` element."""
        raw = xml.encode()
        self.pages.append(Entry("", at, lambda _: raw))

    def repeat(self, entry_id: str) -> None:
        """Put an entry on the current page once more, under the same id.

        Raises:
            KeyError: no page has such an entry.
        """
        for page_id in self.pages.page_ids:
            page = self.pages.page(page_id)
            for entry in page.entries if page else ():
                if entry.entry_id == entry_id:
                    self.pages.append(entry)
                    return
        raise KeyError(entry_id)

    def roll_over(self) -> None:
        """Add as many entries as it takes to archive the current page."""
        before = self.pages.current.page_id
        while self.pages.current.page_id == before:
            self.add_any()

    def fail_page(self, page_id: str, status: int, text: str, times: int | None) -> None:
        """Answer the next requests of a page with this status; `times` None is for ever."""
        self._failures[page_id] = _Failure(status, text, times)

    def point_back(self, page_id: str, to_page_id: str) -> None:
        """Make a page's `prev-archive` name any other page.

        Raises:
            KeyError: there is no such page.
        """
        page = self.pages.page(page_id)
        if page is None:
            raise KeyError(page_id)
        page.prev_id, page.cached = to_page_id, None

    def read_current(self, rolled_over: bool) -> bytes:
        """Return the current page's document; the page rolls over afterward if that is due."""
        document = self.read_page(self.pages.current.page_id)
        if rolled_over or self.roll_over_next:
            self.roll_over_next = False
            self.roll_over()
        return document

    def read_page(self, page_id: str) -> bytes:
        """Return a page's document.

        Raises:
            Refused: 400 for an unknown page, or what the page was made to answer.
        """
        page = self.pages.page(page_id)
        if page is None:
            raise Refused(400, "The request is invalid")
        self._fail_if_told(page_id)
        return page_document(page, self.links)

    def _fail_if_told(self, page_id: str) -> None:
        failure = self._failures.get(page_id)
        if failure is None:
            return
        if failure.times is not None:
            failure.times -= 1
            if failure.times == 0:
                del self._failures[page_id]
        raise Refused(failure.status, failure.text)

    def _add(self, at: datetime, render: Callable[[Entry], bytes]) -> str:
        identifier = uuid_text(self.rng)
        if self.rng.random() < _DAMAGED_IDS:
            identifier = damaged(identifier, self.rng)
        entry = Entry(f"urn:uuid:{identifier}", at, render)
        self.pages.append(entry)
        return entry.entry_id
