"""What goes wrong in the field, one thing at a time, with the hub as a process of its own."""

import asyncio
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import orjson

from hub.sandbox import Fault
from tests.broker.rig import depth, letters, outsider, send
from tests.eventually import eventually
from tests.flows.rig import Stage, finished, staged, unexplained
from tests.ports import kept

UNIT = {
    "from_disposition": "rtv",
    "to_disposition": "rts",
    "timestamp": "2024-05-16T11:03:27Z",
    "location_identifier": "L",
    "warehouse_identifier": "22",
    "program_identifier": "p",
    "optiturn_lp": "LP-1",
    "upc": "1",
    "from_condition": "TT",
    "to_condition": "N",
}


async def test_422_six_times_is_six_identical_attempts_and_a_letter_whose_replay_sends_the_same_bytes(
    broker_url: str, tmp_path: Path
) -> None:
    """Edge case 32."""
    async with staged(broker_url, tmp_path, orders=3, seed=1) as stage:
        stage.hub.environ["HUB_RETRY__WAITS"] = '["100ms", "200ms", "400ms", "800ms", "1600ms"]'
        acme, northwind = stage.scene.receivers
        stage.hub.start()
        await eventually(lambda: any(b"LPNF0093127" in item.body for item in acme.received), within=30)
        acme.respond(422, 6, webhook="disposition")

        async with outsider(broker_url) as channel:
            await send(channel, "hub.fulfillment", "unit.disposition_changed", orjson.dumps(UNIT))

        async def dead() -> bool:
            return await depth(broker_url, "hub.webhook.acme.dead") == 1

        await eventually(dead, within=30)
        attempts = [attempt for attempt in acme.attempts if b'"LP-1"' in attempt.body]
        assert [attempt.status for attempt in attempts] == [422] * 6
        assert len({attempt.body for attempt in attempts}) == 1
        gaps = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(attempts)]
        waits = [0.1, 0.2, 0.4, 0.8, 1.6]
        assert [gap for gap, wait in zip(gaps, waits, strict=True) if gap < wait] == []
        assert [item.json["optiturn_lp"] for item in northwind.received if b"LP-1" in item.body] == ["LP-1"]

        shown = stage.hub.desk("letters", "list")
        replayed = stage.hub.desk(
            "letters", "replay", "--queue", "hub.webhook.acme", "--reason", "test", "--yes"
        )

        await eventually(lambda: any(b'"LP-1"' in item.body for item in acme.received), within=20)
        again = next(item for item in acme.received if b'"LP-1"' in item.body)
        stage.hub.stop()
    assert again.body == attempts[0].body
    assert "422" in shown.stdout
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


async def test_a_dead_client_delays_no_other_and_gets_everything_when_it_is_back(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=6, seed=11) as stage:
        acme, northwind = stage.scene.receivers
        await acme.stop()
        with kept(acme.url) as port:
            stage.hub.start()
            stage.scene.iqmetrix.add_orders(4)
            stage.scene.placed = stage.scene.orders

            def others_are_served() -> bool:
                due = stage.scene.warehouse.webhooks_due
                return (
                    due > 0 and len(stage.scene.iqmetrix.unfinished()) == 0 and len(northwind.received) >= due
                )

            await eventually(others_are_served, within=30)
            assert acme.received == []
            await acme.start(port=port)
        await finished(stage, within=40)
        stage.hub.stop()
    assert unexplained(stage) == []


async def test_revoked_tokens_are_renewed_in_mid_flow(broker_url: str, tmp_path: Path) -> None:
    """Edge case 11: also in the middle of the descent; edge case 30."""
    async with staged(broker_url, tmp_path, orders=24, seed=12) as stage:
        stage.hub.start()
        await eventually(lambda: len(stage.scene.receivers[0].received) >= 2, within=30)

        stage.scene.iqmetrix.revoke_tokens()
        stage.scene.receivers[0].revoke_tokens()
        stage.scene.iqmetrix.add_orders(16)
        stage.scene.placed = stage.scene.orders
        await finished(stage, within=40)
        stage.hub.stop()

    assert unexplained(stage) == []
    assert stage.scene.iqmetrix.tokens_issued == 2
    assert stage.scene.receivers[0].tokens_issued == 2


def _asked_again(stage: Stage, seen: int) -> bool:
    return len(stage.scene.iqmetrix.requests) > seen


