"""The feed to confirmed events, end to end: the hub beside a bare aio-pika confirm loop.

    python -m bench.confirm       ends with 1 when the ratio is missed, five minutes where nothing else runs

They take turns at the same broker, each into a quorum queue behind a topic exchange, persistent, mandatory and with
confirms. What counts is the time from the first confirmed event to the last.

    hub         a real `hub run iqmetrix_orders` that climbs an archive of the simulated iQmetrix, which is a process of
                its own. For each page of 50 entries it fetches and parses the page, validates every order, asks the
                state store (SQLite, on disk) which entries it has seen, records the orders with their lines, encodes
                and publishes the events with a log line each, commits seen keys and cursor, and writes two entries in
                each order's timeline. What it reads on the way down to the oldest page is not counted
    bare, one   the loop of aio-pika's own documentation, `await exchange.publish(...)`, one after the other, of the
                very bodies that the hub published, which lie ready in memory; nothing else. This is what is required
    bare, page  the same bodies, 50 publishes before their confirms are waited for; nothing is required against it
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

from bench.archive import PAGE_SIZE, QUEUE, Archive, archive
from bench.processes import BenchmarkError, contender, exit_status
from bench.rows import RATIO_COLUMNS, Ratio, median, spread
from hub.cli.output.printing import print_table
from hub.local_broker.node import PrivateNode

ENTRIES, ROUNDS = 10_000, 3
AGAINST_ONE = 0.9
_HUB, _ONE, _PAGE = (
    "hub, the whole way",
    "bare aio-pika, one after the other",
    "bare aio-pika, a page at a time",
)
# Publishes before their confirms are waited for.
_AT_ONCE: Mapping[str, int] = {_ONE: 1, _PAGE: PAGE_SIZE}
# Exchange and queue of the bare loop.
_BARE = "bench.confirming"
_KEY = "order.created.iqmetrix"


@dataclass(slots=True)
class Turns:
    """What each turn of one side took for an event, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    """Processor time of the thread with the event loop."""
    others: list[float] = field(default_factory=list)

    def add(self, events: int, wall: float, loop: float, others: float = 0.0) -> None:
        """Add a turn, of which these are the seconds."""
        for times, seconds in ((self.wall, wall), (self.loop, loop), (self.others, others)):
            times.append(seconds / events * 1000)

    @property
    def processor(self) -> float:
        """The median of all threads together."""
        return median([loop + others for loop, others in zip(self.loop, self.others, strict=True)])


async def hub_turn(known: Archive, entries: int, turns: Turns) -> None:
    """Let the hub catch up; its events stay in the queue.

    Raises:
        BenchmarkError: it did not come to the end of the feed.
    """
    async with known.hub() as measured:
        course = await known.catch_up(measured, entries)
        turns.add(course.counted, course.seconds, course.processor.loop, course.processor.others)


async def published(channel: AbstractChannel, entries: int) -> list[bytes]:
    """Take the bodies of the hub's events out of its queue."""
    bodies: list[bytes] = []
    queue = await channel.get_queue(QUEUE, ensure=False)
    async with queue.iterator(no_ack=True) as messages:
        async for message in messages:
            bodies.append(message.body)
            if len(bodies) == entries:
                break
    return bodies


async def bare_turn(process: subprocess.Popen[str], at_once: int, turns: Turns) -> None:
    """Let the bare loop publish.

    Raises:
        BenchmarkError: it ended instead.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{at_once}\n")
    process.stdin.flush()
    line = await asyncio.to_thread(process.stdout.readline)
    if not line:
        raise BenchmarkError(f"the bare loop ended with {process.wait()} instead of an answer")
    said: Mapping[str, Any] = json.loads(line)
    turns.add(said["events"], said["seconds"], said["processor"])


@contextmanager
def bare(known: Archive, file: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the bare loop while the context lasts."""
    environ = {"BENCH_BROKER": known.broker_url, "BENCH_EXCHANGE": _BARE, "BENCH_KEY": _KEY}
    arguments = ["-m", "bench.contenders.confirming", str(file)]
    with contender(arguments, known.folder, "confirming", environ, talks=True) as process:
        yield process


@asynccontextmanager
async def sides(folder: Path) -> AsyncIterator[Archive]:
    """Start broker and partner, and give the bare loop a way of its own through the broker."""
    async with PrivateNode(folder / "broker") as node, archive(node.url, folder / "hub") as known:
        # The hub declares its own, and refuses a store that is newer than its queues.
        async with known.hub():
            pass
        exchange = await known.channel.declare_exchange(_BARE, ExchangeType.TOPIC, durable=True)
        quorum: dict[str, Any] = {"x-queue-type": "quorum"}
        queue = await known.channel.declare_queue(_BARE, durable=True, arguments=quorum)
        await queue.bind(exchange, "order.created.*")
        yield known


async def measure(entries: int, rounds: int) -> Mapping[str, Turns]:
    """Let all take turns.

    Raises:
        BenchmarkError: somebody did not publish all.
    """
    every = {who: Turns() for who in (_HUB, *_AT_ONCE)}
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        file = Path(name) / "bodies.jsonl"
        async with sides(Path(name)) as known:
            for round_ in range(rounds):
                await hub_turn(known, entries, every[_HUB])
                if not round_:
                    bodies = await published(known.channel, entries)
                    await asyncio.to_thread(file.write_bytes, b"\n".join(bodies))
                await known.purge(QUEUE)
                with bare(known, file) as process:
                    for who, at_once in _AT_ONCE.items():
                        await bare_turn(process, at_once, every[who])
                        await known.purge(_BARE)
    return every


def report(entries: int, every: Mapping[str, Turns]) -> bool:
    """Print the tables; tells whether the ratio holds."""
    print_table(
        (
            "feed to confirmed events",
            "events/s",
            "middle half",
            "wall ms/event",
            "processor ms/event",
            "required",
        ),
        [
            (
                who,
                f"{1000 / median(turns.wall):.0f}",
                spread(turns.wall),
                f"{median(turns.wall):.2f}",
                f"{turns.processor:.2f}",
                f"{AGAINST_ONE:g} of it" if who == _ONE else "nothing",
            )
            for who, turns in every.items()
        ],
        title=f"{entries} events at one broker; medians of {len(every[_HUB].wall)} rounds",
    )
    of_hub = every[_HUB]
    print_table(
        ("the hub's process", "ms/entry"),
        [
            ("wall", f"{median(of_hub.wall):.2f}"),
            ("processor, the event loop's thread", f"{median(of_hub.loop):.2f}"),
            ("processor, the threads of the state store", f"{median(of_hub.others):.2f}"),
            ("processor, all", f"{of_hub.processor:.2f}"),
        ],
    )
    pairs = zip(every[_ONE].wall, of_hub.wall, strict=True)
    ratio = Ratio(_ONE, [theirs / ours for theirs, ours in pairs], AGAINST_ONE)
    print_table(RATIO_COLUMNS, [ratio.row()])
    return ratio.holds


def main() -> int:
    """Run and give the exit status."""
    options = argparse.ArgumentParser(prog="python -m bench.confirm")
    options.add_argument("--entries", type=int, default=ENTRIES, help=f"of the archive ({ENTRIES})")
    options.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all sides ({ROUNDS})")
    asked = options.parse_args()
    return exit_status(lambda: report(asked.entries, asyncio.run(measure(asked.entries, asked.rounds))))


if __name__ == "__main__":
    sys.exit(main())
