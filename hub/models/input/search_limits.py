"""Texts of an order that people search for: each is in an index of the state store, and no index holds an endless one.

Called by the partners' translators before an order is recorded. The payloads themselves are not narrowed: orders that a
store has taken are read again by them.
"""

from __future__ import annotations

from hub.models.order_events import OrderCreated

# PostgreSQL refuses index entries above 2704 bytes.
LONGEST_SEARCHED = 2000


def too_long_to_search(order: OrderCreated) -> str | None:
    """Return the path of the first text that takes more than ``LONGEST_SEARCHED`` bytes in UTF-8, or None."""
    if _is_too_long(order.order_number):
        return "order_number"
    if _is_too_long(order.po_reference):
        return "po_reference"
    skus = (position for position, line in enumerate(order.lines) if _is_too_long(line.sku))
    return next((f"lines.{position}.sku" for position in skus), None)


def _is_too_long(text: str | None) -> bool:
    # Encoded only where it may matter: a character takes at most four bytes.
    return text is not None and len(text) * 4 > LONGEST_SEARCHED and len(text.encode()) > LONGEST_SEARCHED
