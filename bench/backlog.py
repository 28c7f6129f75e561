"""Does a work queue that has become very long slow the hub down? The rate in tenths of the backlog, and the memory.

    python -m bench.backlog [--messages N]     ends with 1 when a limit is missed; 100,000 take some minutes

The messages lie in the queue before the hub starts; a client that answers at once takes them. The rate may be what it
is, and must stay what it is: the last three tenths are at least 0.8 times as fast as the first three, by their medians.
Memory must not follow the backlog: what the hub gains after the second tenth, when caches and pools are full, is
limited. The hub logs warnings only, since a million lines of the log would fill the disk of a small machine.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import SecretStr

from bench.processes import BenchmarkError, exit_status, hub, hub_environment
from bench.tally import PARTS
from bench.trend import kept
from bench.units import Endpoint, Told, endpoint, put
from hub.amqp.sending.client_session import client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode

MESSAGES = 100_000
# The rate of the last three tenths against the first three.
RATE_LIMIT = 0.8
# MB of 1,000,000 bytes, from the end of the second tenth to the end.
GROWTH_LIMIT_MB = 10.0
RUN = "backlog"
# Without another unit at the client.
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """What came of it: when each tenth began or ended (monotonic seconds), and the resident set after each, in bytes."""

    told: Told
    resident: Sequence[int]
    letters: int

    @property
    def seconds(self) -> Sequence[float]:
        """How long each tenth took."""
        marks = self.told.marks
        return [later - earlier for earlier, later in pairwise(marks)]

    @property
    def steadiness(self) -> float:
        """The rate of the last three tenths against the first three."""
        return kept([1 / seconds for seconds in self.seconds])

    @property
    def growth(self) -> int:
        """What the resident set has gained after the second tenth, in bytes."""
        return max(self.resident[2:]) - self.resident[1]


async def drained(messages: int, folder: Path, broker_url: str, client: Endpoint) -> Course:
    """Fill the queue, then start the hub and wait until its client has everything.

    Raises:
        BenchmarkError: the hub ended or stood still.
    """
    environ = hub_environment(folder, broker_url) | client.settings() | {"HUB_LOG__LEVEL": "warning"}
    # The hub declares its queue itself, and refuses a store that is newer than its queues.
    with hub(folder, environ, "deliver_webhooks") as first:
        await first.ready()
    async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as desk:
        await put(desk, RUN, 0, messages)
    await client.begin(RUN, messages)
    resident = []
    with hub(folder, environ, "deliver_webhooks") as measured:
        for part in range(1, PARTS + 1):
            wanted = -(-messages * part // PARTS)
            await client.until(_has(wanted), (measured,), _PATIENCE_SECONDS)
            resident.append(measured.resident())
        letters = int(await measured.metric('hub_letters_total{queue="hub.webhook.bench"}'))
        told = await client.told()
    return Course(told, resident, letters)


def _has(units: int) -> Callable[[Told], bool]:
    return lambda told: told.units >= units


def report(course: Course, messages: int) -> bool:
    """Print both tables; tells whether all limits hold."""
    print_table(
        ("tenth", "messages/s", "resident memory, MB"),
        [
            (number + 1, f"{messages / PARTS / seconds:.0f}", f"{resident / 1e6:.1f}")
            for number, (seconds, resident) in enumerate(zip(course.seconds, course.resident, strict=True))
        ],
        title=f"{messages} messages in a work queue before the hub started",
    )
    growth, again = course.growth / 1e6, course.told.posts - course.told.units
    limits = [
        (
            f"last three tenths against the first, at least {RATE_LIMIT:g}",
            f"{course.steadiness:.2f}",
            course.steadiness >= RATE_LIMIT,
        ),
        (
            f"memory gained after the second tenth, below {GROWTH_LIMIT_MB:g} MB",
            f"{growth:.1f} MB",
            growth < GROWTH_LIMIT_MB,
        ),
        ("dead letters, and posted twice", f"{course.letters}, {again}", not course.letters and not again),
    ]
    print_table(
        ("a long queue", "", "verdict"),
        [(what, found, "ok" if holds else "MISSED") for what, found, holds in limits],
    )
    return all(holds for *_, holds in limits)


async def measure(messages: int) -> bool:
    """Run and print what came of it; tells whether all limits hold.

    Raises:
        BenchmarkError: there are too few messages, or they were not delivered.
    """
    if messages < PARTS:
        raise BenchmarkError(f"expected {PARTS} messages or more, got {messages}")
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with PrivateNode(folder / "broker") as node:
            with endpoint(folder) as client:
                return report(await drained(messages, folder, node.url, client), messages)


def main() -> int:
    """Run and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.backlog")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    asked = parser.parse_args()
    return exit_status(lambda: asyncio.run(measure(asked.messages)))


if __name__ == "__main__":
    sys.exit(main())
