"""``hub sandbox``: the simulated partners alone, and the settings that point a hub at them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.scene import as_toml, retailops_settings, scene_settings
from hub.lifecycle import Stop
from hub.sandbox import ApiKey, Faults, IqmetrixSandbox, OAuth2, RetailopsSandbox, WebhookReceiver

_LOOPBACK = "127.0.0.1"
# A purchase order with every third order of the feed, as in `hub up`.
_ORDERS_PER_PO = 3


def sandbox(
    orders: Annotated[int, typer.Option(help="Orders in the feed at the start.", min=0)] = 20,
    every: Annotated[float, typer.Option(help="Seconds between new orders; 0: none come.", min=0)] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of orders and faults.")] = 1,
    fault_rate: Annotated[
        float, typer.Option(help="Share of requests that go wrong on purpose.", min=0, max=0.9)
    ] = 0.0,
    host: Annotated[
        str, typer.Option(help="Name or address to listen on; the settings carry it.")
    ] = _LOOPBACK,
    port: Annotated[
        int, typer.Option(help="First of the four ports in a row; 0: any free ones.", min=0, max=65532)
    ] = 0,
    settings_only: Annotated[
        bool, typer.Option("--settings", help="Print the hub.toml and end; give --port as well.")
    ] = False,
) -> None:
    """Run the partner simulators until Ctrl-C and print the hub.toml that points at them."""
    partners = Partners.drawn(seed, fault_rate)
    if asyncio.run(_serve(partners, host, port, orders, None if settings_only else every)):
        raise typer.Exit(130)


@dataclass(frozen=True, slots=True)
class Partners:
    """The simulated partners, in the order of their ports."""

    iqmetrix: IqmetrixSandbox
    retailops: RetailopsSandbox
    acme: WebhookReceiver
    northwind: WebhookReceiver

    @classmethod
    def drawn(cls, seed: int, fault_rate: float) -> Partners:
        """Make them; nothing listens yet."""
        faults = [Faults(seed + number, fault_rate) for number in range(4)]
        return cls(
            IqmetrixSandbox(seed=seed, faults=faults[0]),
            RetailopsSandbox(seed=seed, faults=faults[3]),
            WebhookReceiver("acme", auth=OAuth2(), faults=faults[1]),
            WebhookReceiver("northwind", auth=ApiKey(), faults=faults[2]),
        )

    async def listen(self, stack: AsyncExitStack, host: str, port: int) -> None:
        """Start all of them; they stop with ``stack``."""
        servers: list[IqmetrixSandbox | RetailopsSandbox | WebhookReceiver] = [
            self.iqmetrix,
            self.retailops,
            self.acme,
            self.northwind,
        ]
        for number, server in enumerate(servers):
            await server.start(host, port + number if port else 0)
            stack.push_async_callback(server.stop)

    def add_order(self, number: int) -> None:
        """Place the order of this number, counted from 1, with the purchase order that comes with every third."""
        self.iqmetrix.add_order()
        if number % _ORDERS_PER_PO == 0:
            self.retailops.add_order()

    def settings(self, *, away: bool) -> dict[str, Any]:
        """Give the settings that point at them; ``away``: plain http beyond loopback has to be allowed."""
        values = scene_settings(None, Path("var"), self.iqmetrix, self.acme, self.northwind)
        tables = {
            "retry": values["retry"],
            "iqmetrix": values["iqmetrix"],
            "retailops": [retailops_settings(self.retailops)],
            "webhooks": values["webhooks"],
        }
        if away:
            accounts = [*tables["iqmetrix"], *tables["retailops"], *tables["webhooks"]]
            tokens = [client["auth"] for client in tables["webhooks"] if "token_url" in client["auth"]]
            for table in (*accounts, *tokens):
                table["allow_http"] = True
        return tables


async def _serve(partners: Partners, host: str, port: int, orders: int, every: float | None) -> bool:
    """Serve until a signal comes, True then; ``every`` None: print the settings and end."""
    stop = Stop()
    async with AsyncExitStack() as stack:
        await partners.listen(stack, host, port)
        print("# the simulated partners answer here; this hub.toml points at them")
        print(as_toml(partners.settings(away=host != _LOOPBACK)), flush=True)
        if every is None:
            return False
        placed = 0
        while placed < orders:
            placed += 1
            partners.add_order(placed)
        with stop.on_signals():
            while every and not await stop.sleep(every):
                placed += 1
                partners.add_order(placed)
            await stop.wait()
    return stop.by_signal is not None and stop.by_signal.name == "SIGINT"
