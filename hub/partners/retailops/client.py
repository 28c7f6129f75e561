"""The calls to RetailOps: purchase orders in, marks and parcels and stock counts out.

Paths, verbs and headers are those of the RetailOps Interaction Guide for Dropship Integrations: always ``POST`` with a
JSON body and the header ``apikey``. No rate limits are published, so one request is in flight at a time. What an answer
means is told by ``answers``; whatever is not known to be done may be tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from hub.config.settings import Retailops
from hub.errors import InvalidMessage
from hub.http.auth import ApiKeyAuthorizer
from hub.http.call import send_authorized
from hub.http.measure import Measured
from hub.http.session import HttpSession, Overflow
from hub.partners.retailops.answers import PARTNER, judge, records_of
from hub.partners.retailops.page import is_large
from hub.partners.retailops.wire import (
    AllCarrierClasses,
    Answer,
    CarrierClass,
    Complete,
    Dates,
    ExternalSku,
    ExternalSkus,
    Fetch,
    Marks,
    PurchaseOrderDate,
    PurchaseOrderMark,
)
from hub.process.lifecycle import Resources

BATCH = 1000
"""Records of one call at most: the guide's limit for POs; a production client calls it the server's for SKUs too."""

_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
# Bytes of a page of POs, and of any other answer: some may echo the 1000 records they were sent.
_PAGE_BYTES = 4 * 1024 * 1024
_ANSWER_BYTES = 1024 * 1024
# Ids of carrier classes change over time, seldom.
_CLASSES_LAST = timedelta(hours=1)
# Names that an error text lists.
_NAMES_SHOWN = 40

_FETCH = "Vendor/PO/Fetch"
_MARK_SUBMITTED = "Vendor/PO/MarkSubmitted"
_MARK_ACCEPTED = "Vendor/PO/MarkAccepted"
_COMPLETE = "Vendor/PO/Complete"
_UPDATE_SHIP_DATES = "Vendor/PO/UpdateEstShipDate"
_CARRIER_CLASSES = "Constant/Ship/CarrierClass/fetch"
# The guide asks for version 2 of this action and names no version of the others.
_EXTERNAL_SKUS = "product/externalsku/update~2"


class UnknownCarrierClass(InvalidMessage):
    """No carrier class of the account has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One page: its records as they came, and how many, which is what the offset grows by."""

    records: tuple[Any, ...]

    @property
    def count(self) -> int:
        """How many records were received, readable or not."""
        return len(self.records)


class Turns(asyncio.Lock):
    """Held during a request, so that one is in flight for each key; shared by all accounts of that key."""

    async def close(self) -> None:
        """Nothing to close: it lives as long as the clients that share it."""


class RetailopsClient:
    """Speaks to RetailOps for one vendor account, one request at a time.

    Every call raises ``PartnerUnavailable``, ``Throttled``, ``Unauthorized`` or ``Refused``, all transient; the key is
    in a header alone, never in an address or an error text.

    Args:
        settings: of the account.
        session: connections; absent: own ones.
        now: the time that the carrier classes age by, and that date hints in answers are counted from.
        turns: shared by the clients of one key; absent: own ones.
    """

    def __init__(
        self,
        settings: Retailops,
        session: HttpSession | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        turns: Turns | None = None,
    ) -> None:
        self.settings = settings
        self._session = session or HttpSession(
            PARTNER, timeout=settings.timeout, paths_below=settings.base_url
        )
        self._now = now
        self._turns = turns or Turns()
        self._authorizer = ApiKeyAuthorizer("apikey", settings.api_key.get_secret_value())
        self._already_done = tuple(text.lower() for text in settings.already_done if text.strip())
        self._classes: tuple[CarrierClass, ...] = ()
        self._classes_until: datetime | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    # --- purchase orders

    async def fetch(self, start: int, limit: int) -> Fetched:
        """Read a page of POs with their lines, from row ``start`` on (Vendor.PO.Fetch).

        Raises:
            PartnerContractBroken: there is no list ``records``, or more than a page may hold; a smaller
                ``page_size`` may help.
        """
        settings = self.settings
        asked = Fetch(vendor_id=settings.vendor_id, start=start, limit=limit, status=settings.fetch_status)
        answer = await self._call(_FETCH, asked.encode(), read_at_most=_PAGE_BYTES, overflow="error")
        return Fetched(records_of(answer, _FETCH))

    async def mark_submitted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """Report that POs were taken (Vendor.PO.MarkSubmitted); they leave the ``ready`` filter. 1 to 1000 POs.

        "Already submitted" is a success where it is about the one PO that was sent. For several it is ``Refused``:
        nothing says whether the others were marked, so they are to be sent one by one.

        Raises:
            ValueError: no record, or more than ``BATCH``.
        """
        _check_size(records)
        await self._call(_MARK_SUBMITTED, Marks(records=tuple(records)).encode(), once=len(records) == 1)

    async def mark_accepted(self, records: Sequence[PurchaseOrderMark]) -> None:
        """Report that POs will not change any more (Vendor.PO.MarkAccepted); see ``mark_submitted``."""
        _check_size(records)
        await self._call(_MARK_ACCEPTED, Marks(records=tuple(records)).encode(), once=len(records) == 1)

    async def update_ship_dates(self, records: Sequence[PurchaseOrderDate]) -> None:
        """Report when POs are expected to leave (Vendor.PO.UpdateEstShipDate); see ``mark_submitted``."""
        _check_size(records)
        await self._call(_UPDATE_SHIP_DATES, Dates(records=tuple(records)).encode(), once=len(records) == 1)

    async def complete(self, body: Complete) -> None:
        """Report that a PO is finished, with all its parcels (Vendor.PO.Complete); one PO per call, once."""
        await self._call(_COMPLETE, body.encode(), once=True)

    # --- carrier classes

    async def carrier_classes(self) -> tuple[CarrierClass, ...]:
        """Return the carrier classes of the account (Constant.Ship.CarrierClass.fetch), at most an hour old.

        Raises:
            PartnerContractBroken: there is no list ``records``.
        """
        if self._classes_until is None or self._now() >= self._classes_until:
            await self._read_classes()
        return self._classes

    async def carrier_class_id(self, name: str, *, refresh_on_miss: bool = True) -> int:
        """Return the id of a carrier class by its name in any case; of two with one name the first of the list.

        Args:
            name: as RetailOps lists it.
            refresh_on_miss: read the list again, once, when it is from an earlier call and has no such name.

        Raises:
            UnknownCarrierClass: there is none; lists those there are.
        """
        known = self._classes_until
        found = _class_named(name, await self.carrier_classes())
        if found is None and refresh_on_miss and self._classes_until == known:
            await self._read_classes()
            found = _class_named(name, self._classes)
        if found is None:
            names = sorted({known_class.name for known_class in self._classes})
            shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN]) or "none"
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            raise UnknownCarrierClass(
                f"expected a carrier class of vendor {self.settings.account} ({shown}{more}), got another name: set"
                " retailops.ship_classes, or ask RetailOps to add the class"
            )
        return found

    async def _read_classes(self) -> None:
        answer = await self._call(_CARRIER_CLASSES, AllCarrierClasses().encode())
        self._classes = tuple(
            read
            for record in records_of(answer, _CARRIER_CLASSES)
            if (read := _carrier_class(record)) is not None
        )
        self._classes_until = self._now() + _CLASSES_LAST

    # --- inventory

    async def advise_inventory(self, records: Sequence[ExternalSku]) -> None:
        """Report stock counts (Product.ExternalSku.Update, version 2); repeating them does no harm. 1 to 1000 records.

        Raises:
            ValueError: no record, or more than ``BATCH``.
        """
        _check_size(records)
        await self._call(_EXTERNAL_SKUS, ExternalSkus(records=tuple(records)).encode())

    # --- one call

    async def _call(
        self,
        action: str,
        body: bytes,
        *,
        read_at_most: int = _ANSWER_BYTES,
        overflow: Overflow = "truncate",
        once: bool = False,
    ) -> Answer:
        """Send one request when it is our turn, and judge the answer; ``once``: "already done" is a success."""
        async with self._turns:
            with Measured(PARTNER, action):
                response = await send_authorized(
                    self._session,
                    self._authorizer,
                    "POST",
                    self._url(action),
                    headers=_JSON,
                    body=body,
                    read_at_most=read_at_most,
                    overflow=overflow,
                )
                read = partial(
                    judge, response, action, already_done=self._already_done, once=once, now=self._now()
                )
                return await asyncio.to_thread(read) if is_large(response.body) else read()

    def _url(self, action: str) -> str:
        suffix = "" if "~" in action else self.settings.version_suffix
        return f"{self.settings.base_url}/{action}{suffix}.json"


def client_of(resources: Resources, settings: Retailops) -> RetailopsClient:
    """Return the one client of this process for an account; accounts with one key take turns."""
    turns = resources.shared(
        ("retailops turns", settings.base_url, settings.api_key.get_secret_value()), Turns
    )
    return resources.shared(("retailops", settings.account), lambda: RetailopsClient(settings, turns=turns))


def clients_of(resources: Resources) -> dict[str, RetailopsClient]:
    """Return the client of each configured vendor account."""
    return {account.account: client_of(resources, account) for account in resources.settings.retailops}


def _carrier_class(record: object) -> CarrierClass | None:
    """Read a carrier class; one without an id or a name is of no use."""
    try:
        return CarrierClass.model_validate(record)
    except ValidationError:
        return None


def _class_named(name: str, classes: Sequence[CarrierClass]) -> int | None:
    wanted = _plain(name)
    return next((known.id for known in classes if _plain(known.name) == wanted), None)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _check_size(records: Sequence[object]) -> None:
    if not 1 <= len(records) <= BATCH:
        raise ValueError(f"expected 1 to {BATCH} records for one call, got {len(records)}")
