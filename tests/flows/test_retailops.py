"""Purchase orders in; submitted and completed out, with the hub as a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hub.cli.scene import SANDBOX_WAITS, as_toml
from hub.sandbox import Faults, RetailopsSandbox
from hub.sandbox.warehouse import Warehouse
from tests.broker.rig import broker_settings, letters
from tests.eventually import eventually
from tests.flows.rig import HubProcess, free_port


@dataclass
class Stage:
    retailops: RetailopsSandbox
    warehouse: Warehouse
    hub: HubProcess


@asynccontextmanager
async def staged(
    broker_url: str, folder: Path, *, seed: int, fault_rate: float = 0.0
) -> AsyncIterator[Stage]:
    async with RetailopsSandbox(seed=seed, faults=Faults(seed, fault_rate, limit=1)) as retailops:
        account = {
            "base_url": retailops.base_url,
            "api_key": retailops.api_key,
            "vendor_id": retailops.vendor_id,
            "poll_every": "500ms",
            "timeout": "5s",
        }
        settings = folder / "partners.toml"
        settings.write_text(as_toml({"retailops": [account]}))
        hub = HubProcess(
            folder,
            {
                "HUB_CONFIG": str(settings),
                "HUB_BROKER__URL": broker_url,
                "HUB_STATE__URL": f"sqlite+aiosqlite:///{folder / 'hub.db'}",
                "HUB_HTTP__HOST": "127.0.0.1",
                "HUB_HTTP__PORT": str(free_port()),
                "HUB_RETRY__WAITS": str(list(SANDBOX_WAITS)).replace("'", '"'),
            },
        )
        warehouse = Warehouse(broker_settings(broker_url), seed=seed)
        working = asyncio.create_task(warehouse.run())
        try:
            await asyncio.wait_for(warehouse.listening(), 30)
            yield Stage(retailops, warehouse, hub)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            if hub.child is not None and hub.child.poll() is None:
                hub.child.kill()
                hub.child.wait()


async def test_every_purchase_order_is_submitted_and_completed_with_the_faults_on(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, seed=31, fault_rate=0.05) as stage:
        stage.retailops.add_orders(15)
        stage.hub.start()

        await eventually(
            lambda: not stage.retailops.unfinished(), within=60, because="every purchase order is complete"
        )
        stage.hub.stop()

    assert stage.retailops.violations == []
    assert [twice for twice in stage.retailops.doubled() if not twice.excused] == []
    assert stage.retailops.regressions() == []
    assert await letters(broker_url, "hub.retailops.complete-purchase-order.dead") == []


async def test_stock_counts_reach_retailops(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, seed=32) as stage:
        stage.retailops.add_orders(1)
        stage.hub.start()

        await eventually(lambda: bool(stage.retailops.inventory), within=30)
        stage.hub.stop()

    assert min(stage.retailops.inventory.values()) >= 0
    assert stage.retailops.violations == []
