"""What the hub weighs: a catch-up of an archive of 400 pages, and a full hub that has nothing to do.

    python -m bench.memory        ends with 1 when a limit is missed, within five minutes

Both are the resident set of a ``hub run`` as the kernel counts it. The catch-up counts from a hub that is warm: it has
polled a small feed to its end, so that imports, connections and the first pages are not taken for growth.
"""

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import SAMPLE_SECONDS, BenchmarkError, Feed, hub, hub_environment, printed, running
from hub.amqp.node import PrivateNode
from hub.cli.output import note, print_table

# The archive of the promise: 400 pages of the feed's usual 50 entries.
PAGES, PAGE_SIZE = 400, 50
# Enough for the code paths, the connections and the pools that a catch-up uses to be there.
WARM_ORDERS = 3 * PAGE_SIZE
# What the archive may add to a warm hub, and what a full hub may weigh when idle; 1 MB is 1,000,000 bytes.
GROWTH_LIMIT_MB, IDLE_LIMIT_MB = 30, 150
# How long the idle hub is looked at after it is ready.
IDLE_SECONDS = 20.0
# After the last page: what is left once nothing is in flight.
SETTLE_SECONDS = 3.0
# The catch-up takes well under a minute on two cores; with broker, warm-up and idle it stays below five minutes.
CATCH_UP_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Growth:
    """The catch-up, resident sets in bytes."""

    entries: int
    seconds: float
    before: int
    peak: int
    after: int


@dataclass(frozen=True, slots=True)
class Idle:
    """The idle hub, resident sets in bytes."""

    ready: int
    peak: int
    after: int


async def catch_up(broker_url: str, folder: Path) -> Growth:
    """Measure a hub that finds an archive of ``PAGES`` pages above the few it knows.

    Raises:
        BenchmarkError: it did not come to the end of the feed.
    """
    with running(["-m", "bench.partners"], folder, "partners", {}, talks=True) as partners:
        feed = Feed.of(partners)
        known = feed.add(WARM_ORDERS)
        with hub(
            folder, hub_environment(folder, broker_url) | feed.settings(), "iqmetrix_orders"
        ) as measured:
            published = f'hub_taken_in_total{{fate="published",poller="iqmetrix.orders:{feed.account["supplier_id"]}"}}'

            async def taken_in(entries: int) -> None:
                deadline = time.monotonic() + CATCH_UP_SECONDS
                while await measured.metric(published) < entries:
                    if time.monotonic() > deadline:
                        raise measured.failed(f"has not taken in {entries} entries in time")
                    await measured.watch(10 * SAMPLE_SECONDS)

            await measured.ready()
            await taken_in(known)
            before = await measured.watch(SETTLE_SECONDS)
            measured.peak = before
            begun = time.monotonic()
            entries = await asyncio.to_thread(feed.add, PAGES * PAGE_SIZE)
            await taken_in(entries)
            seconds = time.monotonic() - begun
            after = await measured.watch(SETTLE_SECONDS)
            return Growth(entries - known, seconds, before, measured.peak, after)


async def idle(broker_url: str, folder: Path) -> Idle:
    """Measure a hub with all flows of the sandbox partners, which have no order for it."""
    arguments = ["-m", "hub", "sandbox", "--orders", "0", "--every", "0"]
    with running(arguments, folder, "partners", {}):
        # What it prints is the settings file.
        settings = await printed(folder / "partners.log")
        environ = hub_environment(folder, broker_url) | {"HUB_CONFIG": str(settings)}
        with hub(folder, environ) as measured:
            await measured.ready()
            measured.peak = ready = measured.resident()
            after = await measured.watch(IDLE_SECONDS)
            return Idle(ready, measured.peak, after)


def report(growth: Growth, idling: Idle) -> bool:
    """Print both tables; tells whether both limits hold."""
    grown, weighs = _mb(growth.peak - growth.before), _mb(idling.peak)
    print_table(
        ("catch-up of an archive", "hub run iqmetrix_orders"),
        [
            ("entries", growth.entries),
            ("pages", growth.entries // PAGE_SIZE),
            ("seconds", f"{growth.seconds:.1f}"),
            ("entries/s", f"{growth.entries / growth.seconds:.0f}"),
            ("RSS before, warm", f"{_mb(growth.before):.1f} MB"),
            ("RSS peak", f"{_mb(growth.peak):.1f} MB"),
            ("RSS after", f"{_mb(growth.after):.1f} MB"),
            ("growth to the peak", f"{grown:.1f} MB"),
            (f"below {GROWTH_LIMIT_MB} MB", _verdict(grown < GROWTH_LIMIT_MB)),
        ],
    )
    print_table(
        ("idle, all flows", "hub run"),
        [
            ("seconds", f"{IDLE_SECONDS:.0f}"),
            ("RSS when ready", f"{_mb(idling.ready):.1f} MB"),
            ("RSS peak", f"{weighs:.1f} MB"),
            ("RSS after", f"{_mb(idling.after):.1f} MB"),
            (f"below {IDLE_LIMIT_MB} MB", _verdict(weighs < IDLE_LIMIT_MB)),
        ],
    )
    return grown < GROWTH_LIMIT_MB and weighs < IDLE_LIMIT_MB


async def measure() -> bool:
    """Run both and print what came of it; tells whether both limits hold."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with PrivateNode(folder / "first") as node:
            growth = await catch_up(node.url, folder / "catch-up")
        # Another broker: 20,000 orders lie in the queues of the first one, and nobody is idle there.
        async with PrivateNode(folder / "second") as node:
            idling = await idle(node.url, folder / "idle")
    return report(growth, idling)


def main() -> int:
    """Run and give the exit status."""
    try:
        return 0 if asyncio.run(measure()) else 1
    except BenchmarkError as error:
        note(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _mb(size: int) -> float:
    return size / 1e6


def _verdict(holds: bool) -> str:
    return "ok" if holds else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
