"""The simulated RetailOps: the purchase orders of one vendor account on one local server.

It is what a test, a demo or `hub sandbox` talks to from Python: place purchase orders, change them, read what the hub did. Over
HTTP it behaves as the RetailOps Interaction Guide for Dropship Integrations says; see `retailops_api` and `retailops_actions`.

    async with RetailopsSandbox(seed=7) as ro:
        order = ro.add_order()
        ...  # point a client at ro.base_url with ro.api_key and ro.vendor_id
        assert ro.is_final(order.po) and not ro.violations and not ro.doubled() and not ro.regressions()
"""

import random
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self

from hub.sandbox.fault_injection import Faults
from hub.sandbox.http_server import LocalServer
from hub.sandbox.request_log import Clock, Records, RequestRecord, Violation, utc_now
from hub.sandbox.retailops.actions import RetailopsActions
from hub.sandbox.retailops.api import ApiCall, RetailopsApi, Script
from hub.sandbox.retailops.audit import (
    AskedEffect,
    Completed,
    Estimated,
    OrderState,
    PurchaseLedger,
    PurchaseRegression,
)
from hub.sandbox.retailops.bodies import Package
from hub.sandbox.retailops.envelope import Dialect, RetailopsFault
from hub.sandbox.retailops.purchase_orders import DateStyle, Oddity, OrderSeries, PurchaseLine, PurchaseOrder

__all__ = ["RetailopsSandbox"]

# Ids are account data; two for one name were seen by a client, and are not here until a test asks for them.
_CARRIER_CLASSES: Final = {
    62: "UPS Ground",
    63: "UPS 2nd Day Air",
    7: "FedEx Ground",
    8: "FedEx Home Delivery",
    34: "USPS Priority Mail",
    90: "LTL",
}

# The past that a drawn PO's `date_submit` lies in.
_DUE_WITHIN: Final = timedelta(hours=48)

_STYLES: Final = tuple(DateStyle)
# A plain date would make a PO due before the moment that was asked for.
_EXACT_STYLES: Final = tuple(style for style in DateStyle if style is not DateStyle.date)


