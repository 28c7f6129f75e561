"""RetailOps as a double of its client, purchase orders, and events about them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from hub.config.settings import Retailops
from hub.errors import HubError
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, AnyEvent, Event
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.client import UnknownCarrierClass
from hub.partners.retailops.wire import Complete, ExternalSku, PurchaseOrderDate, PurchaseOrderMark
from tests.partners.retailops.samples import VENDOR, settings

NOW = datetime.now(UTC).replace(microsecond=0)
LINES = (("90311", "NF-CASE-GRA", 2), ("90312", "NF-CHG-30", 1))
Lines = Sequence[tuple[str, str, int]]


@dataclass
class RetailopsDouble:
    """Keeps every call; fails with `errors` first, and refuses every call that one of the POs or SKUs `bad` is in."""

    settings: Retailops = field(default_factory=settings)
    classes: Mapping[str, int] = field(default_factory=lambda: {"ups ground": 62})
    calls: list[tuple[str, Any]] = field(default_factory=list)
    errors: list[HubError] = field(default_factory=list)
    bad: frozenset[str] = frozenset()
    already: frozenset[str] = frozenset()
    refreshes: list[str] = field(default_factory=list)
    after: Callable[[], None] = lambda: None
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def mark_submitted(self, records: Sequence[PurchaseOrderMark]) -> None:
        await self._take("submitted", records)

    async def mark_accepted(self, records: Sequence[PurchaseOrderMark]) -> None:
        await self._take("accepted", records)

    async def update_ship_dates(self, records: Sequence[PurchaseOrderDate]) -> None:
        await self._take("dated", records)

    async def advise_inventory(self, records: Sequence[ExternalSku]) -> None:
        assert 1 <= len(records) <= 1000
        await self._answer("advised", {record.vpc: record.quantity for record in records})
        self._judge([record.vpc for record in records])

    async def complete(self, body: Complete) -> None:
        await self._answer("completed", orjson.loads(body.encode()))
        self._judge([body.po])

    async def carrier_class_id(self, name: str, *, refresh_on_miss: bool = True) -> int:
        if refresh_on_miss:
            self.refreshes.append(name)
        try:
            return self.classes[name.lower()]
        except KeyError:
            raise UnknownCarrierClass(f"expected {sorted(self.classes)}, got {name!r}") from None

    async def _take(self, action: str, records: Sequence[PurchaseOrderMark | PurchaseOrderDate]) -> None:
        assert 1 <= len(records) <= 1000
        await self._answer(action, [orjson.loads(record.model_dump_json()) for record in records])
        self._judge([record.po for record in records])

    async def _answer(self, action: str, what: Any) -> None:
        async with asyncio.timeout(30):
            await self.open.wait()
        self.calls.append((action, what))
        if self.errors:
            raise self.errors.pop(0)
        self.after()

    def _judge(self, pos: Sequence[str]) -> None:
        if self.bad.intersection(pos):
            raise Refused("retailops answered 200: invalid po")
        if self.already.intersection(pos):
            raise Refused("retailops answered 200: already submitted", already_done=True)

    @property
    def batches(self) -> Sequence[Sequence[str]]:
        """The POs of each call that marks."""
        return [[record["po"] for record in what] for _, what in self.calls]


def details(
    po: str = "D1", lines: Lines = LINES, *, vendor: str = VENDOR, state: str = "a"
) -> dict[str, Any]:
    return {
        "order_id": f"retailops:{vendor}:{po}",
        "source": "retailops",
        "source_account": vendor,
        "source_order_id": po,
        "source_event_id": f"sha256:{state}",
        "created_at": NOW,
        "lines": [{"line_id": line_id, "sku": sku, "quantity": quantity} for line_id, sku, quantity in lines],
    }


def an_event(
    kind: str, data: Mapping[str, Any], event_id: str, *, later: timedelta = timedelta()
) -> AnyEvent:
    model = EVENT_TYPES[kind].payload.model_validate(data)
    return Event(event_id, kind, "/tests", data.get("order_id", ""), NOW + later, model)


def created(po: str = "D1", lines: Lines = LINES, *, vendor: str = VENDOR) -> AnyEvent:
    data = details(po, lines, vendor=vendor)
    return an_event("order.created", data, data["order_id"])


def changed(po: str, lines: Lines, *, state: str, minutes: int = 1) -> AnyEvent:
    data = details(po, lines, state=state)
    return an_event(
        "order.changed", data, f"{data['order_id']}:{state}:{minutes}", later=timedelta(minutes=minutes)
    )


def about(kind: str, po: str = "D1", *, event_id: str = "", minutes: int = 1, **data: Any) -> AnyEvent:
    data = {"order_id": f"retailops:{VENDOR}:{po}", **data}
    return an_event(f"order.{kind}", data, event_id or f"{kind}-{po}", later=timedelta(minutes=minutes))


def parcel(tracking_number: str, items: Mapping[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "carrier": "UPS",
        "service": "Ground",
        "tracking_number": tracking_number,
        "package_id": tracking_number,
        "items": items and [{"line_id": line, "quantity": quantity} for line, quantity in items.items()],
        **changes,
    }


def with_context(*events: AnyEvent) -> list[tuple[AnyEvent, Context]]:
    return [(event, context(event)) for event in events]


def context(event: AnyEvent) -> Context:
    return Context("tested", "hub.retailops.tested", 1, Message(b"{}", type=event.type, message_id=event.id))
