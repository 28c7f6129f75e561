"""A client that is away for longer than all waits together, and 5,000 units for it: what is lost, and how it comes back.

    python -m bench.outage        ends with 1 when a promise is broken, within five minutes

The waits are scaled, so that all five pass in three seconds and the outage lasts several times as long. Another client
hears of the same units at the same hub. Nothing may be a dead letter, all must arrive once, and the other client must
have all of them while the first is away.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from bench.clients import Stopwatch, settings_of
from bench.processes import SAMPLE_SECONDS, Hub, exit_status, hub, hub_environment
from hub.amqp.sending.client_session import client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode
from hub.sandbox import WebhookReceiver

UNITS = 5_000
WAITS, WAITS_SECONDS = '["100ms", "200ms", "400ms", "800ms", "1600ms"]', 3.1
# The outage lasts until the other client has all, and so long at least.
AWAY_SECONDS = 5 * WAITS_SECONDS
# Publishes that wait for their confirms at once.
_CONFIRMS_AT_ONCE = 200
# A unit takes some 5 ms for each client on two cores.
_PATIENCE_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Course:
    """What came of the outage."""

    away_seconds: float
    others_seconds: float
    """Until the other client had all."""
    parked: int
    """How often a message for it was put on a rung meanwhile: failed, held back, or not due yet."""
    first_seconds: float
    """From the return to the first unit, and to the last."""
    all_seconds: float
    twice: int
    dead: int

    @property
    def holds(self) -> bool:
        """Whether nothing died or came twice; that all came is what was waited for."""
        return not (self.twice or self.dead)


async def course(broker_url: str, folder: Path) -> Course:
    """Measure one outage.

    Raises:
        BenchmarkError: a client did not get everything in time.
    """
    async with WebhookReceiver("gone") as gone, WebhookReceiver("well") as well:
        port = int(gone.url.rsplit(":", 1)[1])
        environ = hub_environment(folder, broker_url) | settings_of((gone, well))
        with hub(folder, environ | {"HUB_RETRY__WAITS": WAITS}, "deliver_webhooks") as measured:
            await measured.ready()
            await gone.stop()
            begun = time.monotonic()
            await _publish(broker_url)
            await _until(lambda: _known(well) == UNITS, measured, "told the client that is well of all")
            others = time.monotonic() - begun
            await measured.watch(max(AWAY_SECONDS - others, 0))
            away = time.monotonic() - begun
            settled = await _settled(measured)
            await gone.start(port=port)
            back = time.monotonic()
            await _until(lambda: bool(gone.received), measured, "told the client that is back of one")
            first = time.monotonic() - back
            await _until(lambda: _known(gone) == UNITS, measured, "told the client that is back of all")
            last = time.monotonic() - back
            dead = await measured.metric('hub_letters_total{queue="hub.webhook.gone"}')
            return Course(
                away, others, int(settled), first, last, len(gone.received) - _known(gone), int(dead)
            )


async def _publish(broker_url: str) -> None:
    async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as errand_:
        watch = Stopwatch()
        for start in range(0, UNITS, _CONFIRMS_AT_ONCE):
            names = [f"unit-{n}" for n in range(start, min(start + _CONFIRMS_AT_ONCE, UNITS))]
            await asyncio.gather(*(watch.publish(errand_, name) for name in names))


def _known(receiver: WebhookReceiver) -> int:
    return len({item.body for item in receiver.received})


async def _settled(measured: Hub) -> float:
    return await measured.metric('hub_deliveries_total{outcome="waiting",queue="hub.webhook.gone"}')


async def _until(reached: Callable[[], bool], measured: Hub, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise measured.failed(f"has not {what} in time")
        await measured.watch(4 * SAMPLE_SECONDS)


def report(found: Course) -> bool:
    """Print the table; tells whether what is promised holds."""
    print_table(
        ("a client is away", f"{UNITS} units"),
        [
            ("all waits together", f"{WAITS_SECONDS:g} s"),
            ("away for", f"{found.away_seconds:.1f} s"),
            ("the other client had all after", f"{found.others_seconds:.1f} s"),
            ("put on a rung while it was away", found.parked),
            ("back: the first unit after", f"{found.first_seconds:.1f} s"),
            ("back: the last unit after", f"{found.all_seconds:.1f} s"),
            ("units/s then", f"{UNITS / found.all_seconds:.0f}"),
            ("delivered twice", found.twice),
            ("dead letters", found.dead),
            ("none died or came twice", "ok" if found.holds else "MISSED"),
        ],
    )
    return found.holds


async def measure() -> bool:
    """Run and print what came of it; tells whether what is promised holds."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with PrivateNode(folder / "broker") as node:
            return report(await course(node.url, folder / "hub"))


def main() -> int:
    """Run and give the exit status."""
    return exit_status(lambda: asyncio.run(measure()))


if __name__ == "__main__":
    sys.exit(main())
