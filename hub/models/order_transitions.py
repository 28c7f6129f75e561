"""What each fulfillment event does to an order: pure functions over frozen values.

``apply`` takes an order and an event and gives the order after it, together with a note of what the event did
(``Applied``). Updates to partners are computed from these two, never from the event alone, so that two partial shipments
in any order end in one right final state.

It does no I/O; ``hub.state`` stores orders and calls ``apply`` inside one transaction.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from hub.models.events import (
    AnyEvent,
    LineRef,
    OrderAccepted,
    OrderBackordered,
    OrderCancelled,
    OrderChanged,
    OrderCreated,
    OrderFailed,
    OrderShipped,
    ShippedPackage,
)
from hub.models.input.quoting import shown_id
from hub.models.order import Applied, Cancellation, Hold, Line, Order, Package, PackageItem, Rest
from hub.models.types import same_guid


class FieldError(ValueError):
    """An event does not fit the order; ``field`` is the path in the event's data."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# Of two things that are said of the same moment the stronger counts, whichever came first: publishers that count in
# seconds say "one unit shipped" and "the rest is back-ordered" at once. A back-order stands next to nothing at all,
# since an acceptance may turn it into that, and then it must not have won against anything it would lose to.
_STRENGTH: Mapping[Hold | None, int] = {
    None: 0,
    Hold.BACKORDERED: 1,
    Hold.OTHER: 2,
    Hold.NOT_AVAILABLE: 3,
    Hold.ERROR: 4,
}


# Before every event.
_NEVER = datetime.min.replace(tzinfo=UTC)


def apply(order: Order, event: AnyEvent) -> tuple[Order, Applied]:
    """Return the order after ``event``, and what the event did.

    Event types that say nothing about the recorded state leave the order as it is.

    Raises:
        FieldError: an unknown line, an ambiguous sku, or more units than are left.
    """
    match event.data:
        case OrderShipped() as shipped:
            return _ship(order, event, shipped)
        case OrderCancelled() as cancelled:
            return _cancel(order, event, cancelled)
        case OrderBackordered() as backordered:
            return _hold(order, event, Hold.BACKORDERED, backordered.lines, backordered.message)
        case OrderFailed() as failed:
            return _hold(order, event, Hold(failed.status), failed.lines, failed.message)
        case OrderAccepted():
            return _accept(order, event)
        case OrderChanged() as changed:
            return _change(order, event, changed)
        case _:
            return order, Applied(rest=_rest(order))


def likely_duplicates(before: Order, applied: Applied) -> Iterator[tuple[Package, Package]]:
    """Return each package that an event added with the earlier one that holds the same under another id, if there is one.

    Args:
        before: the order before the event.
        applied: what the event did.
    """
    known = {_content(package): package for package in reversed(before.packages)}
    for package in applied.packages:
        earlier = known.setdefault(_content(package), package)
        if earlier is not package:
            yield package, earlier


def _content(package: Package) -> tuple[object, ...]:
    """Return what two reports of one parcel have in common."""
    return package.carrier, package.tracking_number, frozenset(package.items)


def _ship(order: Order, event: AnyEvent, shipped: OrderShipped) -> tuple[Order, Applied]:
    recorded: list[Package] = []
    known = {package.package_id for package in order.packages}
    places = _Places(order)
    # Changed line by line: an event may have thousands of packages, of an order with thousands of lines.
    lines = list(order.lines)
    for position, parcel in enumerate(shipped.packages):
        path = f"packages.{position}"
        package_id = parcel.package_id or f"{event.id}:{position + 1}"
        if package_id in known:
            raise FieldError(
                f"{path}.package_id", f"expected a new package, {shown_id(package_id)!r} was reported before"
            )
        known.add(package_id)
        items = _shipped_items(lines, parcel, path, places)
        for item in items:
            place = places.by_id[item.line_id]
            lines[place] = _moved(lines[place], event, _Move(shipped=item.quantity))
        recorded.append(
            Package(
                package_id=package_id,
                event_id=event.id,
                carrier=parcel.carrier,
                service=parcel.service,
                tracking_number=parcel.tracking_number,
                weight_lb=parcel.weight_lb,
                shipping_cost_cents=parcel.shipping_cost_cents,
                shipped_at=shipped.shipped_at or event.time,
                items=items,
            )
        )
    order = replace(order, lines=tuple(lines), packages=(*order.packages, *recorded))
    return order, Applied(packages=tuple(recorded), rest=_rest(order))


def _shipped_items(
    lines: Sequence[Line], parcel: ShippedPackage, path: str, places: _Places
) -> tuple[PackageItem, ...]:
    if not parcel.items:
        rest = tuple(PackageItem(line_id=line.line_id, quantity=line.left) for line in lines if line.left)
        if not rest:
            raise FieldError(f"{path}.items", "expected something left to ship, the order is finished")
        return rest
    units: dict[str, int] = {}
    for position, item in enumerate(parcel.items):
        line = _find(lines, item, f"{path}.items.{position}", places)
        units[line.line_id] = units.get(line.line_id, 0) + item.quantity
        if units[line.line_id] > line.left:
            raise FieldError(
                f"{path}.items.{position}.quantity",
                f"expected at most the {line.left} left of line {shown_id(line.line_id)!r}, got {units[line.line_id]}",
            )
    return tuple(PackageItem(line_id=line_id, quantity=quantity) for line_id, quantity in units.items())


