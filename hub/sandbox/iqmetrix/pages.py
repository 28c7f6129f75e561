"""An archived feed's chain of pages (RFC 5005, section 4), by the rules of the order notification feed.

iQmetrix Dropship Order Management Guide, 18-04-2016: a page holds at most 50 entries, the newest on top; when a full page
receives one more event, the 50 become an archive, which keeps its page id, and the current page then holds only the new event.
This module knows neither XML nor HTTP.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Entry", "Page", "PageChain"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the feed; `render` gives the XML of its `entry` element."""

    entry_id: str
    at: datetime
    render: Callable[["Entry"], bytes]


@dataclass(slots=True, eq=False)
class Page:
    """One page; entries oldest first, as they came."""

    page_id: str
    opened_at: datetime
    prev_id: str | None = None
    next_id: str | None = None
    entries: list[Entry] = field(default_factory=list)
    # The bytes of an archive are made once: RFC 5005 says that an archive document should not change.
    cached: bytes | None = None

    @property
    def archived(self) -> bool:
        """Whether this page has a newer one."""
        return self.next_id is not None


class PageChain:
    """All pages of one feed, oldest first; the last one is the current page."""

    def __init__(self, page_size: int, new_page_id: Callable[[], str], opened_at: datetime) -> None:
        """Open the first page, empty."""
        self.page_size = page_size
        self._new_page_id = new_page_id
        first = Page(new_page_id(), opened_at)
        self.current = first
        self._pages = {first.page_id: first}

    @property
    def page_ids(self) -> list[str]:
        """The ids of all pages, oldest first."""
        return list(self._pages)

    def page(self, page_id: str) -> Page | None:
        """Return a page by its id."""
        return self._pages.get(page_id)

    def append(self, entry: Entry) -> None:
        """Add the newest entry, and archive the current page first when it is full."""
        if len(self.current.entries) >= self.page_size:
            older = self.current
            self.current = Page(self._new_page_id(), entry.at, prev_id=older.page_id)
            older.next_id = self.current.page_id
            self._pages[self.current.page_id] = self.current
        self.current.entries.append(entry)
