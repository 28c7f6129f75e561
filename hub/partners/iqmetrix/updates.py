"""Which update iQmetrix must get now: a pure function of an order's recorded state and of what was reported last.

States and their meaning are those of the iQmetrix Supplier Orders reference, 25-01-2016, and its flow diagrams:

    PendingSupplier < Ordered < PartiallyShipped < Shipped, Cancelled (final)
    BackOrdered, NotAvailable, Error, Other: may be left for any later state; Ordered follows BackOrdered only

An order-level update is used when every line has the same state, else an item-level one with only the lines that
changed ("items left out are unchanged"). ``PUT`` replaces, so tracking numbers and quantities are always cumulative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hub.config.settings import Iqmetrix
from hub.models.order import Hold, Line, Order, Package
from hub.partners.iqmetrix.wire import ItemInformation, ItemStatusUpdate, OrderStatusUpdate, Status

# The text of the acknowledgement that a supplier owes on pick-up (Managing Orders guide).
RECEIVED = "Received by supplier"

_HOLDS = frozenset({Status.BACK_ORDERED, Status.ERROR, Status.NOT_AVAILABLE, Status.OTHER})
_FINAL = frozenset({Status.SHIPPED, Status.CANCELLED})
_WITH_TRACKING = frozenset({Status.SHIPPED, Status.PARTIALLY_SHIPPED})
# From what was told to what may be told next.
_NEXT: Mapping[Status, frozenset[Status]] = {
    Status.PENDING_SUPPLIER: frozenset(Status) - {Status.PENDING_SUPPLIER},
    Status.ORDERED: frozenset(Status) - {Status.PENDING_SUPPLIER},
    Status.BACK_ORDERED: frozenset(Status) - {Status.PENDING_SUPPLIER},
    **{
        hold: frozenset(Status) - {Status.PENDING_SUPPLIER, Status.ORDERED}
        for hold in _HOLDS - {Status.BACK_ORDERED}
    },
    Status.PARTIALLY_SHIPPED: frozenset({Status.PARTIALLY_SHIPPED, Status.SHIPPED}),
    Status.SHIPPED: frozenset({Status.SHIPPED}),
    Status.CANCELLED: frozenset({Status.CANCELLED}),
}
_BY_NAME = {status.value.casefold(): status for status in Status}


def _is_before(status: Status, other: Status) -> bool:
    """Return whether a line goes from the one state to the other, and never back."""
    return other in _NEXT[status] and status not in _NEXT[other]


@dataclass(frozen=True, slots=True)
class ReportedLine:
    """What iQmetrix knows of one line; ``quantity`` counts the shipped or cancelled units so far."""

    status: Status
    quantity: int | None = None
    tracking: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    message: str | None = None

    def differs(self, told: ReportedLine | None) -> bool:
        """Whether it must be told; a text alone is news only while a line is held."""
        if told is None or self.status is not told.status:
            return True
        if self.status in _HOLDS and self.message != told.message:
            return True
        return (self.quantity, self.tracking, self.carriers) != (told.quantity, told.tracking, told.carriers)


@dataclass(frozen=True, slots=True)
class View:
    """What iQmetrix was told about an order: per line id, and whether items were told with tracking numbers."""

    lines: Mapping[str, ReportedLine] = field(default_factory=dict)
    tracked_by_item: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states, each once."""
        return _unique(line.status.value for line in self.lines.values())

    def is_echoed_by(self, shown: Iterable[str]) -> bool:
        """Return whether the feed, by showing these states, shows this report or what came after it.

        It does not if all of them are states that the report has left behind: then an earlier report is shown, only now.
        A name that is not known may be of any state.
        """
        reported = {line.status for line in self.lines.values()}
        return not (states := list(shown)) or any(
            (status := _BY_NAME.get(name.strip().casefold())) is None
            or not all(_is_before(status, of_line) for of_line in reported)
            for name in states
        )

    def to_json(self) -> dict[str, Any]:
        """Render as plain JSON values, to be kept."""
        return {
            "lines": {
                line_id: {
                    "status": line.status.value,
                    "quantity": line.quantity,
                    "tracking": list(line.tracking),
                    "carriers": list(line.carriers),
                    "message": line.message,
                }
                for line_id, line in self.lines.items()
            },
            "tracked_by_item": self.tracked_by_item,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> View | None:
        """Read what ``to_json`` rendered; None stays None."""
        if document is None:
            return None
        return cls(
            {
                line_id: ReportedLine(
                    status=Status(line["status"]),
                    quantity=line["quantity"],
                    tracking=tuple(line["tracking"]),
                    carriers=tuple(line["carriers"]),
                    message=line["message"],
                )
                for line_id, line in document["lines"].items()
            },
            document["tracked_by_item"],
        )


@dataclass(frozen=True, slots=True)
class Update:
    """One call to make; ``view`` is to be recorded as told once it has succeeded."""

    kind: Literal["order", "items"]
    body: OrderStatusUpdate | ItemStatusUpdate
    view: View

    @property
    def note(self) -> str:
        """What is told, in short and without personal data."""
        if isinstance(self.body, OrderStatusUpdate):
            return f"told {self.body.Status}"
        return f"told {', '.join(dict.fromkeys(item.Status.value for item in self.body.ItemInformation))} by item"


def next_update(order: Order, told: View | None, *, picked_up: bool, settings: Iqmetrix) -> Update | None:
    """Return the update that iQmetrix must get now, or None when it has it.

    Args:
        order: as recorded, after the event at hand.
        told: what was told last; None: nothing yet.
        picked_up: the event at hand is the pick-up or the acceptance of the order, which say ``Ordered``.
        settings: of the account; ``tracking_sites`` fill ``Info``.
    """
    known = told or View()
    packages = order.packages_by_line()
    wanted = {
        line.line_id: state
        for line in order.lines
        if (state := _wanted(line, packages.get(line.line_id, ()), known, picked_up=picked_up)) is not None
    }
    changed = [line_id for line_id, state in wanted.items() if state.differs(known.lines.get(line_id))]
    if not changed:
        return None
    view = View({**known.lines, **wanted}, known.tracked_by_item)
    if _fits_the_order(order, wanted, known):
        return Update("order", _order_update(order, wanted, settings), view)
    tracked = known.tracked_by_item or any(wanted[line_id].tracking for line_id in changed)
    return Update(
        "items", _item_update(order, wanted, changed, settings), replace(view, tracked_by_item=tracked)
    )


def _wanted(line: Line, packages: Sequence[Package], known: View, *, picked_up: bool) -> ReportedLine | None:
    """The state to tell for a line: what it has come to, unless that would be a step back; None: leave it out."""
    told = known.lines.get(line.line_id)
    state = _state(line, packages)
    if state is None and _is_ordered(line, known, told, picked_up=picked_up):
        state = ReportedLine(Status.ORDERED, message=RECEIVED if told is None else None)
    if state is None or (told is not None and state.status not in _NEXT[told.status]):
        return told
    return state


def _state(line: Line, packages: Sequence[Package]) -> ReportedLine | None:
    """What the recorded state alone says; None for a line of which nothing is shipped, held or resolved."""
    if line.shipped:
        return ReportedLine(
            status=Status.PARTIALLY_SHIPPED if line.left else Status.SHIPPED,
            quantity=line.shipped,
            tracking=_unique(package.tracking_number for package in packages),
            carriers=_unique(package.carrier for package in packages),
            message=None if line.left else _partly_cancelled(line),
        )
    if not line.left:
        return ReportedLine(Status.CANCELLED, quantity=line.cancelled, message=line.message)
    if line.hold is not None:
        return ReportedLine(_status_of(line.hold), message=line.message)
    return None


def _status_of(hold: Hold) -> Status:
    return Status(hold.value)


def _partly_cancelled(line: Line) -> str | None:
    """No form is documented for cancelling a part of a line: the shipped quantity, and the rest in words."""
    if not line.cancelled:
        return None
    text = f"{line.cancelled} of {line.quantity} cancelled"
    return f"{text}: {line.message}" if line.message else text


def _is_ordered(line: Line, known: View, told: ReportedLine | None, *, picked_up: bool) -> bool:
    """An automatic Ordered is dropped once anything was told; a back-order that was lifted leads to Ordered.

    A held line of which a part is cancelled stays as it was told: nothing until the line is resolved.
    """
    if not known.lines:
        return picked_up
    return told is not None and told.status is Status.BACK_ORDERED and not line.cancelled


def _fits_the_order(order: Order, wanted: Mapping[str, ReportedLine], known: View) -> bool:
    """Whether one order-level update says it all.

    Not so for quantities (a line shipped in part or less what was cancelled), several carriers, texts that differ,
    and a shipment that was told by item before.
    """
    if len(wanted) != len(order.lines) or len({view.status for view in wanted.values()}) != 1:
        return False
    status = next(iter(wanted.values())).status
    match status:
        case Status.SHIPPED:
            whole = not any(line.cancelled for line in order.lines)
            return (
                whole
                and not known.tracked_by_item
                and len({package.carrier for package in order.packages}) == 1
            )
        case Status.PARTIALLY_SHIPPED:
            return False
        case Status.CANCELLED | Status.ORDERED:
            return True
        case _:
            return len({view.message for view in wanted.values()}) == 1


def _order_update(order: Order, wanted: Mapping[str, ReportedLine], settings: Iqmetrix) -> OrderStatusUpdate:
    views = tuple(wanted.values())
    status = views[0].status
    packages = order.packages if status in _WITH_TRACKING else ()
    return OrderStatusUpdate(
        Id=order.details.source_order_id,
        Status=status,
        Message="; ".join(_unique(view.message for view in views if view.message)) or None,
        **_shipment(
            _unique(package.tracking_number for package in packages),
            _unique(package.carrier for package in packages),
            settings,
        ),
    )


def _item_update(
    order: Order, wanted: Mapping[str, ReportedLine], changed: Iterable[str], settings: Iqmetrix
) -> ItemStatusUpdate:
    lines = order.lines_by_id()
    return ItemStatusUpdate(
        Id=order.details.source_order_id,
        ItemInformation=tuple(_item(lines[line_id], wanted[line_id], settings) for line_id in changed),
    )


def _item(line: Line, view: ReportedLine, settings: Iqmetrix) -> ItemInformation:
    return ItemInformation(
        Sku=line.sku,
        CatalogId=line.catalog_id,
        Quantity=view.quantity,
        Status=view.status,
        Message=view.message,
        **_shipment(view.tracking, view.carriers, settings),
    )


def _shipment(tracking: tuple[str, ...], carriers: tuple[str, ...], settings: Iqmetrix) -> dict[str, str]:
    """The fields about parcels; several numbers are joined by commas (newest Supplier Orders reference)."""
    by_carrier = {name.strip().casefold(): site for name, site in settings.tracking_sites.items()}
    found = (by_carrier.get(carrier.strip().casefold()) for carrier in carriers)
    sites = _unique(site for site in found if site is not None)
    fields = {"TrackingInfo": tracking, "ShippingProvider": carriers, "Info": sites}
    return {name: ",".join(values) for name, values in fields.items() if values}


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