def _cancel(order: Order, event: AnyEvent, cancelled: OrderCancelled) -> tuple[Order, Applied]:
    places = _Places(order)
    units = _cancelled_units(order, cancelled, places)
    order = _with_lines(
        order,
        event,
        {line_id: _Move(cancelled=quantity, reason=reason) for line_id, quantity, reason in units},
    )
    done = [
        Cancellation(
            line_id=line_id,
            quantity=quantity,
            cumulative=(line := order.lines[places.by_id[line_id]]).cancelled,
            ordered=line.quantity,
            reason=reason,
        )
        for line_id, quantity, reason in units
    ]
    whole = all(line.cancelled == line.quantity for line in order.lines)
    return order, Applied(cancellations=tuple(done), whole_order_cancelled=whole, rest=_rest(order))


def _cancelled_units(
    order: Order, cancelled: OrderCancelled, places: _Places
) -> Sequence[tuple[str, int, str | None]]:
    if not cancelled.lines:
        rest = [(line.line_id, line.left, cancelled.reason) for line in order.lines if line.left]
        if not rest:
            raise FieldError("lines", "expected something left to cancel, the order is finished")
        return rest
    units: dict[str, tuple[int, str | None]] = {}
    for position, item in enumerate(cancelled.lines):
        line = _find(order.lines, item, f"lines.{position}", places)
        before, reason = units.get(line.line_id, (0, None))
        quantity = before + (item.quantity or line.left - before)
        if quantity > line.left or quantity == before:
            raise FieldError(
                f"lines.{position}.quantity",
                f"expected at most the {line.left} left of line {shown_id(line.line_id)!r}, got {quantity}",
            )
        units[line.line_id] = quantity, item.reason or reason or cancelled.reason
    return [(line_id, quantity, reason) for line_id, (quantity, reason) in units.items()]


def _hold(
    order: Order, event: AnyEvent, hold: Hold, refs: Sequence[LineRef] | None, message: str | None
) -> tuple[Order, Applied]:
    held = _line_ids(order, refs)
    lines = tuple(
        _said(line, event.time, hold, message) if line.line_id in held else line for line in order.lines
    )
    order = replace(order, lines=lines)
    return order, Applied(rest=_rest(order))


def _accept(order: Order, event: AnyEvent) -> tuple[Order, Applied]:
    """Lift older back-orders, those too that arrive later; other holds are a person's to lift by shipping or cancelling."""
    order = replace(order, lines=tuple(_accepted(line, event.time) for line in order.lines))
    return order, Applied(rest=_rest(order))


def _change(order: Order, event: AnyEvent, changed: OrderChanged) -> tuple[Order, Applied]:
    """Order what the partner orders now, and keep what was done: never fewer units than shipped and cancelled."""
    if order.changed_at is not None and event.time < order.changed_at:
        return order, Applied(rest=_rest(order))
    before = {line.line_id: line for line in order.lines}
    details = OrderCreated.model_validate(changed.model_dump())
    lines = [_reordered(before.pop(line.line_id, line), line) for line in Order.new(details).lines]
    lines += [
        _reordered(line, replace(line, quantity=0))
        for line in before.values()
        if line.shipped or line.cancelled
    ]
    order = replace(order, details=details, lines=tuple(lines), changed_at=event.time)
    return order, Applied(rest=_rest(order))


def _reordered(line: Line, wanted: Line) -> Line:
    """Return a line with what is ordered now; a line that is finished by it holds no more."""
    return _unless_void(
        replace(
            line,
            sku=wanted.sku,
            quantity=max(wanted.quantity, line.shipped + line.cancelled),
            catalog_id=wanted.catalog_id,
            unit_price_cents=wanted.unit_price_cents,
        )
    )


def _accepted(line: Line, at: datetime) -> Line:
    line = replace(line, accepted_at=max(line.accepted_at or at, at))
    # Of the same moment the one that arrives later counts: many publishers count in seconds, and either may be meant.
    if line.hold is Hold.BACKORDERED and line.status_at is not None and line.status_at <= at:
        return _free(line)
    return line


def _said(line: Line, at: datetime, hold: Hold | None = None, message: str | None = None) -> Line:
    """Hold a line or lift its hold, unless something newer (or stronger, of the same moment) is known of it."""
    known = (line.status_at or _NEVER, _STRENGTH[line.hold], line.hold_message or "")
    if (at, _STRENGTH[hold], message or "") > known:
        line = replace(line, hold=hold, hold_message=message, status_at=at)
    return _unless_void(line)


