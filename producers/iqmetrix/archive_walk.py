"""A walk through the archive of the iQmetrix feed: down to what is known, and up again; what it has read stays with it.

Called by ``iqmetrix_orders``, which decides where it leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from hub.partners.iqmetrix.client import PageResponse
from hub.partners.iqmetrix.feed import Page

# Pages of a normal descent: roll-overs between two polls. Longer ones are read again on the way up.
KEPT_PAGES = 4

Read = Callable[[str], Awaitable[Page]]


@dataclass(slots=True)
class Walk:
    """Where a walk stands."""

    current: PageResponse
    after: str | None
    """The archive page that was processed last when the walk began."""
    below: str | None
    """Where the descent goes on; None: it has arrived."""
    stack: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths to process with the path each links to, oldest last."""
    seen: set[str] = field(default_factory=set)
    marked: str | None = None
    """The oldest page that was read which holds the mark of the cursor: an entry of what was current at the last poll."""
    pages: deque[tuple[str, Page]] = field(default_factory=lambda: deque(maxlen=KEPT_PAGES))
    _places: Mapping[str, int] | None = None

    def left_after(self, archive: str | None) -> int:
        """Return how many pages of the stack are to be processed when ``archive`` was the last: none if it is not of this walk."""
        if archive == self.after:
            return len(self.stack)
        if self.below is not None or archive is None:
            return 0
        if self._places is None:
            self._places = {path: place for place, (path, _) in enumerate(self.stack)}
        return self._places.get(archive, 0)

    def leads_on_from(self, archive: str | None) -> bool:
        """Whether it is on its way down from where the cursor is, or has pages to process after that."""
        return archive == self.after if self.below is not None else self.left_after(archive) > 0

    async def page(self, path: str, read: Read) -> Page:
        """Return a page of the way up: kept on the way down, or read now."""
        kept = dict(self.pages)
        return kept[path] if path in kept else await read(path)
