"""Sample purchase orders, with every odd shape that the hub has to expect.

RetailOps Interaction Guide for Dropship Integrations: a PO carries `po`, `date_submit` and lines of `po_item_id`, `vpc` and
`quantity`. The guide prints no response of `Vendor.PO.Fetch`, so neither the format of `date_submit` nor the presence of `items` is
certain: `DateStyle` and `Oddity` list what a client must bear. All numbers are invented.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, StrEnum
from typing import Any, Final

__all__ = ["ABSENT", "Absent", "DateStyle", "Oddity", "OrderSeries", "PurchaseLine", "PurchaseOrder"]


class Absent(Enum):
    """The type of `ABSENT`."""

    absent = "absent"


ABSENT: Final = Absent.absent
"""A field that is left out, which is not the same as one that is null."""

DateSubmit = str | int | None | Absent


class DateStyle(StrEnum):
    """How a `date_submit` is written; the guide does not say, and any of these may come."""

    zulu = "zulu"
    """ISO 8601 with Z, as the guide writes its estimated ship dates."""
    offset = "offset"
    """ISO 8601 with an offset from UTC."""
    naive = "naive"
    """ISO 8601 without a zone, which means UTC."""
    spaced = "spaced"
    """`YYYY-MM-DD HH:MM:SS`, which means UTC."""
    date = "date"
    """A plain date: due from midnight UTC."""
    epoch = "epoch"
    """Seconds since 1970 as a number."""
    epoch_text = "epoch_text"
    """Seconds since 1970 as a string."""


class Oddity(StrEnum):
    """What is wrong, or only unusual, with one PO."""

    missing_date = "missing_date"
    """No `date_submit`."""
    null_date = "null_date"
    """`date_submit` is null."""
    garbage_date = "garbage_date"
    """`date_submit` is no date in any accepted format."""
    null_items = "null_items"
    """`items` is null although the lines were asked for."""
    twin_vpc = "twin_vpc"
    """Two lines with one product code: a completion cannot tell them apart."""


# Six hours behind UTC: a reader that drops the offset is wrong by a quarter of a day.
_AWAY_FROM_UTC = timezone(timedelta(hours=-6))

_WRITERS: Final[dict[DateStyle, Callable[[datetime], str | int]]] = {
    DateStyle.zulu: lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    DateStyle.offset: lambda at: at.astimezone(_AWAY_FROM_UTC).isoformat(),
    DateStyle.naive: lambda at: at.strftime("%Y-%m-%dT%H:%M:%S"),
    DateStyle.spaced: lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    DateStyle.date: lambda at: at.strftime("%Y-%m-%d"),
    DateStyle.epoch: lambda at: int(at.timestamp()),
    DateStyle.epoch_text: lambda at: str(int(at.timestamp())),
}

_GARBAGE = ("soon", "", "0000-00-00 00:00:00", "2024-13-45", "05/14/2024 4 PM")

_PRODUCT_CODES = (
    "NF-CASE-GRA",
    "NF-CHG-30",
    "NF-CASE-BLU",
    "NF-GLS-61",
    "NF-STK-0",
    "NF-WCS-15",
    "NF-CBL-2M",
    "NF-HDS-NC",
)


@dataclass(frozen=True, slots=True)
class PurchaseLine:
    """One line of a PO; `vpc` is the vendor's product code."""

    po_item_id: int
    vpc: str
    quantity: int


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """One PO: `date_submit` and `lines` as they are sent, None for null.

    `due_at` is what `date_submit` means, None when it is missing or means nothing. `extra` holds further fields to send.
    """

    po: str
    vendor_id: str
    date_submit: DateSubmit
    due_at: datetime | None
    lines: tuple[PurchaseLine, ...] | None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def is_due(self, now: datetime) -> bool:
        """Return whether the vendor may act on it: `date_submit` is readable and not in the future."""
        return self.due_at is not None and self.due_at <= now

    def as_record(self, status: str, with_items: bool) -> dict[str, Any]:
        """Return the record that a fetch answers."""
        record: dict[str, Any] = {"po": self.po, "status": status, "vendor_id": self.vendor_id} | dict(
            self.extra
        )
        if not isinstance(self.date_submit, Absent):
            record["date_submit"] = self.date_submit
        if with_items:
            record["items"] = None if self.lines is None else [_as_item(line) for line in self.lines]
        return record


@dataclass(eq=False)
class OrderSeries:
    """The POs of one vendor account, numbered from its first one on; the same stream gives the same POs."""

    rng: random.Random
    vendor_id: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(48213))
    _line_ids: Iterator[int] = field(default_factory=lambda: itertools.count(90311))

    def draw(
        self,
        due_at: datetime,
        written: DateStyle,
        odd: Oddity | None = None,
        products: Sequence[tuple[str, int]] | None = None,
    ) -> PurchaseOrder:
        """Draw the next PO, due at this moment (whole seconds; midnight of its day when written as a plain date).

        `products` are pairs of product code and quantity, drawn when None.
        """
        at = due_at.astimezone(UTC).replace(microsecond=0)
        if written is DateStyle.date:
            at = at.replace(hour=0, minute=0, second=0)
        order = PurchaseOrder(
            po=f"D{next(self._numbers)}",
            vendor_id=self.vendor_id,
            date_submit=_WRITERS[written](at),
            due_at=at,
            lines=self._lines(self._products(odd) if products is None else products),
        )
        return self._spoiled(order, odd)

    def changed(self, order: PurchaseOrder) -> PurchaseOrder:
        """Return the same PO with other lines: one more of the first, or drawn ones where it had none."""
        if not order.lines:
            return replace(order, lines=self._lines(self._products(None)))
        first, *others = order.lines
        return replace(order, lines=(replace(first, quantity=first.quantity + 1), *others))

    def _products(self, odd: Oddity | None) -> list[tuple[str, int]]:
        count = self.rng.randint(2 if odd is Oddity.twin_vpc else 1, 4)
        codes = self.rng.sample(_PRODUCT_CODES, count)
        # The odd one comes by chance as well: it is no fault, and every completion has to sum.
        if odd is Oddity.twin_vpc or (count > 1 and self.rng.random() < 0.1):
            codes[-1] = codes[0]
        return [(code, self.rng.choice((1, 1, 1, 2, 3))) for code in codes]

    def _lines(self, products: Sequence[tuple[str, int]]) -> tuple[PurchaseLine, ...]:
        return tuple(PurchaseLine(next(self._line_ids), vpc, quantity) for vpc, quantity in products)

    def _spoiled(self, order: PurchaseOrder, odd: Oddity | None) -> PurchaseOrder:
        match odd:
            case Oddity.missing_date:
                return replace(order, date_submit=ABSENT, due_at=None)
            case Oddity.null_date:
                return replace(order, date_submit=None, due_at=None)
            case Oddity.garbage_date:
                return replace(order, date_submit=self.rng.choice(_GARBAGE), due_at=None)
            case Oddity.null_items:
                return replace(order, lines=None)
            case Oddity.twin_vpc | None:
                return order


def _as_item(line: PurchaseLine) -> dict[str, Any]:
    return {"po_item_id": line.po_item_id, "vpc": line.vpc, "quantity": line.quantity}
