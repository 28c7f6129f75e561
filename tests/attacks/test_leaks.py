"""No value that a publisher chose comes out of the hub, but into its effects and where `--unmask` shows it.

A canary stands in every leaf of every event in turn, in every property and in headers. Looked at are log, spans,
metrics, timeline, reasons and facts on letters, `hub letters list` and `hub letters show`.
"""

import asyncio
import copy
import io
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from prometheus_client import generate_latest

from hub.amqp.dead_letters.dead_letter import read
from hub.cli.dead_letters.rendering import in_full, row
from hub.observability import tracing
from hub.observability.logging import set_up_logging
from hub.observability.tracing import Kind, Span, Value
from tests.attacks.rig import Deployment, dead, shipped
from tests.broker import rig
from tests.eventually import eventually

CANARIES = (
    "Wilhelmina O'Canary",
    "Wilhelmína Kánarý",
    "Wilhelmina&#32;Canary",
    "Wilhelmina\\u0020Canary",
    "Wil\x1b[31mhelmina\u202eCanary",
    "Wilhelmina Canary <w.canary@roe.example> +1 208-555-0143",
    "Quackenbush",
)
# A word alone in a field of words (a carrier) is shown by `show`.
WORD = "Quackenbush"
TRACES = ("ilhelm", "ílheml", "anary", "ánarý", "roe.example", "555-0143", WORD, "\x1b", "\u202e", "helmina")
MARKER = "marker-4711"


class Recorder:
    """A tracer that keeps what spans say."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Mapping[str, Value],
        *,
        parents: Sequence[Mapping[str, object]] | None,
        links: Sequence[str],
    ) -> Iterator[Span]:
        self.said.append(f"{name} {dict(attributes)}")
        yield self

    def aside(self, name: str, kind: Kind, attributes: Mapping[str, Value]) -> tuple[Span, Mapping[str, str]]:
        self.said.append(f"{name} {dict(attributes)}")
        return self, {}

    def headers(self) -> dict[str, str]:
        return {}

    def ids(self) -> tuple[str, str] | None:
        return None

    def note(self, name: str, value: Value | None) -> None:
        self.said.append(f"{name}={value}")

    def failed(self, kind: str, text: str = "") -> None:
        self.said.append(f"{kind} {text}")

    def end(self) -> None:
        pass


def bodies(order_id: str) -> dict[str, Any]:
    line = {"sku": "NF", "line_id": "1", "quantity": 1}
    return {
        "order.accepted": {"order_id": order_id},
        "order.shipped": shipped(order_id, package_id="P-1", items=[line]),
        "order.cancelled": {"order_id": order_id, "reason": "r", "lines": [line]},
        "order.backordered": {
            "order_id": order_id,
            "message": "m",
            "estimated_ship_date": "2024-05-20",
            "lines": [line],
        },
        "order.ship_date_estimated": {
            "order_id": order_id,
            "estimated_ship_date": "2024-05-20",
            "lines": [line],
        },
        "order.failed": {"order_id": order_id, "status": "Error", "message": "m", "lines": [line]},
        "inventory.counted": {"items": [{"sku": "NF", "quantity": 1}], "sources": ["iqmetrix"]},
        "unit.disposition_changed": {
            "from_disposition": "a",
            "to_disposition": "b",
            "timestamp": "2024-05-16T11:03:27Z",
            "optiturn_lp": "LP",
            "upc": "1",
            "from_condition": "N",
            "to_condition": "N",
            "clients": ["acme"],
        },
    }


def poisoned(document: Any) -> Iterator[Any]:
    """The document with each of its values replaced in turn by a canary, or by an object with one as key."""
    for position, path in enumerate(paths(document)):
        canary = CANARIES[position % len(CANARIES)]
        changed = copy.deepcopy(document)
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = {canary: canary} if position % 4 == 3 else canary
        yield changed


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from paths(inner, (*path, step))


@pytest.mark.long
async def test_no_canary_of_a_publisher_comes_out_of_the_hub(deployment: Deployment) -> None:
    said, recorder = io.StringIO(), Recorder()
    with redirect_stderr(said):
        set_up_logging("json", "debug")
        tracing.begin(recorder)
        try:
            async with deployment.hub():
                order_id = await deployment.known_order()
                await publish_canaries(deployment, order_id)
                await eventually(lambda: said.getvalue().count(MARKER) >= 2, within=60, every=0.1)
                await deployment.has(dead("hub.webhook.acme"), 30)
        finally:
            tracing.end()
    listed = await deployment.desk("letters", "list", "--each", "--json")
    groups = await deployment.desk("letters", "list")
    found = [
        read(incoming, queue=queue, position=1)
        for queue in (dead(work.queue) for work in deployment.work_queues)
        for incoming in await deployment.take(queue)
    ]
    now = datetime.now(UTC)
    shown = {
        "log": said.getvalue(),
        "spans": "\n".join(recorder.said),
        "metrics": generate_latest().decode(),
        "timeline": await asyncio.to_thread(timeline, deployment),
        "reasons": "\n".join(f"{letter.reason} {letter.book.error}" for letter in found),
        "list": listed,
        "groups": groups,
        "rows": "\n".join(str(row(letter, now)) for letter in found),
    }
    pages = [in_full(letter, unmask=False) for letter in found]

    leaks: set[tuple[str, ...]] = {
        (name, trace) for name, text in shown.items() for trace in TRACES if trace in text
    }
    leaks |= {
        ("show", name, trace)
        for page in pages
        for name, fact in page.items()
        for trace in TRACES
        if trace in str(fact) and trace != WORD
    }
    assert leaks == set()
    assert len(found) > 100
    assert all(shown.values())


async def publish_canaries(deployment: Deployment, order_id: str) -> None:
    """Publish each event with a canary in each of its places, and then one that marks the end."""
    async with deployment.channel_of("publisher") as channel:

        async def send(key: str, body: bytes, **properties: Any) -> None:
            await rig.send(
                channel, "hub.fulfillment", key, body, **{"content_type": "application/json", **properties}
            )

        for key, document in bodies(order_id).items():
            for changed in poisoned(document):
                await send(key, orjson.dumps(changed))
        for canary in CANARIES[::3]:
            plain = orjson.dumps({"order_id": order_id, "packages": []})
            envelope = {"specversion": "1.0", "id": "1", "source": "/oms", "type": "order.shipped"}
            for name in ("message_id", "correlation_id", "type", "content_type", "app_id", "reply_to"):
                await send("order.shipped", plain, **{name: canary})
            for name in envelope:
                await send(
                    "order.shipped",
                    plain,
                    headers={f"ce-{k}": v for k, v in {**envelope, name: canary}.items()},
                )
            for name in ("x-hub-reason", "x-hub-error-code", "x-hub-order-id", "tenant", "traceparent"):
                await send("order.shipped", plain, headers={name: canary})
            await send("order.shipped", plain, headers={canary[:60]: canary})
            await send("order.shipped", canary.encode())
        await send("order.shipped", b"{}", message_id=MARKER)


def timeline(deployment: Deployment) -> str:
    with sqlite3.connect(deployment.folder / "hub.db") as database:
        return repr(database.execute("SELECT what, facts FROM timeline").fetchall())
