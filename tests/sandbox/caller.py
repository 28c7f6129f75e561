"""A correct iQmetrix client in a few lines, written from the documents, for the tests of the simulated partner."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from lxml import etree

from hub.sandbox import IqmetrixSandbox, SandboxOrder

ATOM = "{http://www.w3.org/2005/Atom}"
DROPSHIP = "{urn:iQmetrix:dropship}"
PASSWORD_FORM = {
    "grant_type": "password",
    "username": "ops@northfork.example",
    "password": "s3cret",
    "client_id": "northforkdropship",
    "client_secret": "sandbox-client-7b1c",
}


class Clock:
    """A clock that is set, not waited for."""

    def __init__(self) -> None:
        self.at = datetime(2024, 5, 14, 16, 2, 9, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


class Caller:
    """A correct client in as few lines as possible."""

    def __init__(self, session: aiohttp.ClientSession, iq: IqmetrixSandbox) -> None:
        self.session = session
        self.iq = iq
        self.token = ""

    async def authenticate(self, **changes: str) -> tuple[int, dict[str, Any]]:
        async with self.session.post(self.iq.token_url, data=PASSWORD_FORM | changes) as response:
            answer = await response.json()
        self.token = answer.get("access_token", self.token)
        return response.status, answer

    async def get(self, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        named = {"Authorization": f"Bearer {self.token}", "Accept": "application/atom+xml"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(f"{self.iq.base_url}{path}", headers=named) as response:
            return response.status, await response.read(), response.headers

    async def feed(self, page_id: str | None = None) -> etree._Element:
        page = "" if page_id is None else f"/Pages({page_id})"
        status, body, _ = await self.get(f"/Suppliers(71204)/Notifications{page}")
        assert status == 200, body
        return etree.fromstring(body)

    async def send(self, method: str, path: str, document: object, **headers: str) -> tuple[int, bytes]:
        named = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.iq.base_url}{path}"
        async with self.session.request(method, url, data=orjson.dumps(document), headers=named) as response:
            return response.status, await response.read()

    async def update(
        self, order: SandboxOrder, word: str = "OrderStatusUpdate", **fields: Any
    ) -> tuple[int, bytes]:
        path = f"/Suppliers(71204)/Orders({order.order_id})/{word}"
        return await self.send("PUT", path, {"Id": order.order_id} | fields)


def whats(iq: IqmetrixSandbox) -> list[str]:
    return [violation.what for violation in iq.violations]
