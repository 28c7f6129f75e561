"""A walk through the archive of the iQmetrix feed: down to what is known, and up again; what it has read stays with it.

Called by ``iqmetrix_orders``, which decides where it leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hub.errors import HubError
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
    """The archive page that was processed last when this step of the walk was planned."""
    below: str | None
    """Where the descent goes on; None: it has arrived."""
    stack: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths to process with the path each links to, oldest last."""
    seen: set[str] = field(default_factory=set)
    pages: deque[tuple[str, Page]] = field(default_factory=lambda: deque(maxlen=KEPT_PAGES))
    _ahead: tuple[str, Page | HubError] | None = None

    async def page(self, path: str, read: Read) -> Page:
        """Give a page of the way up: kept on the way down, read ahead, or read now.

        Raises:
            HubError: it could not be read, now or ahead; the next call reads it.
        """
        if path in (kept := dict(self.pages)):
            return kept[path]
        if self._ahead is None or self._ahead[0] != path:
            return await read(path)
        (_, ahead), self._ahead = self._ahead, None
        if isinstance(ahead, HubError):
            raise ahead
        return ahead

    async def read_ahead(self, path: str, read: Read) -> None:
        """Read the one page that ``page`` will be asked for after the one it gave; why not is told when it is asked."""
        if path in dict(self.pages) or (self._ahead and self._ahead[0] == path):
            return
        try:
            self._ahead = path, await read(path)
        except HubError as error:
            self._ahead = path, error
