"""``hub sandbox``: the simulated partners alone, and the settings that point a hub at them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.up.sandbox_scenario import as_toml, retailops_settings, scene_settings
from hub.config.broker import Broker
from hub.config.settings import load
from hub.errors import ConfigError
from hub.process.event_loop import run_short
from hub.process.lifecycle import Stop, first_to_end
from hub.sandbox import ApiKey, Faults, IqmetrixSandbox, OAuth2, RetailopsSandbox, WebhookReceiver
from hub.sandbox.warehouse import Warehouse

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
    subscriber_url_file: Annotated[
        Path | None, typer.Option(help="Run a small warehouse too, which hears of orders by this AMQP URL …")
    ] = None,
    publisher_url_file: Annotated[
        Path | None, typer.Option(help="… and ships them by this one; the definitions have such users.")
    ] = None,
) -> None:
    """Run the partner simulators until Ctrl-C and print the hub.toml that points at them."""
    if (subscriber_url_file is None) != (publisher_url_file is None):
        raise ConfigError("expected --subscriber-url-file and --publisher-url-file together, got one alone")
    partners = Partners.drawn(seed, fault_rate)
    warehouse = None
    if subscriber_url_file and publisher_url_file and not settings_only:
        warehouse = Warehouse(_broker(subscriber_url_file), speaks=_broker(publisher_url_file), seed=seed)
    if run_short(_serve(partners, host, port, orders, None if settings_only else every, warehouse)):
        raise typer.Exit(130)


def _broker(url_file: Path) -> Broker:
    """Return the settings of a broker whose address is in a file, and nothing else: this is no hub."""
    return load(Path(os.devnull), {"HUB_BROKER__URL_FILE": str(url_file)}).broker


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
        """Return the settings that point at them; ``away``: plain http beyond loopback has to be allowed."""
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


async def _serve(
    partners: Partners, host: str, port: int, orders: int, every: float | None, warehouse: Warehouse | None
) -> bool:
    """Serve until a signal comes, True for Ctrl-C; ``every`` None: print the settings and end."""
    stop = Stop()
    async with AsyncExitStack() as stack:
        await partners.listen(stack, host, port)
        print("# the simulated partners answer here; this hub.toml points at them")
        print(as_toml(partners.settings(away=host != _LOOPBACK)), flush=True)
        if every is None:
            return False
        with stop.on_signals():
            working = [warehouse.run()] if warehouse else []
            await first_to_end(_place_orders(partners, orders, every, stop), *working)
    return stop.by_signal is not None and stop.by_signal.name == "SIGINT"


async def _place_orders(partners: Partners, already: int, every: float, stop: Stop) -> None:
    for number in range(1, already + 1):
        partners.add_order(number)
    number = already
    while every and not await stop.sleep(every):
        number += 1
        partners.add_order(number)
    await stop.wait()
