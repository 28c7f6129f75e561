"""A hub that finds an archive of the feed: the rate must not fall, and memory not grow, with the size of the archive.

    python -m bench.catch_up [--entries 200000]     ends with 1 when a limit is missed
                                                    three minutes for 20,000 entries, half an hour for 200,000

The rate of the last three tenths of the events is held against that of the first three, by their medians. Memory is
the resident set of a `hub run iqmetrix_orders` as the kernel counts it, from a hub that is warm: it has polled a small
feed to its end, so that imports, connections and the first pages are not taken for growth. The limit is the same for
every size.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.archive import PAGE_SIZE, Course, archive, tenths
from bench.processes import exit_status
from bench.rows import megabytes, verdict
from bench.trend import kept
from hub.cli.output.printing import print_table
from hub.local_broker.node import PrivateNode

ENTRIES = 20_000
# The least that the last tenths' rate may be of the first tenths'.
STEADY = 0.8
# What an archive may add to a warm hub; 1 MB is 1,000,000 bytes.
GROWTH_LIMIT_MB = 30
# Before and after: what is left once nothing is in flight.
_SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Growth:
    """The catch-up with the hub's resident sets, in bytes."""

    course: Course
    before: int
    peak: int
    after: int


async def measure(entries: int) -> Growth:
    """Measure one catch-up.

    Raises:
        BenchmarkError: the hub did not come to the end of the feed.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with (
            PrivateNode(folder / "broker") as node,
            archive(node.url, folder / "hub") as known,
            known.hub() as measured,
        ):
            measured.peak = before = await measured.watch(_SETTLE_SECONDS)
            course = await known.catch_up(measured, entries)
            return Growth(course, before, measured.peak, await measured.watch(_SETTLE_SECONDS))


def report(growth: Growth) -> bool:
    """Print both tables; tells whether both limits hold."""
    course, rates = growth.course, tenths(growth.course)
    steady, grown = kept(rates), megabytes(growth.peak - growth.before)
    print_table(
        ("catch-up of an archive", "hub run iqmetrix_orders"),
        [
            ("entries", course.entries),
            ("pages", course.entries // PAGE_SIZE),
            ("seconds down to what is known", f"{course.down_seconds:.1f}"),
            ("seconds up, first to last event", f"{course.seconds:.1f}"),
            ("events/s on the way up", f"{course.rate():.0f}"),
            (
                f"last three tenths to the first, at least {STEADY:g}",
                f"{steady:.2f} {verdict(steady >= STEADY)}",
            ),
            ("RSS before, warm", f"{megabytes(growth.before):.1f} MB"),
            ("RSS peak", f"{megabytes(growth.peak):.1f} MB"),
            ("RSS after", f"{megabytes(growth.after):.1f} MB"),
            (
                f"growth to the peak, below {GROWTH_LIMIT_MB} MB",
                f"{grown:.1f} MB {verdict(grown < GROWTH_LIMIT_MB)}",
            ),
        ],
    )
    print_table(
        [f"tenth {number}" for number in range(1, 11)],
        [[f"{rate:.0f}" for rate in rates]],
        title="events/s in each tenth of the events",
    )
    return steady >= STEADY and grown < GROWTH_LIMIT_MB


def main() -> int:
    """Run and give the exit status."""
    options = argparse.ArgumentParser(prog="python -m bench.catch_up")
    options.add_argument("--entries", type=int, default=ENTRIES, help=f"of the archive ({ENTRIES})")
    return exit_status(lambda: report(asyncio.run(measure(options.parse_args().entries))))


if __name__ == "__main__":
    sys.exit(main())
