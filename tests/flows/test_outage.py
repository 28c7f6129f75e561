"""A partner that is away for longer than all waits together: nothing dies, nothing else waits, all of it arrives."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.cli.up.sandbox_scenario import retailops_settings
from hub.sandbox import Fault, Faults, RetailopsSandbox, WebhookReceiver
from tests.broker.rig import depth, letters, outsider, send
from tests.eventually import eventually
from tests.flows.rig import Stage, finished, staged, unexplained
from tests.flows.test_faults import UNIT
from tests.ports import kept
from tests.postgres import PostgresServer

# Five retries within 3.1 s.
WAITS = '["100ms", "200ms", "400ms", "800ms", "1600ms"]'
ALL_WAITS_SECONDS = 3.1
SETTINGS = {
    "HUB_RETRY__WAITS": WAITS,
    "HUB_OUTAGE__OVER": "150ms",
    "HUB_OUTAGE__PROBE_AFTER": "300ms",
    "HUB_OUTAGE__PROBE_AT_MOST": "600ms",
}
UNAVAILABLE: dict[str, Any] = {"rate": 1.0, "kinds": (Fault.unavailable,), "limit": 1_000_000}


async def publish_units(broker_url: str, names: Sequence[str], **changes: object) -> None:
    async with outsider(broker_url) as channel:
        for name in names:
            body = orjson.dumps(UNIT | {"optiturn_lp": name} | changes)
            await send(channel, "hub.fulfillment", "unit.disposition_changed", body, message_id=name)


def units_of(receiver: WebhookReceiver) -> list[str]:
    return [item.json["optiturn_lp"] for item in receiver.received]


def said(stage: Stage, event: str) -> list[dict[str, Any]]:
    lines = [orjson.loads(line) for line in stage.hub.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def away_for_longer_than_all_waits(stage: Stage, destination: str) -> None:
    """Return when the hub has known for so long that the destination is away."""

    def long_ago() -> bool:
        opened = [line for line in said(stage, "outage_opened") if line["destination"] == destination]
        since = datetime.fromisoformat(opened[0]["timestamp"]) if opened else None
        return since is not None and (datetime.now(UTC) - since).total_seconds() > ALL_WAITS_SECONDS * 1.2

    await eventually(long_ago, within=30, every=0.2, because=f"an outage of {destination}")


async def test_a_client_that_is_away_for_longer_than_all_waits_gets_everything_and_others_never_wait(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=0, seed=41) as stage:
        stage.hub.environ |= SETTINGS
        acme, northwind = stage.scene.receivers
        early, late = [f"E-{n}" for n in range(60)], [f"L-{n}" for n in range(140)]
        await acme.stop()
        with kept(acme.url) as port:
            stage.hub.start()
            await eventually(stage.hub.ready, within=30)

            await publish_units(broker_url, early)
            await eventually(lambda: set(units_of(northwind)) == set(early), within=10)
            await eventually(lambda: bool(said(stage, "outage_opened")), within=10)
            # A fault of one message at the other client is still one of six attempts.
            northwind.respond(422, 6)
            await publish_units(broker_url, ["BAD"], clients=["northwind"])
            await eventually(lambda: [item.status for item in northwind.attempts].count(422) == 6, within=15)
            await publish_units(broker_url, late)
            await away_for_longer_than_all_waits(stage, "webhook:acme")

            readiness = await stage.hub.readiness()
            assert readiness["ready"], readiness
            assert readiness["notes"]["webhook:acme"].startswith("paused: webhook:acme is away since 20")
            assert "webhook:northwind" not in readiness["notes"]
            # What came in the outage lies where it came, but for what was there to probe with.
            assert await depth(broker_url, "hub.webhook.acme") >= len(late)
            await eventually(lambda: set(units_of(northwind)) >= {*early, *late}, within=10)

            await acme.start(port=port)
        await eventually(lambda: set(units_of(acme)) == {*early, *late}, within=15)
        await eventually(lambda: bool(said(stage, "outage_closed")), within=10)
        assert "notes" not in await stage.hub.readiness()
        dead = await letters(broker_url, "hub.webhook.northwind.dead")
        stage.hub.stop()

    assert len(units_of(acme)) == len(early) + len(late)
    assert await letters(broker_url, "hub.webhook.acme.dead") == []
    # Who spent attempts did so before it was known to be an outage.
    settled = [line for line in said(stage, "delivery_settled") if line["queue"] == "hub.webhook.acme"]
    assert max(line["attempt"] for line in settled) <= 3
    attempts = [item for item in northwind.attempts if item.status == 422]
    assert len(attempts) == 6
    assert len(dead) == 1
    assert len(said(stage, "outage_opened")) == 1
    assert unexplained(stage) == []


async def test_a_sqlite_file_locked_for_longer_than_all_waits_costs_no_attempt_and_no_letter(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=0, seed=45) as stage:
        stage.hub.environ |= SETTINGS | {"HUB_STATE__BUSY_TIMEOUT": "200ms"}
        await _the_state_store_goes_away(stage, broker_url, partial(locked, tmp_path / "hub.db"))


@pytest.mark.long
async def test_a_postgresql_down_for_longer_than_all_waits_costs_no_attempt_and_no_letter(
    broker_url: str, tmp_path: Path, own_postgres: PostgresServer
) -> None:
    async with (
        own_postgres.database() as url,
        staged(broker_url, tmp_path, orders=0, seed=46) as stage,
    ):
        stage.hub.environ |= SETTINGS | {"HUB_STATE__URL": url}
        await _the_state_store_goes_away(stage, broker_url, partial(down, own_postgres))


async def _the_state_store_goes_away(
    stage: Stage, broker_url: str, away: Callable[[], AbstractContextManager[None]]
) -> None:
    names = [f"U-{n}" for n in range(100)]
    acme, northwind = stage.scene.receivers
    stage.hub.start()
    await eventually(stage.hub.ready, within=30)

    with away():
        await publish_units(broker_url, names[:50])
        await away_for_longer_than_all_waits(stage, "state store")
        await publish_units(broker_url, names[50:])
        readiness = await stage.hub.readiness()
        assert readiness["notes"]["state store"].startswith("paused: the state store is away since 20")
        for receiver in (acme, northwind):
            assert await depth(broker_url, f"hub.webhook.{receiver.name}") >= 50, "they lie where they came"
    await eventually(lambda: set(units_of(acme)) == set(units_of(northwind)) == set(names), within=30)
    stage.hub.stop()

    for receiver in (acme, northwind):
        assert len(units_of(receiver)) == len(names)
        assert await letters(broker_url, f"hub.webhook.{receiver.name}.dead") == []
    assert {line["attempt"] for line in said(stage, "delivery_settled")} == {1}
    assert said(stage, "outage_closed")
    assert unexplained(stage) == []


@contextmanager
def down(server: PostgresServer) -> Iterator[None]:
    """Have the database end as a crash does, and come back."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Have another process, as the hub sees it, hold the SQLite file for writing."""
    with closing(sqlite3.connect(store, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.long
async def test_without_breakers_five_retries_are_all_there_is(broker_url: str, tmp_path: Path) -> None:
    async with staged(broker_url, tmp_path, orders=0, seed=42) as stage:
        stage.hub.environ |= SETTINGS | {"HUB_OUTAGE__ENABLED": "false"}
        acme, _ = stage.scene.receivers
        await acme.stop()
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)

        await publish_units(broker_url, ["U-1", "U-2"])

        async def dead() -> bool:
            return await depth(broker_url, "hub.webhook.acme.dead") == 2

        await eventually(dead, within=20)
        stage.hub.stop()
        attempts = [line["attempt"] for line in said(stage, "delivery_settled") if line["outcome"] == "dead"]
    assert attempts == [6, 6]


@pytest.mark.long
async def test_one_of_two_accounts_on_the_same_queues_is_away_and_the_other_does_not_notice(
    broker_url: str, tmp_path: Path
) -> None:
    # Fetches are answered, so that there is work for the account that is away.
    faults = Faults(**UNAVAILABLE, exempt=frozenset({"Fetch"}))
    async with RetailopsSandbox(vendor_id="31", api_key="the-other-key", seed=43, faults=faults) as gone:
        gone.add_orders(6)
        async with staged(
            broker_url,
            tmp_path,
            orders=0,
            seed=44,
            with_retailops=True,
            accounts=[retailops_settings(gone)],
        ) as stage:
            # Sooner than elsewhere: until it opens, completions spend attempts on waiting for the mark before them.
            stage.hub.environ |= SETTINGS | {"HUB_OUTAGE__FAILURES": "2", "HUB_OUTAGE__OVER": "0s"}
            stage.hub.start()
            await away_for_longer_than_all_waits(stage, "retailops:31")

            begun = time.monotonic()
            stage.place(orders=0, purchase_orders=4)
            await finished(stage, within=15)
            took = time.monotonic() - begun
            assert gone.unfinished() == list(gone.orders)
            some_order = f"retailops:31:{next(iter(gone.orders))}"
            shown = stage.hub.desk("orders", "show", some_order)

            faults.rate = 0.0
            await eventually(lambda: not gone.unfinished(), within=30)
            stage.hub.stop()

    assert took < 12
    # Each of the consumers that wait for it says so once, however often it parks.
    assert 1 <= shown.stdout.count("waits for retailops:31, which is away since") <= 3, shown.stdout
    for flow in ("submit-purchase-orders", "complete-purchase-order", "advise-inventory"):
        assert await letters(broker_url, f"hub.retailops.{flow}.dead") == []
    assert (gone.violations, gone.regressions(), gone.doubled()) == ([], [], [])
    assert {line["destination"] for line in said(stage, "outage_opened")} == {"retailops:31"}
    assert unexplained(stage) == []


@pytest.mark.long
async def test_orders_of_an_iqmetrix_account_that_is_away_wait_for_it(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=12, seed=45) as stage:
        stage.hub.environ |= SETTINGS
        faults = stage.scene.iqmetrix.faults
        for name, value in UNAVAILABLE.items():
            setattr(faults, name, value)
        faults.exempt = frozenset({"feed", "feed/page", "token"})
        stage.place(orders=8)
        stage.hub.start()
        await away_for_longer_than_all_waits(stage, "iqmetrix:71204")
        for receiver in stage.scene.receivers:
            assert len(receiver.received) > 0

        faults.rate = 0.0
        await finished(stage, within=30)
        stage.hub.stop()

    assert await letters(broker_url, "hub.iqmetrix.update-order-status.dead") == []
    assert await letters(broker_url, "hub.iqmetrix.update-availability.dead") == []
    assert unexplained(stage) == []
