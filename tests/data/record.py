"""Record what a release leaves behind: its state store, its messages, its definitions; for the tests of an upgrade.

    python -m tests.data.record FOLDER

It runs the hub beside sandbox partners until everything that an upgrade meets is there, stops it, and writes it down. The
README says how a release of the past is recorded.
"""

import asyncio
import base64
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import aio_pika
import orjson

from hub.local_broker.node import PrivateNode
from hub.sandbox.fault_injection import Fault
from tests.eventually import eventually
from tests.flows.rig import Stage, staged
from tests.nodes import running

SEED = 29
# Six attempts at once; and one, then time to stop the hub.
SHORT = '["100ms", "101ms", "102ms", "103ms", "104ms"]'
LONG = '["30m", "31m", "32m", "33m", "34m"]'
# Of a header or a property that JSON has no value for.
_TIME, _BYTES = "@time", "@bytes"


async def record(broker_url: str, work: Path, to: Path) -> None:
    """Run the hub and write down what it leaves."""
    async with staged(broker_url, work, orders=9, seed=SEED, with_retailops=True) as stage:
        store = Path(work / "hub.db")
        await _start(stage, SHORT)
        await _finish(stage, orders=6)
        await _leave_a_letter(stage, store)
        await _stop(stage)
        await _start(stage, LONG)
        await _leave_work(stage, broker_url)
        await eventually(lambda: _is_left(store), within=20, every=0.2, because="copies wait")
        exported = await asyncio.to_thread(stage.hub.desk, "topology", "export")
        assert exported.returncode == 0, exported.stderr
        await _stop(stage)
    definitions = orjson.loads(exported.stdout)
    (to / "definitions.json").write_bytes(orjson.dumps(definitions))
    messages = await _taken(broker_url, definitions)
    (to / "messages.json").write_bytes(orjson.dumps(messages, option=orjson.OPT_INDENT_2) + b"\n")
    _keep(store, to / "hub.db")


async def _start(stage: Stage, waits: str) -> None:
    stage.hub.environ["HUB_RETRY__WAITS"] = waits
    stage.hub.start()
    await eventually(stage.hub.ready, within=40, every=0.1)


async def _stop(stage: Stage) -> None:
    status = await asyncio.to_thread(stage.hub.stop)
    assert status == 0, stage.hub.log[-2000:]


async def _leave_a_letter(stage: Stage, store: Path) -> None:
    """Let a client refuse a webhook until its stored request is a letter."""
    stage.scene.receivers[0].respond(
        422, times=6, errors=[{"field": "brand", "message": "is not known here"}]
    )
    stage.place(orders=1)
    letters = (
        "SELECT count(*) FROM timeline WHERE what = 'dead' AND facts ->> 'type' = 'webhook.confirmation'"
    )
    await eventually(
        lambda: _count(store, letters) == 1, within=20, every=0.2, because="a webhook is a letter"
    )


async def _finish(stage: Stage, *, orders: int) -> None:
    """Bring the first orders to their final state."""
    stage.place(orders=orders - stage.scene.placed, purchase_orders=1)
    stage.scene.orders = stage.scene.placed
    await eventually(lambda: not stage.scene.unfinished(), within=90, every=0.2)


async def _leave_work(stage: Stage, broker_url: str) -> None:
    """Let the partners refuse what comes now, so that copies wait and letters are written."""
    scene = stage.scene
    _, northwind = scene.receivers
    for endpoint in ("orders/update", "items/update"):
        scene.iqmetrix.faults.script(endpoint, [Fault.throttled_bare] * 50)
    northwind.respond(500, times=50)
    stage.place(orders=2)
    connection = await aio_pika.connect(broker_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("hub.fulfillment")
        unknown = {"order_id": f"iqmetrix:71204:{'0' * 8}-0000-0000-0000-{'0' * 12}", "lines": []}
        message = aio_pika.Message(
            orjson.dumps(unknown),
            type="order.cancelled",
            message_id="cancel-nothing",
            content_type="application/json",
        )
        await exchange.publish(message, "order.cancelled.iqmetrix")


def _is_left(store: Path) -> bool:
    waiting = (
        "SELECT count(DISTINCT facts ->> 'message_id') FROM timeline"
        " WHERE what = 'waiting' AND facts ->> 'queue' = 'hub.iqmetrix.update-order-status'"
    )
    return (
        _count(store, "SELECT count(*) FROM effects WHERE state = 'travelling'") >= 4
        and _count(store, waiting) >= 4
    )


def _count(store: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        found: int = database.execute(query).fetchone()[0]
        return found


async def _taken(broker_url: str, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Take all messages out of the broker, as what it would deliver."""
    found = []
    connection = await aio_pika.connect(broker_url)
    async with connection:
        channel = await connection.channel()
        for name in sorted(queue["name"] for queue in definitions["queues"]):
            queue = await channel.get_queue(name, ensure=False)
            while (message := await queue.get(fail=False)) is not None:
                await message.ack()
                found.append(_written(name, message))
    return found


def _written(queue: str, message: aio_pika.abc.AbstractIncomingMessage) -> dict[str, Any]:
    names = (
        "content_type",
        "type",
        "message_id",
        "correlation_id",
        "timestamp",
        "app_id",
        "content_encoding",
    )
    properties = {name: getattr(message, name) for name in names}
    return {
        "queue": queue,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "properties": {name: _plain(value) for name, value in properties.items() if value is not None},
        "headers": {name: _plain(value) for name, value in message.headers.items()},
        "body": base64.b64encode(message.body).decode(),
    }


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return {_TIME: value.isoformat()}
        case bytes() | bytearray():
            return {_BYTES: base64.b64encode(value).decode()}
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value


def _keep(store: Path, to: Path) -> None:
    """Copy the store as one small file."""
    to.unlink(missing_ok=True)
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM INTO ?", (str(to),))
    with closing(sqlite3.connect(to)) as copy:
        # Most tables hold a few rows: small pages make a small file.
        copy.execute("PRAGMA page_size = 1024")
        copy.execute("VACUUM")


def main() -> None:
    """Record into the folder of the first argument."""
    to = Path(sys.argv[1])
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "hub").mkdir()
        with running(PrivateNode(work / "node")) as node:
            asyncio.run(record(node.url, work / "hub", to))


if __name__ == "__main__":
    main()
