"""The sandbox scene of ``hub up``: simulated partners, a small warehouse, orders that keep coming, and their settings.

It knows what must come of it: ``unfinished`` names what has not reached its final state yet.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.config.settings import Settings
from hub.sandbox import ApiKey, Faults, IqmetrixSandbox, OAuth2, RetailopsSandbox, WebhookReceiver
from hub.sandbox.warehouse import Warehouse

# Waits of the ladder in the sandbox: the shape of the real ones, short enough to watch.
SANDBOX_WAITS = ("500ms", "1s", "2s", "4s", "8s")
_ORDERS_PER_PO = 3
# A broker that comes back in the sandbox is found soon.
_RECONNECT = {"reconnect_after": "100ms", "reconnect_at_most": "500ms"}
# An entry as no document has it: the producer sets it aside, and the rest flows.
_MALFORMED = (
    '<entry xmlns="http://www.w3.org/2005/Atom"><id>urn:uuid:malformed-on-purpose</id>'
    "<title>Dropship Order Created</title><published>{at}</published><updated>{at}</updated>"
    '<content type="application/xml"><order-created xmlns="urn:iQmetrix:dropship">'
    "<order-id>no-lines</order-id></order-created></content></entry>"
)


@dataclass(slots=True)
class Scene:
    """What runs beside the hub in the sandbox."""

    iqmetrix: IqmetrixSandbox
    receivers: tuple[WebhookReceiver, ...]
    warehouse: Warehouse
    settings: Settings
    orders: int
    placed: int = 0
    retailops: RetailopsSandbox | None = None
    """Gets one purchase order for every three iQmetrix orders, where it takes part."""

    async def place_orders(self, every: timedelta, *, forever: bool) -> None:
        """Place the rest of the orders one by one, with the odd duplicate and one malformed entry."""
        self.iqmetrix.add_entry_xml(_MALFORMED.format(at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
        while forever or self.placed < self.orders:
            order = self.iqmetrix.add_order()
            self.placed += 1
            if self.retailops is not None and self.placed % _ORDERS_PER_PO == 0:
                self.retailops.add_order()
            if self.placed % 10 == 0:
                self.iqmetrix.add_duplicate(order.order_id)
            await asyncio.sleep(every.total_seconds())

    def unfinished(self) -> list[str]:
        """Say what is still missing; empty when everything is in its final state."""
        missing = [f"{self.orders - self.placed} orders to place"] if self.placed < self.orders else []
        if waiting := self.iqmetrix.unfinished():
            missing.append(f"{len(waiting)} orders not final at iQmetrix, such as {waiting[0]}")
        if self.retailops is not None and (open_pos := self.retailops.unfinished()):
            missing.append(
                f"{len(open_pos)} purchase orders not complete at RetailOps, such as {open_pos[0]}"
            )
        for receiver in self.receivers:
            delivered = len({(item.webhook, item.body) for item in receiver.received})
            if delivered < self.warehouse.webhooks_due:
                missing.append(f"{receiver.name}: {delivered} of {self.warehouse.webhooks_due} webhooks")
        return missing

    def faults_found(self) -> list[str]:
        """Return every breach of a protocol, effect done twice and status gone backward that the partners saw."""
        servers: list[Any] = [self.iqmetrix, *self.receivers]
        if self.retailops is not None:
            servers.append(self.retailops)
        found = [f"violation: {violation}" for server in servers for violation in server.violations]
        found += [f"twice: {twice}" for server in servers for twice in server.doubled() if not twice.excused]
        partners = [server for server in servers if not isinstance(server, WebhookReceiver)]
        return found + [f"backward: {step}" for partner in partners for step in partner.regressions()]


@asynccontextmanager
async def sandbox_scene(
    broker_url: str, folder: Path, *, orders: int, seed: int, fault_rate: float, with_retailops: bool = False
) -> AsyncIterator[Scene]:
    """Start the simulated partners with part of the orders already in the feed's archive.

    Args:
        broker_url: for the warehouse and in the settings.
        folder: holds the state store, and the settings as ``hub.toml`` for other commands.
        orders: how many orders the scene has in all.
        seed: for orders, answers and faults.
        fault_rate: share of requests that go wrong on purpose.
        with_retailops: let the simulated RetailOps take part.
    """
    async with AsyncExitStack() as stack:
        iqmetrix = IqmetrixSandbox(
            seed=seed, page_size=10, faults=Faults(seed, fault_rate, limit=1, slow_for=timedelta(seconds=0.5))
        )
        acme = WebhookReceiver("acme", auth=OAuth2(), faults=Faults(seed + 1, fault_rate, limit=1), seed=seed)
        northwind = WebhookReceiver(
            "northwind",
            auth=ApiKey(),
            faults=Faults(seed + 2, fault_rate, limit=1),
            signing_secret=_secret(seed),
        )
        for server in (iqmetrix, acme, northwind):
            await server.start()
            stack.push_async_callback(server.stop)
        already = orders // 3
        iqmetrix.add_orders(already)
        values = scene_settings(broker_url, folder, iqmetrix, acme, northwind)
        retailops = None
        if with_retailops:
            retailops = RetailopsSandbox(seed=seed, faults=Faults(seed + 3, fault_rate, limit=1))
            await retailops.start()
            stack.push_async_callback(retailops.stop)
            retailops.add_orders(already // _ORDERS_PER_PO)
            values["retailops"] = [retailops_settings(retailops)]
        write_private(folder / "hub.toml", as_toml(values))
        settings = Settings(**values)
        warehouse = Warehouse(settings.broker, seed=seed)
        yield Scene(
            iqmetrix, (acme, northwind), warehouse, settings, orders, placed=already, retailops=retailops
        )


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read: it holds passwords."""
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")


