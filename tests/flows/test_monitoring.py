"""Producers and consumers as processes of their own, scraped: what alerts and dashboard read is really there."""

import asyncio
import json
from pathlib import Path

import aiohttp

from hub.cli.up.sandbox_scenario import Scene, sandbox_scene
from tests.eventually import eventually
from tests.flows.rig import HubProcess
from tests.monitoring.promtool import MONITORING, alerts, hub_metrics, promtool
from tests.ports import free_port

# Looked at when the process is up, and then every 15 s.
DEPTH = 'hub_queue_messages{kind="dead",orphan="false",queue="hub.webhook.acme.dead"}'


def process(folder: Path, side: str) -> HubProcess:
    """One side of the hub with the scene's own settings; both sides share the state store."""
    own = folder / side
    own.mkdir()
    environ = {"HUB_CONFIG": str(folder / "hub.toml"), "HUB_HTTP__PORT": str(free_port())}
    return HubProcess(own, environ, (side,))


async def scrape(hub: HubProcess) -> str:
    url = f"http://127.0.0.1:{hub.environ['HUB_HTTP__PORT']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def scraped(broker_url: str, folder: Path) -> tuple[Scene, dict[str, str]]:
    """Let orders of all partners pass through both processes and give what each then tells."""
    async with sandbox_scene(
        broker_url, folder, orders=9, seed=5, fault_rate=0.0, with_retailops=True
    ) as scene:
        hubs = {side: process(folder, side) for side in ("producers", "consumers")}
        working = asyncio.create_task(scene.warehouse.run())
        try:
            await asyncio.wait_for(scene.warehouse.listening(), 30)
            for hub in hubs.values():
                hub.start()
                await eventually(hub.ready, within=40)

            async def everything_passed() -> bool:
                told = await scrape(hubs["consumers"])
                return all(
                    f'hub_partner_calls_total{{operation="{operation}",outcome="ok",partner="{partner}"}}'
                    in told
                    for partner, operation in (
                        ("acme", "confirmation"),
                        ("retailops", "Vendor/PO/Complete"),
                        ("iqmetrix", "token"),
                    )
                )

            await eventually(everything_passed, within=40, every=0.2)
            told: dict[str, str] = {}

            async def queues_are_looked_at() -> bool:
                told.update({side: await scrape(hub) for side, hub in hubs.items()})
                return all(DEPTH in text for text in told.values())

            await eventually(
                queues_are_looked_at, within=20, every=0.2, because="both sides look at the queues"
            )
            for hub in hubs.values():
                assert hub.stop() == 0
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            for hub in hubs.values():
                if hub.child is not None and hub.child.poll() is None:
                    hub.kill()
    return scene, told


async def test_each_side_alone_tells_what_alerts_and_dashboard_read_and_nothing_about_single_orders(
    broker_url: str, tmp_path: Path
) -> None:
    scene, told = await scraped(broker_url, tmp_path)

    lines = [line for text in told.values() for line in text.splitlines() if not line.startswith("#")]
    exported = {line.partition("{")[0].partition(" ")[0] for line in lines}
    panels = json.loads((MONITORING / "grafana/dashboard.json").read_text(encoding="utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    read = hub_metrics(" ".join([*queries, *(rule["expr"] for rule in alerts())]))
    assert read - exported == set()
    for side, text in told.items():
        assert "hub_broker_up 1.0" in text, side
        checked = promtool("check", "metrics", text=text)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), side
    ids = [*scene.iqmetrix.orders, *(scene.retailops.orders if scene.retailops else ())]
    assert ids
    assert [line for line in lines if any(one in line for one in ids)] == []
