"""The main job as a process: orders in, updates and webhooks out, faults on, kills included."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from hub.local_broker.node import PrivateNode
from hub.sandbox import Oddity
from hub.sandbox.iqmetrix.orders import _PEOPLE, _PLACES
from tests.broker.rig import letters, outsider, send
from tests.eventually import eventually
from tests.flows.rig import (
    HubProcess,
    completed_with_less,
    finished,
    on_the_work_list,
    staged,
    unexplained,
)
from tests.ports import kept


async def test_every_order_of_both_sources_reaches_its_final_state_with_the_faults_on(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=40, seed=3, fault_rate=0.1, with_retailops=True) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)

        later = stage.retailops.add_order(due_at=datetime.now(UTC) + timedelta(days=1))
        never = stage.retailops.add_order(odd=Oddity.garbage_date)
        stage.retailops.add_order(odd=Oddity.twin_vpc)
        stage.place(stage.scene.orders - stage.scene.placed, purchase_orders=16)
        await finished(stage, within=60)

        assert stage.hub.stop() == 0
    assert [stage.retailops.status(odd.po) for odd in (later, never)] == ["ready", "ready"]
    assert unexplained(stage) == []
    assert await letters(broker_url, "hub.iqmetrix.update-order-status.dead") == []
    assert await letters(broker_url, "hub.retailops.complete-purchase-order.dead") == []
    assert await letters(broker_url, "hub.webhook.acme.dead") == []
    assert await on_the_work_list(broker_url) == completed_with_less(stage.retailops) != set()


async def test_ready_means_connected_and_stored_and_metrics_are_prometheus_text(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=3, seed=1) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        readiness = await stage.hub.readiness()
        base = f"http://127.0.0.1:{stage.hub.environ['HUB_HTTP__PORT']}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/livez") as live:
                assert live.status == 200
            async with session.get(f"{base}/metrics") as metrics:
                text = await metrics.text()
        stage.hub.stop()

    assert readiness["checks"] == {"state_store": "ok", "broker": "ok"}
    assert readiness["pollers"] == {"iqmetrix.orders:71204": "polls"}
    assert "# TYPE hub_events_published_total counter" in text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_drains_and_ends_with_its_exit_status(
    broker_url: str, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    async with staged(broker_url, tmp_path, orders=6, seed=2) as stage:
        stage.hub.start()
        await eventually(lambda: bool(stage.scene.warehouse.answered), within=30)

        ended = stage.hub.stop(number)

    assert ended == status
    assert "Traceback" not in stage.hub.log


async def test_the_hub_waits_for_a_broker_and_partners_that_are_away_and_says_so(
    own_node: PrivateNode, tmp_path: Path
) -> None:
    async with staged(own_node.url, tmp_path, orders=3, seed=2) as stage:
        await stage.scene.iqmetrix.stop()
        with kept(stage.scene.iqmetrix.base_url) as port:
            # An orderly end: that a crash loses nothing is the subject of other tests.
            await own_node.shut_down()
            stage.hub.start()
            await eventually(
                lambda: '"waiting_for"' in stage.hub.log or "broker_lost" in stage.hub.log, within=20
            )
            assert not (await stage.hub.readiness())["ready"]

            await own_node.start()
            await eventually(stage.hub.ready, within=30)
            await eventually(lambda: "poll_failed" in stage.hub.log)
            await stage.scene.iqmetrix.start(port=port)
        stage.scene.placed = stage.scene.orders
        stage.scene.iqmetrix.add_orders(2)
        await finished(stage, within=60)
        stage.hub.stop()


async def test_no_secret_and_nothing_personal_reaches_the_log(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, orders=12, seed=4, fault_rate=0.2, with_retailops=True) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        stage.place(stage.scene.orders - stage.scene.placed, purchase_orders=3)
        await finished(stage, within=60)
        stage.hub.stop()
        iqmetrix = stage.scene.iqmetrix
        secrets = {iqmetrix.password, iqmetrix.client_secret, str(stage.scene.receivers[1].signing_secret)}
        secrets.add(stage.retailops.api_key)
        personal = (
            {place[6] for place in _PLACES} | {place[7] for place in _PLACES} | {who[1] for who in _PEOPLE}
        )

    for needle in secrets | personal:
        assert needle not in stage.hub.log


async def test_events_of_other_services_are_heard_in_three_encodings(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, orders=3, seed=6) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        unit = {
            "from_disposition": "rtv",
            "to_disposition": "needs_testing",
            "timestamp": "2024-05-16T11:03:27Z",
            "location_identifier": "L",
            "warehouse_identifier": "22",
            "program_identifier": "p",
            "upc": "1",
            "from_condition": "TT",
            "to_condition": "N",
        }
        attributes = {"specversion": "1.0", "type": "unit.disposition_changed", "source": "/oms"}

        async with outsider(broker_url) as channel:
            key = ("hub.fulfillment", "unit.disposition_changed")
            await send(channel, *key, json.dumps(unit | {"optiturn_lp": "PLAIN"}).encode())
            structured = attributes | {"id": "s-1", "data": unit | {"optiturn_lp": "STRUCTURED"}}
            await send(
                channel, *key, json.dumps(structured).encode(), content_type="application/cloudevents+json"
            )
            binary = {f"cloudEvents:{name}": value for name, value in (attributes | {"id": "b-1"}).items()}
            await send(
                channel,
                *key,
                json.dumps(unit | {"optiturn_lp": "BINARY"}).encode(),
                content_type="application/json",
                headers=binary,
            )

        def delivered() -> bool:
            units = [
                {item.json.get("optiturn_lp") for item in receiver.received}
                for receiver in stage.scene.receivers
            ]
            return all({"PLAIN", "STRUCTURED", "BINARY"} <= found for found in units)

        await eventually(delivered, within=20)
        stage.hub.stop()


async def test_producers_consumers_and_commands_share_one_state_file(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, orders=12, seed=21) as stage:
        stage.hub.names = ("consumers",)
        producers = HubProcess(tmp_path, stage.hub.environ | {"HUB_HTTP__PORT": "0"}, names=("producers",))
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        producers.start()
        try:
            stage.scene.iqmetrix.add_orders(8)
            stage.scene.placed = stage.scene.orders
            await finished(stage, within=60)
            listed = stage.hub.desk("orders", "list", "--json")
            published = stage.hub.desk(
                "publish", "inventory.counted", "-", text='{"items":[{"sku":"S-1","quantity":7}]}'
            )
            await eventually(lambda: stage.scene.iqmetrix.availability.get("S-1") == 7, within=20)
        finally:
            ended = producers.stop()
        stage.hub.stop()

    assert ended == 0
    assert unexplained(stage) == []
    assert len(json.loads(listed.stdout)) >= 12
    assert published.returncode == 0
