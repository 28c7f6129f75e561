"""The bodies of RetailOps calls, read as strictly as the documents allow.

RetailOps Interaction Guide for Dropship Integrations. What the loosely typed partner would forgive (a number as text) becomes a
violation and is read all the same; what it cannot understand is a violation and refuses the call. Whether a record fits its PO is
not decided here. Violations name fields, never values.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from hub.sandbox.retailops.envelope import ApiError

__all__ = [
    "STATUSES",
    "Advice",
    "Completion",
    "EstimatedDate",
    "FetchQuery",
    "Mark",
    "Package",
    "read_advice",
    "read_classes_query",
    "read_completion",
    "read_dates",
    "read_fetch",
    "read_marks",
    "read_object",
]

STATUSES: Final = ("open", "ready", "submitted", "accepted", "complete")

# The guide: up to 1000 POs per call; clients report the same limit for inventory.
_BATCH_LIMIT: Final = 1000

# The form that the guide prints, 2015-07-02T14:47:47Z.
_SHIP_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

_FETCH_KEYS: Final = frozenset({"vendor_id", "start", "limit", "status", "with_items"})
_PACKAGE_KEYS: Final = frozenset({"ship_class_id", "tracking_number", "unit_count", "items"})
_ADVICE_KEYS: Final = frozenset({"vendor_id", "vendor_name", "vpc", "quantity", "active", "unit_cost"})

Note = Callable[[str], None]
"""Takes the text of a violation."""


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """Which POs are asked for; no statuses is every status."""

    vendor_id: str
    start: int
    limit: int
    statuses: frozenset[str]
    with_items: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """One PO with the lines that are marked: pairs of `po_item_id` and quantity."""

    po: str
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EstimatedDate:
    """When these lines of a PO are expected to ship: pairs of `po_item_id` and quantity."""

    po: str
    at: datetime
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Package:
    """One parcel: pairs of product code and quantity."""

    ship_class_id: int
    tracking_number: str
    unit_count: int
    items: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One PO with all its parcels."""

    po: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """How many of a product the vendor has; `vendor_id` is None when the vendor is named by name."""

    vendor_id: str | None
    vpc: str
    quantity: int


