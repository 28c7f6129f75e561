"""The bodies of status and availability updates, read as strictly as the documents allow.

iQmetrix Supplier Orders reference, 25-01-2016 (OrderStatusUpdate, ItemStatusUpdate) and iQmetrix Supplier Availability reference,
23-03-2016. What the partner would forgive becomes a violation and is applied the way the documents say; what it cannot
understand is refused with 400. Violations name fields, never values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hub.sandbox.request_log import Refused

__all__ = ["STATUSES", "LineUpdate", "OrderUpdate", "read_availability", "read_update"]

# The index of each name is the number that the newest text also speaks of.
STATUSES: Final = (
    "PendingSupplier",
    "Ordered",
    "Shipped",
    "BackOrdered",
    "Error",
    "NotAvailable",
    "PartiallyShipped",
    "Cancelled",
    "Other",
)

_RESERVED: Final = frozenset({"ReferenceName", "ReferenceValue"})
_TEXTS: Final = ("TrackingInfo", "ShippingProvider", "Info", "Message")
_ORDER_KEYS: Final = frozenset({"Id", "Status", *_TEXTS})
_ITEMS_KEYS: Final = frozenset({"Id", "ItemInformation"})
_LINE_KEYS: Final = frozenset({"Sku", "CatalogId", "Quantity", "Status", "ProductName", *_TEXTS})
_PRODUCT_KEYS: Final = frozenset({"Sku", "IsAvailable", "Quantity"})

Note = Callable[[str], None]
"""Takes the text of a violation."""


@dataclass(frozen=True, slots=True)
class LineUpdate:
    """What an update says of one line, or of every line."""

    status: str
    tracking: str | None
    provider: str | None
    info: str | None
    message: str | None
    sku: str | None = None
    catalog_id: str | None = None
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """One update: either of the whole order (`every_line`) or of the lines listed; `echo` is the partner's answer."""

    every_line: LineUpdate | None
    lines: tuple[LineUpdate, ...]
    echo: dict[str, Any]


def read_update(body: bytes, order_id: str, note: Note) -> OrderUpdate:
    """Read the body of an order or item status update; the presence of `ItemInformation` tells which.

    Raises:
        Refused: 400, when it is no JSON object, its `Id` is not the order of the path, or a status is unknown.
    """
    document = _object(_json(body), "body", note)
    identifier = document.get("Id")
    if identifier != order_id:
        note("Id: must be sent and equal the order id of the path")
        raise Refused(400, "The request is invalid")
    if "ItemInformation" in document:
        return _items_update(document, order_id, note)
    _check_keys(document, _ORDER_KEYS, "", note)
    update = _line(document, "", note)
    if update.status == "Shipped" and not (update.tracking and update.provider):
        note("Status: Shipped without TrackingInfo and ShippingProvider")
    echo = {"Id": order_id, "Status": update.status} | _echo_texts(update)
    return OrderUpdate(update, (), echo)


def read_availability(body: bytes, note: Note) -> list[dict[str, Any]]:
    """Read the body of an availability push and return its products with the documented defaults.

    Raises:
        Refused: 400, when it is no JSON object with a list of products that each have a SKU.
    """
    document = _object(_json(body), "body", note)
    _check_keys(document, frozenset({"Products"}), "", note)
    products = [
        _object(product, "Products", note) for product in _array(document.get("Products"), "Products", note)
    ]
    return [_product(product, f"Products[{position}].", note) for position, product in enumerate(products)]


def _items_update(document: dict[str, Any], order_id: str, note: Note) -> OrderUpdate:
    _check_keys(document, _ITEMS_KEYS, "", note)
    elements = _array(document["ItemInformation"], "ItemInformation", note)
    if not elements:
        note("ItemInformation: empty, which does nothing")
    lines = tuple(
        _item(element, f"ItemInformation[{position}].", note) for position, element in enumerate(elements)
    )
    if len({(line.sku, line.catalog_id) for line in lines}) < len(lines):
        note("ItemInformation: the same line twice")
    return OrderUpdate(None, lines, {"Id": order_id, "ItemInformation": [_echo_line(line) for line in lines]})