@dataclass(eq=False, kw_only=True)
class RetailopsSandbox:
    """One vendor account at a simulated RetailOps; the same seed and the same calls give the same POs.

    `error_status` is the HTTP status of error envelopes. `whole_batch` lets one bad record refuse its whole batch. `longest_page`
    caps what a fetch answers.
    """

    vendor_id: str = "27"
    api_key: str = field(default="2Jt-example-key", repr=False)
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    error_status: int = 200
    whole_batch: bool = True
    longest_page: int = 1000
    dialect: Dialect = field(default_factory=Dialect)
    now: Clock = utc_now

    def __post_init__(self) -> None:
        """Build the parts; nothing listens yet."""
        self._rng = random.Random(self.seed)
        self._series = OrderSeries(self._rng, self.vendor_id)
        self._records = Records(self.now)
        self._ledger = PurchaseLedger(self.now)
        self._actions = RetailopsActions(
            self.vendor_id,
            self._ledger,
            self.whole_batch,
            self.longest_page,
            self.now,
            dict(_CARRIER_CLASSES),
        )
        self._api = RetailopsApi(
            api_key=self.api_key,
            actions=self._actions.by_operation(),
            records=self._records,
            faults=self.faults,
            dialect=self.dialect,
            error_status=self.error_status,
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
        """The base of the API, without a slash at the end."""
        return self._server.url

    # --- purchase orders

    def add_order(
        self,
        order: PurchaseOrder | None = None,
        *,
        due_at: datetime | None = None,
        written: DateStyle | None = None,
        odd: Oddity | None = None,
        products: Sequence[tuple[str, int]] | None = None,
        status: str = "ready",
    ) -> PurchaseOrder:
        """Place a PO, drawn from the seed when None.

        `due_at` is its `date_submit` (a drawn moment of the last two days when None), `written` in this style; `odd` is what is
        unusual about it; `products` are pairs of product code and quantity. `status` is where it starts: `ready` or `open`.
        """
        if order is None:
            past = self.now() - _DUE_WITHIN * self._rng.random()
            style = self._rng.choice(_STYLES if due_at is None else _EXACT_STYLES)
            order = self._series.draw(due_at or past, written or style, odd, products)
        self._ledger.open(order, status)
        return order

    def add_orders(self, count: int) -> list[PurchaseOrder]:
        """Place many drawn POs."""
        return [self.add_order() for _ in range(count)]

    def make_ready(self, po: str) -> None:
        """Move an open PO to ready, as RetailOps does itself."""
        self._ledger.move(po, "ready")

    def change_order(
        self, po: str, lines: Sequence[PurchaseLine] | None = None, *, reopen: bool = True
    ) -> PurchaseOrder:
        """Change the lines of a PO that is not accepted yet: these, or one more of the first when None.

        A submitted PO becomes ready again, so that a fetch of ready POs meets it; with `reopen` False it stays submitted. The guide
        says only that it can change.

        Raises:
            ValueError: the PO is accepted or complete.
        """
        order = self._ledger.orders[po]
        changed = self._series.changed(order) if lines is None else replace(order, lines=tuple(lines))
        self._ledger.change(changed, reopen)
        return changed

    def set_carrier_classes(self, names: Mapping[int, str]) -> None:
        """Replace the carrier classes, names by id: ids change over time, and two may have one name."""
        self._actions.carrier_classes = dict(names)

    def script(self, operation: str, faults: Iterable[Script]) -> None:
        """Say what the next requests for an operation meet: faults of any kind, None for a request that goes well.

        Operations: Fetch, MarkSubmitted, MarkAccepted, UpdateEstShipDate, CarrierClass, Complete, ExternalSku.

        Raises:
            ValueError: there is no such operation.
        """
        self._api.script(operation, faults)

    # --- what the hub did

    @property
    def orders(self) -> dict[str, PurchaseOrder]:
        """All POs by their number, in the order they were placed."""
        return self._ledger.orders

    @property
    def requests(self) -> deque[RequestRecord]:
        """The last requests, oldest first."""
        return self._records.requests

    @property
    def calls(self) -> deque[ApiCall]:
        """The last calls that reached their action, oldest first; requests that a fault kept away are not among them."""
        return self._api.made

    @property
    def violations(self) -> list[Violation]:
        """Every breach of the documented protocol."""
        return self._records.violations

    @property
    def completions(self) -> list[Completed]:
        """Every completion that took effect, oldest first."""
        return self._ledger.completions

    @property
    def estimates(self) -> list[Estimated]:
        """Every estimated ship date that took effect, oldest first."""
        return self._ledger.estimates

    @property
    def inventory(self) -> dict[str, int]:
        """The last advised quantity by product code."""
        return self._actions.inventory

    @property
    def carrier_classes(self) -> dict[int, str]:
        """The names of the carrier classes by id."""
        return self._actions.carrier_classes

    @property
    def injected(self) -> Counter[tuple[str, RetailopsFault]]:
        """How many scripted faults of RetailOps' own kind were met; the others are counted by `faults.injected`."""
        return self._api.injected

    def record_counts(self, operation: str) -> list[int]:
        """Return how many records each call of an operation carried, oldest first; a fetch counts those it was answered."""
        return [call.records for call in self.calls if call.operation == operation]

    def packages(self, po: str) -> tuple[Package, ...]:
        """Return the parcels that a PO was completed with; none before that."""
        told = (done.completion.packages for done in self.completions if done.completion.po == po)
        return next(told, ())

    def history(self, po: str) -> tuple[OrderState, ...]:
        """Return a PO's states, oldest first.

        Raises:
            KeyError: there is no such PO.
        """
        return self._ledger.history(po)

    def status(self, po: str) -> str:
        """Return a PO's present state.

        Raises:
            KeyError: there is no such PO.
        """
        return self._ledger.status(po)

    def is_final(self, po: str) -> bool:
        """Return whether a PO is complete."""
        return self.status(po) == "complete"

    def unfinished(self) -> list[str]:
        """Return the POs that the vendor could have completed by now and has not: due, and with lines."""
        now = self.now()
        return [
            po
            for po, order in self.orders.items()
            if order.is_due(now) and order.lines and not self.is_final(po)
        ]

    def checkpoint(self) -> int:
        """Return a mark for `regressions` and `doubled`."""
        return self._ledger.checkpoint()

    def regressions(self, since: int = 0) -> list[PurchaseRegression]:
        """Return the calls after the mark that would have taken a complete PO back."""
        return self._ledger.regressions(since)

    def doubled(self, since: int = 0) -> list[AskedEffect]:
        """Return the effects asked for more than once; `excused` ones only where the vendor could not know."""
        return self._ledger.doubled(since)