def read_object(body: bytes, note: Note) -> dict[str, Any]:
    """Read a body that must be a JSON object.

    Raises:
        ApiError: it is not; every other reader here raises it for what it cannot understand.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    return _object(document, "body", note)


def read_fetch(document: dict[str, Any], note: Note) -> FetchQuery:
    """Read the body of `Vendor.PO.Fetch`."""
    _check_keys(document, _FETCH_KEYS, "", note)
    start, limit = _integer(document, "start", "", note), _integer(document, "limit", "", note)
    if start < 0 or limit < 1:
        note("start, limit: a window needs a start of 0 or more and a limit of 1 or more")
        raise ApiError("invalid window")
    with_items = document.get("with_items", False)
    if not isinstance(with_items, bool):
        note("with_items: a boolean is documented")
    return FetchQuery(
        vendor_id=_text(document, "vendor_id", "", note),
        start=start,
        limit=limit,
        statuses=_statuses(document.get("status"), note),
        with_items=with_items in (True, "1"),
    )


def read_marks(document: dict[str, Any], note: Note) -> list[Mark]:
    """Read the body of `Vendor.PO.MarkSubmitted` or `Vendor.PO.MarkAccepted`."""
    marks = []
    for fields, where in _records(document, frozenset({"records"}), note):
        _check_keys(fields, frozenset({"po", "items"}), where, note)
        marks.append(Mark(_text(fields, "po", where, note), _line_items(fields, where, note)))
    return marks


def read_dates(document: dict[str, Any], note: Note) -> list[EstimatedDate]:
    """Read the body of `Vendor.PO.UpdateEstShipDate`."""
    dates = []
    for fields, where in _records(document, frozenset({"records"}), note):
        _check_keys(fields, frozenset({"po", "estimated_ship_date", "items"}), where, note)
        po, at = _text(fields, "po", where, note), _ship_date(fields, where, note)
        dates.append(EstimatedDate(po, at, _line_items(fields, where, note)))
    return dates


def read_completion(document: dict[str, Any], note: Note) -> Completion:
    """Read the body of `Vendor.PO.Complete`: one PO, no `records`."""
    _check_keys(document, frozenset({"po", "packages"}), "", note)
    packages = _array(document, "packages", "", note)
    if not packages:
        note("packages: empty, and no call that cancels is documented")
        raise ApiError("packages are required")
    return Completion(
        _text(document, "po", "", note),
        tuple(_package(package, f"packages[{at}]", note) for at, package in enumerate(packages)),
    )


def read_advice(document: dict[str, Any], note: Note) -> list[Advice]:
    """Read the body of `Product.ExternalSku.Update`, version 2."""
    advices = []
    for fields, where in _records(document, frozenset({"records", "with_detailed_response"}), note):
        _check_keys(fields, _ADVICE_KEYS, where, note)
        named = "vendor_name" in fields and "vendor_id" not in fields
        vendor_id = None if named else _text(fields, "vendor_id", where, note)
        vpc, quantity = _text(fields, "vpc", where, note), _integer(fields, "quantity", where, note)
        advices.append(Advice(vendor_id, vpc, quantity))
    return advices


def read_classes_query(document: dict[str, Any], note: Note) -> None:
    """Check the body of `Constant.Ship.CarrierClass.fetch`: `{"all": 1}`, or "1" as a client sends."""
    _check_keys(document, frozenset({"all"}), "", note)
    if document.get("all") not in (1, "1"):
        note("all: 1 is documented")


def _package(element: object, where: str, note: Note) -> Package:
    fields = _object(element, where, note)
    _check_keys(fields, _PACKAGE_KEYS, f"{where}.", note)
    items = []
    for at, item in enumerate(_array(fields, "items", f"{where}.", note)):
        inside, inner = f"{where}.items[{at}].", _object(item, f"{where}.items[{at}]", note)
        _check_keys(inner, frozenset({"vpc", "quantity"}), inside, note)
        items.append((_text(inner, "vpc", inside, note), _integer(inner, "quantity", inside, note)))
    return Package(
        ship_class_id=_integer(fields, "ship_class_id", f"{where}.", note),
        tracking_number=_text(fields, "tracking_number", f"{where}.", note),
        unit_count=_integer(fields, "unit_count", f"{where}.", note),
        items=tuple(items),
    )


def _records(document: dict[str, Any], known: frozenset[str], note: Note) -> list[tuple[dict[str, Any], str]]:
    _check_keys(document, known, "", note)
    records = _array(document, "records", "", note)
    if not 1 <= len(records) <= _BATCH_LIMIT:
        note(f"records: not between 1 and {_BATCH_LIMIT}")
        raise ApiError(f"records must hold 1 to {_BATCH_LIMIT} elements", "1002")
    return [(_object(record, f"records[{at}]", note), f"records[{at}].") for at, record in enumerate(records)]


def _line_items(fields: dict[str, Any], where: str, note: Note) -> tuple[tuple[int, int], ...]:
    items = []
    for at, element in enumerate(_array(fields, "items", where, note)):
        inside, item = f"{where}items[{at}].", _object(element, f"{where}items[{at}]", note)
        _check_keys(item, frozenset({"po_item_id", "quantity"}), inside, note)
        items.append((_integer(item, "po_item_id", inside, note), _integer(item, "quantity", inside, note)))
    return tuple(items)


def _statuses(value: object, note: Note) -> frozenset[str]:
    if value is None:
        note("status: left out, which asks for every status")
        return frozenset()
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word in STATUSES for word in words):
        note("status: not a documented status or an array of them")
        raise ApiError("invalid status")
    return frozenset(words)


def _ship_date(fields: dict[str, Any], where: str, note: Note) -> datetime:
    text = _text(fields, "estimated_ship_date", where, note)
    try:
        if _SHIP_DATE.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        pass  # A date that no calendar has, such as February 30, is refused like any other.
    note(f"{where}estimated_ship_date: not of the documented form")
    raise ApiError("invalid estimated_ship_date")


def _integer(fields: dict[str, Any], name: str, where: str, note: Note) -> int:
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    note(f"{where}{name}: {_kind(value)} where an integer is documented")
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        return int(value)
    raise ApiError(f"invalid {name}")


def _text(fields: dict[str, Any], name: str, where: str, note: Note) -> str:
    value = fields.get(name)
    if isinstance(value, str) and value:
        return value
    note(f"{where}{name}: {_kind(value)} where a string is documented")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ApiError(f"invalid {name}")


def _object(value: object, where: str, note: Note) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    note(f"{where}: not a JSON object")
    raise ApiError("invalid request")


def _array(fields: dict[str, Any], name: str, where: str, note: Note) -> list[Any]:
    value = fields.get(name)
    if isinstance(value, list):
        return value
    note(f"{where}{name}: {_kind(value)} where an array is documented")
    raise ApiError(f"invalid {name}")


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "an empty string" if value == "" else type(value).__name__


def _check_keys(fields: dict[str, Any], known: frozenset[str], where: str, note: Note) -> None:
    for name in sorted(fields.keys() - known):
        note(f"{where}{name}: not a documented field")