async def test_a_page_that_rolls_over_between_two_reads_loses_no_order(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=35, seed=13) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        for _ in range(3):
            seen = len(stage.scene.iqmetrix.requests)
            stage.scene.iqmetrix.roll_over_between_reads()
            stage.scene.iqmetrix.add_orders(3)
            await eventually(partial(_asked_again, stage, seen), within=20)
        stage.scene.placed = stage.scene.orders

        await finished(stage, within=60)
        stage.hub.stop()

    assert unexplained(stage) == []


async def test_429_with_each_of_its_three_hints_slows_the_poller_and_costs_nothing(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=6, seed=14) as stage:
        hints = [Fault.throttled, Fault.throttled_retry_after, Fault.throttled_bare]
        stage.scene.iqmetrix.faults.script("feed", hints)
        stage.scene.iqmetrix.faults.script("orders/update", hints)
        stage.hub.start()
        stage.scene.iqmetrix.add_orders(4)
        stage.scene.placed = stage.scene.orders

        await finished(stage, within=60)
        stage.hub.stop()

    assert unexplained(stage) == []
    assert Counter(stage.hub.log.split('"'))["poll_failed"] >= 3


async def test_a_missing_archive_page_raises_an_alarm_and_holds_the_cursor_until_it_is_back(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=30, seed=15) as stage:
        iqmetrix = stage.scene.iqmetrix
        iqmetrix.add_orders(20)
        stage.scene.placed = 30
        gone = iqmetrix.page_ids[1]
        iqmetrix.fail_page(gone, 404, times=2)
        stage.hub.start()

        await eventually(lambda: "feed_held" in stage.hub.log, within=30)
        assert "hub cursor" in stage.hub.log
        await finished(stage, within=60)
        stage.hub.stop()

    assert unexplained(stage) == []


async def test_a_malformed_entry_lies_raw_in_the_producers_dead_letter_queue_and_can_be_shown(
    broker_url: str, tmp_path: Path
) -> None:
    """Edge case 10."""
    async with staged(broker_url, tmp_path, orders=6, seed=16) as stage:
        stage.scene.iqmetrix.add_entry_xml(
            '<entry xmlns="http://www.w3.org/2005/Atom"><id>urn:uuid:odd</id><updated>2024-05-14T16:02:09Z</updated>'
            '<content type="application/xml"><order-teleported xmlns="urn:iQmetrix:dropship"/></content></entry>'
        )
        stage.hub.start()
        stage.scene.iqmetrix.add_orders(4)
        stage.scene.placed = stage.scene.orders
        await finished(stage, within=40)
        shown = stage.hub.desk("letters", "list", "--json")
        stage.hub.stop()

    (letter,) = await letters(broker_url, "hub.iqmetrix.orders.dead")
    assert b"order-teleported" in letter.body
    assert "order-teleported" in str(letter.headers["x-hub-reason"])
    assert "hub.iqmetrix.orders" in shown.stdout


async def test_an_unknown_order_and_too_many_units_are_letters_that_name_the_field(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=3, seed=17) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        unknown = {"order_id": "iqmetrix:71204:nobody-ordered-this", "reason": "gone"}

        async with outsider(broker_url) as channel:
            await send(channel, "hub.fulfillment", "order.cancelled.iqmetrix", orjson.dumps(unknown))

        found = []

        async def dead() -> bool:
            found.extend(await letters(broker_url, "hub.webhook.acme.dead"))
            return bool(found)

        await eventually(dead, within=20)
        stage.hub.stop()

    assert str(found[0].headers["x-hub-reason"]).startswith("order_id: expected an order")
    assert found[0].headers["x-hub-attempts"] == 1, "it waited for the order at no attempt"


def _lose(folder: Path) -> None:
    for file in folder.glob("hub.db*"):
        file.unlink()


async def test_a_lost_state_store_is_noticed_and_nothing_is_sent_again_without_a_decision(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=3, seed=18) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        stage.hub.stop()
        _lose(tmp_path)

        stage.hub.start()
        refused = stage.hub.ended(within=30)
        stage.hub.names = ("--accept-empty-state",)
        stage.hub.start()
        await eventually(stage.hub.ready, within=30)
        stage.hub.stop()

    assert refused == 2
    assert "restore its backup" in stage.hub.log


async def test_wrong_settings_are_all_named_at_once_and_the_exit_status_is_2(
    broker_url: str, tmp_path: Path
) -> None:
    async with staged(broker_url, tmp_path, orders=3, seed=19) as stage:
        stage.hub.environ |= {"HUB_BROKER__PREFETCH": "many", "HUB_RETRY__WAITS": '["often"]'}

        stage.hub.start()
        status = await asyncio.to_thread(stage.hub.ended, within=30)

    assert status == 2
    assert "broker.prefetch" in stage.hub.log
    assert "retry.waits.0" in stage.hub.log