def _secret(seed: int) -> str:
    import base64

    return "whsec_" + base64.b64encode(random.Random(seed).randbytes(24)).decode()


def retailops_settings(retailops: RetailopsSandbox) -> dict[str, Any]:
    """Return the settings of the simulated vendor account, as ``hub.toml`` would have them."""
    return {
        "base_url": retailops.base_url,
        "api_key": retailops.api_key,
        "vendor_id": retailops.vendor_id,
        "poll_every": "1s",
        "batch_within": "200ms",
        "timeout": "5s",
    }


def scene_settings(
    broker_url: str | None,
    folder: Path,
    iqmetrix: IqmetrixSandbox,
    acme: WebhookReceiver,
    northwind: WebhookReceiver,
) -> dict[str, Any]:
    """Return the settings of the sandbox partners, as ``hub.toml`` would have them."""
    account = {
        "base_url": iqmetrix.base_url,
        "token_url": iqmetrix.token_url,
        "supplier_id": iqmetrix.supplier_id,
        "username": iqmetrix.username,
        "password": iqmetrix.password,
        "client_id": iqmetrix.client_id,
        "client_secret": iqmetrix.client_secret,
        "poll_every": "1s",
        "timeout": "5s",
        "tracking_sites": {"UPS": "www.ups.com"},
    }
    defaults = {
        "channel": "rts_drop_ship",
        "brand": "Northfork",
        "condition": "N",
        "shipping_method": "STANDARD",
        "price_cents": 0,
    }
    oauth, key = acme.auth, northwind.auth
    assert isinstance(oauth, OAuth2)
    assert isinstance(key, ApiKey)
    auths = {
        "acme": {
            "type": "oauth2",
            "token_url": acme.token_url,
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret,
        },
        "northwind": {"type": "api_key", "header": key.header, "key": key.key},
    }
    return {
        "broker": {**_RECONNECT, "url": broker_url} if broker_url else {},
        "state": {"url": f"sqlite+aiosqlite:///{folder / 'hub.db'}"},
        "http": {"host": "127.0.0.1", "port": 0},
        "retry": {"waits": SANDBOX_WAITS, "unknown_order_wait": "2s"},
        "iqmetrix": [account],
        "webhooks": [
            {
                "name": receiver.name,
                "confirmation_url": receiver.url_of("confirmation"),
                "cancellation_url": receiver.url_of("cancellation"),
                "partial_cancellation_url": receiver.url_of("partial_cancellation"),
                "disposition_url": receiver.url_of("disposition"),
                "timeout": "5s",
                "auth": auths[receiver.name],
                "defaults": defaults,
            }
            | ({"signing_secret": receiver.signing_secret} if receiver.signing_secret else {})
            for receiver in (acme, northwind)
        ],
    }


def as_toml(settings: Mapping[str, Any]) -> str:
    """Write settings as ``scene_settings`` gives them as TOML."""
    lines: list[str] = []
    for table, content in settings.items():
        if isinstance(content, list):
            for row in content:
                lines += [f"[[{table}]]", *(f"{key} = {_value(value)}" for key, value in row.items()), ""]
        else:
            lines += [f"[{table}]", *(f"{key} = {_value(value)}" for key, value in content.items()), ""]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {_value(item)}' for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    # Lower case for true and false, which are numbers here as well.
    return str(value).lower() if isinstance(value, int) else f'"{value}"'