def _unless_void(line: Line) -> Line:
    """Lift a hold of a finished line, and a back-order from before the last acceptance."""
    if line.hold is None or line.status_at is None:
        return line
    accepted = line.accepted_at is not None and line.status_at < line.accepted_at
    if line.left and not (accepted and line.hold is Hold.BACKORDERED):
        return line
    return _free(line)


def _free(line: Line) -> Line:
    """Lift the hold; ``status_at`` stays, since what is older than the hold must not be applied after it."""
    return replace(line, hold=None, hold_message=None)


def _line_ids(order: Order, refs: Sequence[LineRef] | None) -> frozenset[str]:
    if not refs:
        return frozenset(line.line_id for line in order.lines)
    places = _Places(order)
    return frozenset(
        _find(order.lines, ref, f"lines.{position}", places).line_id for position, ref in enumerate(refs)
    )


class _Places:
    """Where the lines of an order stand, by line id and by sku: no event moves them."""

    def __init__(self, order: Order) -> None:
        self._lines = order.lines
        self.by_id: dict[str, int] = {}
        self.by_sku: dict[str, list[int]] = {}
        for place, line in enumerate(order.lines):
            self.by_id.setdefault(line.line_id, place)
            self.by_sku.setdefault(line.sku, []).append(place)
        self._by_spelling: dict[tuple[str, str], list[int]] = {}

    def of(self, name: str, text: str) -> Sequence[int]:
        """Return the places of the very id or sku, else of what is the same in another spelling."""
        if name == "line_id" and text in self.by_id:
            return (self.by_id[text],)
        if name == "sku" and text in self.by_sku:
            return self.by_sku[text]
        if not self._by_spelling:
            for place, line in enumerate(self._lines):
                for of, said in (("line_id", line.line_id), ("sku", line.sku)):
                    self._by_spelling.setdefault((of, _spelling(said, of)), []).append(place)
        return self._by_spelling.get((name, _spelling(text, name)), ())


def _spelling(text: str, name: str) -> str:
    """Return what spellings of one id have in common: a GUID in capitals or braces, a sku in capitals."""
    if name == "line_id":
        return same_guid(text)
    if not text.isascii():
        # An accent is one character or two, and what is copied from a page brings marks that nobody sees.
        seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
        text = unicodedata.normalize("NFC", seen)
    return text.strip().casefold()


def _find(lines: Sequence[Line], ref: LineRef, path: str, places: _Places) -> Line:
    name, text = ("line_id", ref.line_id) if ref.line_id is not None else ("sku", ref.sku or "")
    matches = [lines[place] for place in places.of(name, text)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        shown = [repr(shown_id(getattr(line, name))) for line in lines]
        a, known = ("line", ", ".join(shown)) if name == "line_id" else ("sku", ", ".join(sorted(set(shown))))
        raise FieldError(f"{path}.{name}", f"expected a {a} of the order ({known}), got {shown_id(text)!r}")
    found = ", ".join(repr(shown_id(line.line_id)) for line in matches)
    raise FieldError(f"{path}.{name}", f"{shown_id(text)!r} is ambiguous, name the line_id instead: {found}")


def loose_matches(order: Order, event: AnyEvent) -> Iterator[tuple[str, Line]]:
    """Return each id or sku of an event that names a line in another spelling than the order, with that line."""
    data = event.data
    refs: Iterable[LineRef] = getattr(data, "lines", None) or ()
    if isinstance(data, OrderShipped):
        refs = (item for package in data.packages for item in package.items or ())
    elif not isinstance(data, OrderCancelled | OrderBackordered | OrderFailed):
        return
    places = _Places(order)
    for ref in refs:
        text = ref.line_id if ref.line_id is not None else ref.sku
        line = _find(order.lines, ref, "", places)
        if text not in (line.line_id, line.sku):
            yield text or "", line


class _Move(NamedTuple):
    """Units that an event counts on one line."""

    shipped: int = 0
    cancelled: int = 0
    reason: str | None = None


def _with_lines(order: Order, event: AnyEvent, moves: Mapping[str, _Move]) -> Order:
    """Return the order with all moves made in one pass: an order may have thousands of lines."""
    lines = tuple(
        _moved(line, event, move) if (move := moves.get(line.line_id)) is not None else line
        for line in order.lines
    )
    return replace(order, lines=lines)


def _moved(line: Line, event: AnyEvent, move: _Move) -> Line:
    """Count units, and lift a hold: unless it is newer than the event and there still is something to hold."""
    line = replace(line, shipped=line.shipped + move.shipped, cancelled=line.cancelled + move.cancelled)
    if (reason := move.reason) and (event.time, reason) > (line.reason_at or _NEVER, line.reason or ""):
        line = replace(line, reason=reason, reason_at=event.time)
    return _said(line, event.time)


def _rest(order: Order) -> Rest:
    if not any(line.shipped for line in order.lines):
        return "accepted"
    return "partially_shipped" if any(line.left for line in order.lines) else "shipped"
