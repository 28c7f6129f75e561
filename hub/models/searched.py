"""Texts of an order that people search for: each is in an index of the state store, and no index holds an endless one.

Called by the partners' translators before an order is recorded. The payloads themselves are not narrowed: orders that a
store has taken are read again by them.
"""

from __future__ import annotations

from hub.models.published import OrderCreated

# PostgreSQL refuses index entries above 2704 bytes.
LONGEST_SEARCHED = 2000


def too_long_to_search(order: OrderCreated) -> str | None:
    """Give the path of the first text that takes more than ``LONGEST_SEARCHED`` bytes in UTF-8, or None."""
    texts = [("order_number", order.order_number), ("po_reference", order.po_reference)]
    texts += [(f"lines.{position}.sku", line.sku) for position, line in enumerate(order.lines)]
    return next((path for path, text in texts if text and _is_too_long(text)), None)


def _is_too_long(text: str) -> bool:
    # Encoded only where it may matter: a character takes at most four bytes.
    return len(text) * 4 > LONGEST_SEARCHED and len(text.encode()) > LONGEST_SEARCHED
