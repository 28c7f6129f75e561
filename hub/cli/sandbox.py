"""``hub sandbox``: the simulated partners alone, and the settings that point a hub at them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.scene import as_toml, scene_settings
from hub.lifecycle import Stop
from hub.sandbox import ApiKey, Faults, IqmetrixSandbox, OAuth2, WebhookReceiver


def sandbox(
    orders: Annotated[int, typer.Option(help="Orders in the feed at the start.", min=0)] = 20,
    every: Annotated[float, typer.Option(help="Seconds between new orders; 0: none come.", min=0)] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of orders and faults.")] = 1,
    fault_rate: Annotated[
        float, typer.Option(help="Share of requests that go wrong on purpose.", min=0, max=0.9)
    ] = 0.0,
) -> None:
    """Run the partner simulators until Ctrl-C and print the hub.toml that points at them."""
    if asyncio.run(_serve(orders, every, seed, fault_rate)):
        raise typer.Exit(130)


async def _serve(orders: int, every: float, seed: int, fault_rate: float) -> bool:
    stop = Stop()
    async with AsyncExitStack() as stack:
        iqmetrix = IqmetrixSandbox(seed=seed, faults=Faults(seed, fault_rate))
        acme = WebhookReceiver("acme", auth=OAuth2(), faults=Faults(seed + 1, fault_rate))
        northwind = WebhookReceiver("northwind", auth=ApiKey(), faults=Faults(seed + 2, fault_rate))
        for server in (iqmetrix, acme, northwind):
            await server.start()
            stack.push_async_callback(server.stop)
        iqmetrix.add_orders(orders)
        print("# partners answer now; this hub.toml points at them")
        settings = scene_settings(None, Path("var"), iqmetrix, acme, northwind)
        print(as_toml({table: settings[table] for table in ("iqmetrix", "webhooks")}), flush=True)
        with stop.on_signals():
            while every and not await stop.sleep(timedelta(seconds=every).total_seconds()):
                iqmetrix.add_order()
            await stop.wait()
    return stop.by_signal is not None
