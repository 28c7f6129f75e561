"""From an event to the delivered webhook, at half of what one consumer can do: how long it takes.

    python -m bench.latency       ends with 1 when the limit is missed, two minutes where nothing else runs

First the rate at which all is saturated: units are published as fast as the broker confirms them, 200 at a time, while one
`hub run deliver_webhooks` posts them to a receiver that answers at once; publisher, broker, hub and receiver share the
machine. Then units are published at half of that rate, evenly. The time of each runs from before its publish to its
receipt at the receiver, a process of its own; nothing waits on the ladder, so what is measured is the broker, the ledger
of effects on disk, and the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.clients import Stopwatch, at_rate, quantile
from bench.deliver import Bench, benches
from bench.processes import exit_status, hub
from bench.rows import verdict
from hub.cli.output.printing import print_table

SECONDS, LOAD = 20.0, 0.5
# Units, one second of them, before what counts: a new process is slow.
WARM_UP = 50
# Units of the saturated rate, and how many of them are not confirmed at once.
FLOOD, _AT_ONCE = 10_000, 200
# At half load no queue builds up; a p99 above this is one that does. It leaves room for what else two cores do.
P99_LIMIT_SECONDS = 0.5
_WHO = "hub"


@dataclass(frozen=True, slots=True)
class Latency:
    """Units per second, and seconds for each unit."""

    saturated: float
    offered: float
    seconds: Sequence[float]


async def saturated(bench: Bench) -> float:
    """Measure how many units a second are published, delivered and posted at most."""
    watch, room = Stopwatch(), asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            await watch.publish(bench.desk, f"flood-{number}")

    await bench.expect(FLOOD)
    begun = time.time()
    async with asyncio.TaskGroup() as group:
        for number in range(FLOOD):
            group.create_task(one(number))
    await bench.answer(_WHO)
    said = await bench.answer(_WHO)
    last: float = max(said["arrived"].values())
    return FLOOD / (last - begun)


async def publish(bench: Bench, name: str, count: int, per_second: float) -> Mapping[str, float]:
    """Publish units evenly; gives how many seconds each took, once all have come.

    Raises:
        BenchmarkError: they have not come in time.
    """
    watch = Stopwatch()
    await bench.expect(count)
    await at_rate(count, per_second, lambda number: watch.publish(bench.desk, f"{name}-{number}"))
    await bench.answer(_WHO)
    said = await bench.answer(_WHO)
    return watch.seconds({unit: datetime.fromtimestamp(at, UTC) for unit, at in said["arrived"].items()})


async def measure(seconds: float) -> Latency:
    """Measure the rate, then the latency.

    Raises:
        BenchmarkError: something was not delivered.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with benches(folder) as bench:
            with hub(folder, bench.hub_environment(), "deliver_webhooks") as measured:
                await measured.ready()
                await publish(bench, "warm", WARM_UP, WARM_UP)
                most = await saturated(bench)
                offered = most * LOAD
                taken = await publish(bench, "unit", round(seconds * offered), offered)
    return Latency(most, offered, list(taken.values()))


def report(latency: Latency) -> bool:
    """Print the table; tells whether the limit holds."""
    p99 = quantile(latency.seconds, 0.99)
    print_table(
        ("event to delivered webhook, at half load", "hub run deliver_webhooks"),
        [
            ("events/s when saturated", f"{latency.saturated:.0f}"),
            ("events/s offered", f"{latency.offered:.0f}"),
            ("units", len(latency.seconds)),
            *((f"p{share * 100:g}", _ms(quantile(latency.seconds, share))) for share in (0.5, 0.95, 0.99)),
            ("slowest", _ms(max(latency.seconds))),
            (f"p99 below {_ms(P99_LIMIT_SECONDS)}", verdict(p99 < P99_LIMIT_SECONDS)),
        ],
    )
    return p99 < P99_LIMIT_SECONDS


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Run and give the exit status."""
    options = argparse.ArgumentParser(prog="python -m bench.latency")
    options.add_argument("--seconds", type=float, default=SECONDS, help=f"of publishing ({SECONDS:g})")
    return exit_status(lambda: report(asyncio.run(measure(options.parse_args().seconds))))


if __name__ == "__main__":
    sys.exit(main())
