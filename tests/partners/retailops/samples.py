"""Purchase orders and settings, in the shapes of the RetailOps guide; all values invented."""

from typing import Any

from hub.config.settings import Retailops

VENDOR = "27"
BASE = "https://api.retailops.com"
KEY = "2Jt-secret-key"
LINES = (
    {"po_item_id": 90311, "vpc": "NF-CASE-GRA", "quantity": 2},
    {"po_item_id": 90312, "vpc": "NF-CHG-30", "quantity": 1},
)


def settings(**changes: Any) -> Retailops:
    return Retailops(**{"api_key": KEY, "vendor_id": VENDOR, **changes})


def a_po(po: str = "D48213", **changes: Any) -> dict[str, Any]:
    return {
        "po": po,
        "status": "ready",
        "vendor_id": VENDOR,
        "date_submit": "2024-05-14T15:55:00Z",
        "items": [dict(line) for line in LINES],
        **changes,
    }


def lines_of(**quantities: int) -> list[dict[str, Any]]:
    return [
        {"po_item_id": 90311 + position, "vpc": sku, "quantity": quantity}
        for position, (sku, quantity) in enumerate(quantities.items())
    ]
