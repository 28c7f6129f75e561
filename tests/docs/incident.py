"""Plays an incident from the alert to an empty dead-letter queue, and writes what was seen into docs/operations.md.

A private broker, the sandbox partners and a real hub process; Prometheus with the alert rules of the repository, looking
every second. A client's release refuses order confirmations for a while: letters pile up, the alert fires, the operator
looks, tries too early, waits for the client, sends two letters first and then the rest. `scripts/incident` runs it.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hub.cli.up.sandbox_scenario import Scene, sandbox_scene
from hub.local_broker.node import PrivateNode
from tests.docs.transcript import Operator, Transcript
from tests.docs.watch import PROMETHEUS, ROOT, Alerts, read, running, watched
from tests.ports import free_port

QUEUE = "hub.webhook.acme"
ALERT = "HubDeadLetters"
ORDERS = 12
# The ladder of the transcript: the shape of the real one, over in three seconds.
WAITS = ["100ms", "200ms", "400ms", "800ms", "1600ms"]
# Seconds until something that has to come is missed.
PATIENCE = 150.0


async def until(what: str, holds: Callable[[], Any]) -> Any:
    """Look twice a second until it holds, and give it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(holds)
        if found:
            return found
        await asyncio.sleep(0.5)
    raise SystemExit(f"expected within {PATIENCE:.0f} s: {what}")


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[Scene, dict[str, str]]]:
    """Start broker, partners and warehouse; gives them with the environment of a hub."""
    node = PrivateNode(folder / "broker")
    await node.start()
    try:
        async with sandbox_scene(node.url, folder, orders=9, seed=5, fault_rate=0.0) as scene:
            working = asyncio.create_task(scene.warehouse.run())
            await asyncio.wait_for(scene.warehouse.listening(), 30)
            environ = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")} | {
                "HUB_CONFIG": str(folder / "hub.toml"),
                "HUB_HTTP__PORT": str(free_port()),
                # From where the hub runs, so that its path is nowhere in the transcript.
                "HUB_STATE__URL": "sqlite+aiosqlite:///hub.db",
                "HUB_RETRY__WAITS": json.dumps(WAITS),
                "HUB_LOG__FORMAT": "json",
                "PYTHONPATH": str(ROOT),
            }
            try:
                yield scene, environ
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
    finally:
        await node.stop(grace=0)


async def play(folder: Path) -> None:
    """Play the incident and write it down."""
    async with stage(folder) as (scene, environ):
        port = int(environ["HUB_HTTP__PORT"])
        with (
            running([sys.executable, "-m", "hub", "run"], folder, environ, "hub"),
            watched(folder, port) as alerts,
        ):
            await until(
                "the hub is ready",
                lambda: '"ready":true' in read(f"http://127.0.0.1:{port}/readyz").replace(" ", ""),
            )
            acme = scene.receivers[0]
            await until("a quiet start", lambda: not scene.iqmetrix.unfinished())
            await until("quiet clients", lambda: len(acme.received) >= scene.warehouse.webhooks_due > 0)
            transcript = Transcript(ROOT / "docs/operations.md", folder)
            await _incident(scene, alerts, Operator(transcript, environ), port)
            transcript.write()


async def _incident(scene: Scene, alerts: Alerts, operator: Operator, port: int) -> None:
    acme, tell = scene.receivers[0], operator.transcript.tell
    acme.respond(
        422, 10**6, webhook="confirmation", errors=[{"field": "shipment.billed_weight", "code": "invalid"}]
    )
    scene.iqmetrix.add_orders(ORDERS)
    alert = await until(f"{ALERT} fires", lambda: alerts.firing(ALERT, f"{QUEUE}.dead"))

    rule = alert["annotations"]
    tell(
        f"**The alert**, from Prometheus with the rules of `monitoring/alerts.yml`:\n\n"
        f"> {alert['labels']['alertname']} ({alert['labels']['severity']}): **{rule['summary']}**. {rule['description']}"
        f" Runbook: {rule['runbook']}"
    )
    metric = next(
        line for line in read(f"http://127.0.0.1:{port}/metrics").splitlines()
        if line.startswith("hub_queue_messages") and f'"{QUEUE}.dead"' in line
    )  # fmt: skip
    operator.transcript.show("curl -s localhost:8080/metrics | grep acme.dead", metric)

    tell("**Look.** Is the ground firm? It is: so the fault is in what was sent, or at the client.")
    await asyncio.to_thread(operator.types, "doctor")
    await asyncio.to_thread(operator.types, "letters", "list")
    (group,) = [row for row in operator.asks("letters", "list") if row["queue"] == f"{QUEUE}.dead"]

    tell(
        "One reason for all of them, one client, and the other client gets the same webhooks. One letter in full shows"
        " what was posted (personal data masked):"
    )
    await asyncio.to_thread(operator.types, "letters", "show", group["example"], "--queue", QUEUE, most=40)
    (letter,) = operator.asks("letters", "show", group["example"], "--queue", QUEUE)

    tell(
        "A weight of this kind was taken yesterday. **Too early**: two letters as canaries, before anybody has mended"
        " anything. They fail again, and the rest stays where it is."
    )
    await asyncio.to_thread(
        operator.types, "letters", "replay", "--queue", QUEUE, "--first", "2", "--yes",
        "--reason", "see whether it was a passing fault", ends=1,
    )  # fmt: skip
    await until("the two are letters again", lambda: _dead(operator) == group["letters"])

    tell(
        "**Mend the cause.** A call to the client: a release at 03:10 refuses weights with decimals. They take it back."
        " What would be sent now?"
    )
    acme.relent()
    await asyncio.to_thread(operator.types, "letters", "replay", "--queue", QUEUE, "--dry-run", most=12)

    tell("**Two first, then the rest**, without a question since the two are done:")
    await asyncio.to_thread(
        operator.types, "letters", "replay", "--queue", QUEUE, "--first", "2", "--yes",
        "--reason", "acme took its release back",
    )  # fmt: skip

    tell("**Nothing is left**, and the order of that letter tells the whole story:")
    await until("every letter is gone", lambda: not operator.asks("letters", "list"))
    await asyncio.to_thread(operator.types, "letters", "list")
    await asyncio.to_thread(operator.types, "orders", "show", letter["order_id"])

    await until(f"{ALERT} clears", lambda: alerts.firing(ALERT, f"{QUEUE}.dead") is None)
    doubled = [twice for twice in acme.doubled() if not twice.excused]
    if doubled or acme.violations:
        raise SystemExit(f"the client was told something twice or wrongly: {doubled} {acme.violations}")
    tell(
        f"The alert has cleared by itself. The client got {len(acme.received)} webhooks since the start, none twice,"
        " and each with the bytes of its first attempt."
    )


def _dead(operator: Operator) -> int:
    return sum(row["letters"] for row in operator.asks("letters", "list") if row["queue"] == f"{QUEUE}.dead")


def main() -> None:
    """Run it in a folder that is gone afterwards."""
    if not PROMETHEUS.exists():
        raise SystemExit(
            f"expected Prometheus at {PROMETHEUS.relative_to(ROOT)}, got none: scripts/test-tools fetches it"
        )
    with tempfile.TemporaryDirectory(prefix="hub-incident-", ignore_cleanup_errors=True) as folder:
        asyncio.run(play(Path(folder)))


if __name__ == "__main__":
    main()
