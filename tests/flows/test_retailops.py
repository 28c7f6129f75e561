"""What only RetailOps has: stock counts, and several vendor accounts side by side, with the hub as a process of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hub.cli.up.sandbox_scenario import retailops_settings
from hub.models.types import OrderId
from hub.sandbox import Fault, Faults, RetailopsSandbox
from tests.broker.rig import letters
from tests.eventually import eventually
from tests.flows.rig import Stage, finished, staged, unexplained

# Far longer than the test: what waits for the account that hangs, waits until the test lets it go.
HANGS_FOR = "300s"


@asynccontextmanager
async def hanging(seed: int, *, but: frozenset[str]) -> AsyncIterator[tuple[RetailopsSandbox, asyncio.Event]]:
    """A vendor account that takes every request, and answers none until the event is set, `but` these operations."""
    comes_back = asyncio.Event()

    async def until_then(_: float) -> None:
        await comes_back.wait()

    faults = Faults(rate=1.0, kinds=(Fault.slow,), limit=1_000_000, exempt=but, sleep=until_then)
    async with RetailopsSandbox(vendor_id="31", api_key="the-other-key", seed=seed, faults=faults) as account:
        try:
            yield account, comes_back
        finally:
            comes_back.set()


async def test_an_account_that_hangs_delays_no_other_and_its_purchase_orders_complete_when_it_is_back(
    broker_url: str, tmp_path: Path
) -> None:
    async with hanging(33, but=frozenset({"Fetch"})) as (slow, comes_back):
        # The same seed: both accounts have the same PO numbers, and only the account in the order id tells them apart.
        slow.add_orders(4)
        table = retailops_settings(slow) | {"timeout": HANGS_FOR}
        async with staged(
            broker_url, tmp_path, orders=0, seed=33, with_retailops=True, accounts=[table]
        ) as stage:
            # Two come with those of the other account, and may share a batch with them; two come when its calls hang.
            stage.place(orders=0, purchase_orders=2)
            stage.hub.start()
            await eventually(lambda: bool(slow.faults.injected), within=30, because="a call hangs")
            stage.place(orders=0, purchase_orders=2)

            await eventually(
                lambda: not stage.retailops.unfinished(),
                within=15,
                because="the purchase orders of the account that answers are complete",
            )
            await eventually(
                lambda: _submitted(stage, stage.retailops) == set(stage.retailops.orders),
                within=5,
                because="no delivery waits for the batch mates of the other account",
            )
            assert slow.unfinished() == list(slow.orders)
            assert _submitted(stage, slow) == set()

            comes_back.set()
            await eventually(
                lambda: not slow.unfinished(), within=40, because="the other account's are complete as well"
            )
            await finished(stage, within=30)
            stage.hub.stop()

    assert list(slow.orders) == list(stage.retailops.orders)
    assert not _parcels(slow) & _parcels(stage.retailops)
    assert (slow.violations, slow.regressions(), slow.doubled()) == ([], [], [])
    assert unexplained(stage) == []


async def test_an_account_that_does_not_even_answer_a_fetch_delays_no_other(
    broker_url: str, tmp_path: Path
) -> None:
    async with hanging(34, but=frozenset()) as (slow, comes_back):
        slow.add_orders(2)
        table = retailops_settings(slow) | {"timeout": "2s"}
        async with staged(
            broker_url, tmp_path, orders=0, seed=35, with_retailops=True, accounts=[table]
        ) as stage:
            stage.place(orders=0, purchase_orders=3)
            stage.hub.start()

            await finished(stage, within=30)
            assert slow.unfinished() == list(slow.orders)
            await eventually(lambda: "poll_failed" in stage.hub.log, within=10)

            comes_back.set()
            await eventually(lambda: not slow.unfinished(), within=40)
            stage.hub.stop()

    assert (slow.violations, slow.regressions(), slow.doubled()) == ([], [], [])
    assert unexplained(stage) == []


async def test_a_hub_restarted_for_longer_than_the_waits_before_pos_are_submitted_completes_them_all_the_same(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=0, seed=36, with_retailops=True) as stage:
        stage.hub.environ["HUB_RETRY__WAITS"] = json.dumps(["50ms"])
        stage.place(orders=0, purchase_orders=3)
        # None of these submits them: their marks stay on their way, whatever becomes of the process.
        stage.hub.names = ("retailops_purchase_orders", "accept_purchase_orders", "complete_purchase_order")
        for starts in range(1, 4):
            stage.hub.start()
            await eventually(partial(_has_settled, stage, "complete_purchase_order", 3 * starts), within=30)
            stage.hub.kill()
        assert stage.retailops.unfinished() == list(stage.retailops.orders)

        stage.hub.names = ()
        stage.hub.start()
        await finished(stage, within=60)
        stage.hub.stop()

    assert {line["outcome"] for line in _settled(stage, "complete_purchase_order")} == {"waiting", "done"}
    assert unexplained(stage) == []


def _submitted(stage: Stage, account: RetailopsSandbox) -> set[str]:
    """The POs of an account whose marks are settled, by the log of the hub."""
    about = [OrderId.parse(line["order_id"]) for line in _settled(stage, "submit_purchase_orders")]
    return {order.source_order_id for order in about if order.account == account.vendor_id}


def _has_settled(stage: Stage, consumer: str, least: int) -> bool:
    return len(_settled(stage, consumer)) >= least


def _settled(stage: Stage, consumer: str) -> list[dict[str, Any]]:
    """How the deliveries of a consumer ended, by the log of the hub."""
    lines = [orjson.loads(line) for line in stage.hub.log.splitlines() if '"delivery_settled"' in line]
    return [line for line in lines if line["consumer"] == consumer]


def _parcels(account: RetailopsSandbox) -> set[str]:
    return {parcel.tracking_number for po in account.orders for parcel in account.packages(po)}


async def test_stock_counts_reach_retailops(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, orders=0, seed=32, with_retailops=True) as stage:
        stage.place(orders=0, purchase_orders=1)
        stage.hub.start()

        await eventually(lambda: bool(stage.retailops.inventory), within=30)
        await finished(stage, within=30)
        stage.hub.stop()

    assert min(stage.retailops.inventory.values()) >= 0
    assert unexplained(stage) == []
    assert await letters(broker_url, "hub.retailops.advise-inventory.dead") == []
