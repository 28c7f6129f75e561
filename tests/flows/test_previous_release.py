"""This release starts on what the previous one left behind: its store, its waiting copies and its letters.

`tests/data/README.md` says how that was recorded. The sandbox partners draw the same orders from the same seed.
"""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hub.sandbox import WebhookReceiver
from hub.state.engine.migrate import head
from tests.data.previous import messages, put_messages, put_store
from tests.data.record import SEED
from tests.eventually import eventually
from tests.flows.rig import Stage, staged, unexplained

UPDATES = "hub.iqmetrix.update-order-status"
LETTERS = "hub.webhook.acme.dead"


@asynccontextmanager
async def upgraded(broker_url: str, folder: Path) -> AsyncIterator[Stage]:
    """A hub of this release on the store and the broker of the previous one, whose partners work again."""
    put_store(folder)
    await put_messages(broker_url)
    async with staged(broker_url, folder, orders=9, seed=SEED, with_retailops=True) as stage:
        stage.place(orders=9 - stage.scene.placed, purchase_orders=1)
        # What was recorded is older with each day, and is not to be forgotten.
        stage.hub.environ["HUB_STATE__KEEP"] = "0"
        stage.hub.start()
        await eventually(stage.hub.ready, within=30, every=0.1)
        yield stage


async def test_what_the_previous_release_left_is_done_and_nothing_twice(
    broker_url: str, tmp_path: Path
) -> None:
    due = {client: _undelivered(client) for client in ("acme", "northwind")}
    late = {
        _order_of(message)
        for message in messages()
        if message["queue"].startswith("hub.wait.") and message["routing_key"] == UPDATES
    }
    cursors = dict(_rows(put_store(tmp_path), "SELECT poller, cursor FROM pollers"))

    async with upgraded(broker_url, tmp_path) as stage:
        updates = stage.scene.iqmetrix.updates
        await eventually(
            lambda: (
                all(len(receiver.received) >= len(due[receiver.name]) for receiver in stage.scene.receivers)
                and {update.order_id for update in updates} >= late
            ),
            within=20,
            because="what waited is done",
        )
        await eventually(partial(_has_polled_twice, stage), within=20, because="both partners are polled")
        assert await asyncio.to_thread(stage.hub.stop) == 0

    assert {receiver.name: _bodies(receiver) for receiver in stage.scene.receivers} == due
    assert {update.order_id for update in updates} == late
    assert [
        call.operation for call in stage.retailops.calls if call.operation not in ("Fetch", "CarrierClass")
    ] == []
    assert unexplained(stage) == []
    found = _rows(tmp_path / "hub.db", "SELECT version_num FROM alembic_version")
    assert found == [(head(),)]
    after = dict(_rows(tmp_path / "hub.db", "SELECT poller, cursor FROM pollers"))
    assert _place(after) == _place(cursors)


async def test_letters_of_the_previous_release_are_listed_and_replayed(
    broker_url: str, tmp_path: Path
) -> None:
    (letter,) = (
        message
        for message in messages()
        if message["queue"] == LETTERS and message["properties"].get("type") == "webhook.confirmation"
    )
    letter_id = letter["properties"]["message_id"]

    async with upgraded(broker_url, tmp_path) as stage:
        acme = stage.scene.receivers[0]
        listed = await asyncio.to_thread(
            stage.hub.desk, "letters", "list", "--each", "--queue", LETTERS, "--json"
        )
        replayed = await asyncio.to_thread(
            stage.hub.desk,
            "letters",
            "replay",
            letter_id,
            "--queue",
            LETTERS,
            "--yes",
            "--reason",
            "upgraded",
        )
        assert replayed.returncode == 0, replayed.stderr
        await eventually(lambda: bool(acme.received), within=20, because="the letter is delivered")
        await asyncio.to_thread(stage.hub.stop)

    assert letter_id in listed.stdout
    assert _bodies(acme) == [base64.b64decode(letter["body"])]


def _undelivered(client: str) -> list[bytes]:
    """Return the bodies of the stored requests that wait for a client; no event lies in its queue."""
    queue = f"hub.webhook.{client}"
    assert all(message["queue"] != queue for message in messages())
    return sorted(
        base64.b64decode(message["body"])
        for message in messages()
        if message["queue"].startswith("hub.wait.") and message["routing_key"] == queue
    )


def _order_of(message: Mapping[str, Any]) -> str:
    body = orjson.loads(base64.b64decode(message["body"]))
    order_id: str = body.get("data", body)["order_id"]
    return order_id.rpartition(":")[2]


def _bodies(receiver: WebhookReceiver) -> list[bytes]:
    return sorted(got.body for got in receiver.received)


def _rows(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as database:
        return database.execute(query).fetchall()


def _place(cursors: Mapping[str, str]) -> Any:
    """Return where in the feed the cursor of iQmetrix stands."""
    (cursor,) = (text for poller, text in cursors.items() if poller.startswith("iqmetrix"))
    return orjson.loads(cursor)["archive"]


def _has_polled_twice(stage: Stage) -> bool:
    feed = [request for request in stage.scene.iqmetrix.requests if "Notifications" in request.path]
    return len(feed) >= 2 and len(stage.retailops.requests) >= 2