def _item(element: object, where: str, note: Note) -> LineUpdate:
    fields = _object(element, where, note)
    _check_keys(fields, _LINE_KEYS, where, note)
    _text(fields, "ProductName", where, note)
    line = _line(fields, where, note)
    if not line.sku:
        note(f"{where}Sku: required")
        raise Refused(400, "The request is invalid")
    if line.status in {"Shipped", "PartiallyShipped"} and not line.tracking:
        note(f"{where}TrackingInfo: each shipment must have its tracking number")
    return line


def _line(fields: dict[str, Any], where: str, note: Note) -> LineUpdate:
    tracking, provider, info, message = (_text(fields, name, where, note) for name in _TEXTS)
    return LineUpdate(
        status=_status(fields, where, note),
        tracking=tracking,
        provider=provider,
        info=info,
        message=message,
        sku=_text(fields, "Sku", where, note),
        catalog_id=_text(fields, "CatalogId", where, note),
        quantity=_integer(fields, "Quantity", where, note),
    )


def _status(fields: dict[str, Any], where: str, note: Note) -> str:
    status = fields.get("Status")
    if status is None:
        note(f"{where}Status: left out, which resets to PendingSupplier")
        return "PendingSupplier"
    if isinstance(status, int) and not isinstance(status, bool) and 0 <= status < len(STATUSES):
        note(f"{where}Status: a number where a name is documented")
        return STATUSES[status]
    if status not in STATUSES:
        note(f"{where}Status: not in the documented list")
        raise Refused(400, "The request is invalid")
    return str(status)


def _text(fields: dict[str, Any], name: str, where: str, note: Note) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    note(f"{where}{name}: {type(value).__name__} where a string is documented")
    if isinstance(value, dict | list):
        raise Refused(400, "The request is invalid")
    return str(value)


def _integer(fields: dict[str, Any], name: str, where: str, note: Note) -> int | None:
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    note(f"{where}{name}: {type(value).__name__} where an integer is documented")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise Refused(400, "The request is invalid")


def _product(fields: dict[str, Any], where: str, note: Note) -> dict[str, Any]:
    _check_keys(fields, _PRODUCT_KEYS, where, note)
    sku = _text(fields, "Sku", where, note)
    available = fields.get("IsAvailable", False)
    quantity = _integer(fields, "Quantity", where, note) or 0
    if not sku or not isinstance(available, bool) or quantity < 0:
        note(f"{where[:-1]}: needs a Sku, a boolean IsAvailable and a Quantity that is not negative")
        raise Refused(400, "The request is invalid")
    if "IsAvailable" not in fields:
        note(f"{where}IsAvailable: left out, which makes the product unavailable")
    return {"IsAvailable": available, "Sku": sku, "Quantity": quantity}


def _echo_line(line: LineUpdate) -> dict[str, Any]:
    echo = {"Sku": line.sku, "CatalogId": line.catalog_id, "Quantity": line.quantity, "Status": line.status}
    return echo | _echo_texts(line)


def _echo_texts(line: LineUpdate) -> dict[str, Any]:
    return dict(zip(_TEXTS, (line.tracking, line.provider, line.info, line.message), strict=True))


def _json(body: bytes) -> object:
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed


def _object(value: object, where: str, note: Note) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    note(f"{where}: not a JSON object")
    raise Refused(400, "The request is invalid")


def _array(value: object, where: str, note: Note) -> list[Any]:
    if isinstance(value, list):
        return value
    note(f"{where}: not a JSON array")
    raise Refused(400, "The request is invalid")


def _check_keys(fields: dict[str, Any], known: frozenset[str], where: str, note: Note) -> None:
    for name in sorted(fields.keys() - known):
        reason = "reserved, must not be sent" if name in _RESERVED else "not a documented field"
        note(f"{where}{name}: {reason}")
