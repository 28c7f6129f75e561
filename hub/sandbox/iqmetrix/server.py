"""The simulated iQmetrix: token service, order feed, status updates and availability on one local server.

It is what a test, a demo or `hub sandbox` talks to from Python: place orders, spoil the feed, read what the hub did. Over HTTP it
behaves as the iQmetrix documents say; see `iqmetrix_api`.

    async with IqmetrixSandbox(seed=7) as iq:
        order = iq.add_order()
        ...  # point a client at iq.base_url and iq.token_url
        assert iq.is_final(order.order_id) and not iq.violations and not iq.regressions()
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from hub.sandbox.fault_injection import Faults
from hub.sandbox.http_server import LocalServer
from hub.sandbox.iqmetrix.api import Credentials, IqmetrixApi
from hub.sandbox.iqmetrix.audit import Applied, Doubled, Ledger, LineHistory, Regression
from hub.sandbox.iqmetrix.feed import PRODUCTION_BASE, FeedLinks
from hub.sandbox.iqmetrix.notifications import NotificationFeed
from hub.sandbox.iqmetrix.orders import SandboxOrder, sample_order, uuid_text
from hub.sandbox.iqmetrix.pages import PageChain
from hub.sandbox.oauth2 import BearerTokens
from hub.sandbox.request_log import Clock, Records, RequestRecord, Violation, utc_now

__all__ = ["IqmetrixSandbox"]

# Supplier Orders reference, 25-01-2016, errors.
_PAGE_TEXTS = {400: "The request is invalid", 404: "Not found"}


@dataclass(eq=False, kw_only=True)
class IqmetrixSandbox:
    """One supplier account at a simulated iQmetrix; the same seed and the same calls give the same ids and orders.

    `token_lifetime` is in seconds. `link_base` is the host that the feed's links carry: the production one, as in the guide's
    sample, whatever host serves the feed.
    """

    supplier_id: int = 71204
    username: str = "ops@northfork.example"
    password: str = field(default="s3cret", repr=False)
    client_id: str = "northforkdropship"
    client_secret: str = field(default="sandbox-client-7b1c", repr=False)
    page_size: int = 50
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    token_lifetime: int = 43199
    etag: bool = False
    link_base: str = PRODUCTION_BASE
    now: Clock = utc_now

    def __post_init__(self) -> None:
        """Build the parts; nothing listens yet."""
        self._rng = random.Random(self.seed)
        # Its own stream: what the hub does (tokens, pushes) must not change which orders come next.
        answers = random.Random(f"{self.seed}:answers")
        entries = random.Random(f"{self.seed}:entries")
        self._records = Records(self.now)
        self._ledger = Ledger(self.now)
        self._tokens = BearerTokens(answers, self.now, timedelta(seconds=self.token_lifetime))
        pages = PageChain(self.page_size, lambda: uuid_text(entries), self.now())
        links = FeedLinks(self.link_base, self.supplier_id)
        self._feed = NotificationFeed(pages, links, entries, self.add_order)
        self._api = IqmetrixApi(
            supplier_id=self.supplier_id,
            credentials=Credentials(self.username, self.password, self.client_id, self.client_secret),
            tokens=self._tokens,
            feed=self._feed,
            ledger=self._ledger,
            records=self._records,
            faults=self.faults,
            rng=answers,
            etag=self.etag,
        )
        self._server = LocalServer(self._api.application())

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes any free one."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop at once."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        """Listen on a free local port."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop at once."""
        await self.stop()

    @property
    def base_url(self) -> str:
        """The base of the supplier API, with `/v1`."""
        return f"{self._server.url}/v1"

    @property
    def token_url(self) -> str:
        """The address of the token service."""
        return f"{self._server.url}/v1/oauth2/token"

    # --- orders and the feed

    def add_order(self, order: SandboxOrder | None = None, at: datetime | None = None) -> SandboxOrder:
        """Place an order, drawn from the seed when None, and tell of it in the feed; `at` backdates the entry."""
        placed = sample_order(self._rng, self.supplier_id) if order is None else order
        placed_at = at or self.now()
        self._ledger.open(placed, placed_at)
        self._feed.add_created(placed, placed_at)
        return placed

    def add_orders(self, count: int) -> list[SandboxOrder]:
        """Place many drawn orders."""
        return [self.add_order() for _ in range(count)]

    def add_duplicate(self, order_id: str) -> str:
        """Report a known order once more under a new entry id, which is returned."""
        return self._feed.add_created(self._ledger.orders[order_id], self.now())

    def add_entry_xml(self, xml: str) -> None:
        """Put a whole `<entry>` element on the current page as it is written, well-formed or not."""
        self._feed.add_xml(xml, self.now())

    def repeat_entry(self, entry_id: str) -> None:
        """Put an entry on the current page once more, under the same id."""
        self._feed.repeat(entry_id)

    def roll_over(self) -> None:
        """Place as many orders as it takes to archive the current page."""
        self._feed.roll_over()

    def roll_over_between_reads(self) -> None:
        """Roll the current page over right after it is read the next time, so that the reader's `prev-archive` is stale."""
        self._feed.roll_over_next = True

    def drop_page(self, page_id: str) -> None:
        """Answer 404 for this page from now on: a gap in the archive."""
        self.fail_page(page_id, 404)

    def fail_page(self, page_id: str, status: int = 503, times: int | None = None) -> None:
        """Answer with this status for this page, the next `times` requests or for ever."""
        self._feed.fail_page(page_id, status, _PAGE_TEXTS.get(status, "Service Unavailable"), times)

    def loop_archive(self, page_id: str, to_page_id: str) -> None:
        """Make a page's `prev-archive` point to any other page, for example a newer one."""
        self._feed.point_back(page_id, to_page_id)

    @property
    def page_ids(self) -> list[str]:
        """The ids of all pages, oldest first; the last is the current page."""
        return self._feed.pages.page_ids

    @property
    def entry_ids(self) -> list[str]:
        """The ids of all entries, oldest first; raw entries have an empty one."""
        pages = [self._feed.pages.page(page_id) for page_id in self.page_ids]
        return [entry.entry_id for page in pages if page is not None for entry in page.entries]

    def revoke_tokens(self) -> None:
        """Make every token invalid, refresh tokens too."""
        self._tokens.revoke()

    # --- what the hub did

    @property
    def orders(self) -> dict[str, SandboxOrder]:
        """All orders by their id, in the order they were placed."""
        return self._ledger.orders

    @property
    def requests(self) -> deque[RequestRecord]:
        """The last requests, oldest first."""
        return self._records.requests

    @property
    def violations(self) -> list[Violation]:
        """Every breach of the documented protocol."""
        return self._records.violations

    @property
    def applied(self) -> Counter[str]:
        """How many updates were applied, by the last segment of their path."""
        return Counter(applied.path for applied in self._ledger.applied)

    @property
    def updates(self) -> list[Applied]:
        """Every update that took effect, oldest first."""
        return self._ledger.applied

    @property
    def item_paths(self) -> Counter[str]:
        """How many item updates came by each of the two paths that the documents print."""
        return self._api.item_paths

    @property
    def availability(self) -> dict[str, int | None]:
        """The last pushed quantity by SKU; None is not available."""
        return self._api.availability

    @property
    def tokens_issued(self) -> int:
        """How many tokens were given out, refreshed ones included."""
        return self._tokens.issued

    def history(self, order_id: str) -> tuple[LineHistory, ...]:
        """Return each line's states of an order, oldest first.

        Raises:
            KeyError: there is no such order.
        """
        return self._ledger.history(order_id)

    def is_final(self, order_id: str) -> bool:
        """Return whether every line of an order is shipped or cancelled."""
        return self._ledger.is_final(order_id)

    def unfinished(self) -> list[str]:
        """Return the ids of the orders that have not reached a final state."""
        return [order_id for order_id in self.orders if not self.is_final(order_id)]

    def checkpoint(self) -> int:
        """Return a mark for `regressions` and `doubled`."""
        return self._ledger.checkpoint()

    def regressions(self, since: int = 0) -> list[Regression]:
        """Return the line states that went backward after the mark."""
        return self._ledger.regressions(since)

    def doubled(self, since: int = 0) -> list[Doubled]:
        """Return the updates that were applied more than once; `excused` ones only because an answer was cut."""
        return self._ledger.doubled(since)
