"""A correct RetailOps vendor in a few lines, written from the documents, for the tests of the simulated partner."""

from typing import Any

import aiohttp
import orjson

from hub.sandbox import PurchaseOrder, RetailopsSandbox

FETCH = "Vendor/PO/Fetch.json"
SUBMIT = "Vendor/PO/MarkSubmitted.json"
ACCEPT = "Vendor/PO/MarkAccepted.json"
DATES = "Vendor/PO/UpdateEstShipDate.json"
CLASSES = "Constant/Ship/CarrierClass/fetch.json"
COMPLETE = "Vendor/PO/Complete.json"
INVENTORY = "product/externalsku/update~2.json"
GOOD = {"success": 1}


class Vendor:
    """A correct client in as few lines as possible."""

    def __init__(self, session: aiohttp.ClientSession, ro: RetailopsSandbox) -> None:
        self.session = session
        self.ro = ro

    async def send(self, path: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, bytes]:
        named = {"apikey": self.ro.api_key, "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.ro.base_url}/{path}"
        async with self.session.request(method, url, data=body, headers=named) as response:
            return response.status, await response.read()

    async def call(self, path: str, document: object) -> Any:
        status, body = await self.send(path, orjson.dumps(document))
        assert status == 200, body
        return orjson.loads(body)

    async def fetch(self, start: int = 0, limit: int = 100, **changes: Any) -> list[dict[str, Any]]:
        asked = {"vendor_id": "27", "start": start, "limit": limit, "status": "ready", "with_items": True}
        records: list[dict[str, Any]] = (await self.call(FETCH, asked | changes))["records"]
        return records

    async def mark(self, *orders: PurchaseOrder, path: str = SUBMIT) -> Any:
        return await self.call(path, {"records": [marked(order) for order in orders]})

    async def complete(self, order: PurchaseOrder, **changes: Any) -> Any:
        await self.call(CLASSES, {"all": 1})
        return await self.call(COMPLETE, {"po": order.po, "packages": [parcel(order) | changes]})


def marked(order: PurchaseOrder) -> dict[str, Any]:
    lines = order.lines or ()
    return {
        "po": order.po,
        "items": [{"po_item_id": line.po_item_id, "quantity": line.quantity} for line in lines],
    }


def dated(order: PurchaseOrder, date: str = "2024-05-20T00:00:00Z") -> dict[str, Any]:
    return marked(order) | {"estimated_ship_date": date}


def parcel(order: PurchaseOrder) -> dict[str, Any]:
    summed: dict[str, int] = {}
    for line in order.lines or ():
        summed[line.vpc] = summed.get(line.vpc, 0) + line.quantity
    return {
        "ship_class_id": 62,
        "tracking_number": "1Z863YY60392796356",
        "unit_count": sum(summed.values()),
        "items": [{"vpc": vpc, "quantity": quantity} for vpc, quantity in summed.items()],
    }


def whats(ro: RetailopsSandbox) -> list[str]:
    return [violation.what for violation in ro.violations]
