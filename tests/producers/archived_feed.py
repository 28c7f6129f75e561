"""An archived feed in memory, for the poller of the iQmetrix orders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.config.settings import FeedLimits
from hub.partners.iqmetrix.client import NotModified, PageResponse
from hub.partners.iqmetrix.feed import Page, parse_page
from tests.partners.iqmetrix.samples import a_page, an_entry, status_updated

START = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)
SIZE = 3


@dataclass
class Feed:
    """Full pages become archives and keep their path."""

    pages: dict[str, list[str]] = field(default_factory=lambda: {"p1": []})
    reads: list[str] = field(default_factory=list)
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    links: dict[str, str | None] = field(default_factory=dict)
    validators: Mapping[str, str] = field(default_factory=dict)
    after_current: Any = None
    self_of: Callable[[str], str | None] = str
    """What a page says of its own path."""
    added: int = 0

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            self.added += 1
            updated = START + timedelta(seconds=self.added)
            self.put(f"e{self.added}", updated)

    def put(self, entry_id: str, updated: datetime) -> None:
        current = list(self.pages)[-1]
        if len(self.pages[current]) == SIZE:
            current = f"p{len(self.pages) + 1}"
            self.pages[current] = []
        text = an_entry(
            entry_id, status_updated(order_id=f"o-{entry_id}"), updated=updated.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        self.pages[current].insert(0, text)

    def _page(self, path: str) -> Page:
        paths = list(self.pages)
        before = paths.index(path) - 1
        older = self.links.get(path, paths[before] if before >= 0 else None)
        page = parse_page(a_page(self.pages[path], page_id=path), FeedLimits())
        return replace(page, self_href=self.self_of(path), prev_href=older)

    async def current_page(self, validators: Mapping[str, str] | None = None) -> PageResponse | NotModified:
        self.reads.append("current")
        for error in self.errors.get("current", [])[:1]:
            self.errors["current"].pop(0)
            raise error
        if validators and dict(validators) == dict(self.validators):
            return NotModified()
        answer = PageResponse(self._page(list(self.pages)[-1]), self.validators)
        if self.after_current is not None:
            self.after_current, act = None, self.after_current
            act()
        return answer

    async def page(self, href: str) -> Page:
        self.reads.append(href)
        for error in self.errors.get(href, [])[:1]:
            self.errors[href].pop(0)
            raise error
        return self._page(href)
