"""What ``bench.soak`` samples of a hub at rest, and what it makes of the samples.

Resident memory, tasks, open files and threads of the process; the channels that the broker has. What counts is the
slope over the second half: the first fills caches, pools and the allocator. A slope misses its limit when it is above it
by more than twice its standard error, and for pieces, when they have risen by more than a few. The SQLite file grows by design and has no limit: a record for each effect, kept
until ``state.keep`` is over.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from bench.processes import SAMPLE_SECONDS, BenchmarkError, Hub
from bench.trend import Trend
from bench.units import Endpoint, Told
from hub.cli.output.printing import print_table
from hub.local_broker.node import PrivateNode
from hub.local_broker.node_files import Identity

# Per 100,000 events, MB of 1,000,000 bytes. Shorter halves say nothing: the allocator takes memory by the megabyte.
MEMORY_LIMIT, MEMORY_EVENTS = 1.0, 100_000
# Per 100 reconnects, pieces: a leak at every reconnect would be 100.
PIECES_LIMIT, PIECES_RECONNECTS = 2.0, 100
# A pool that takes some more is no leak, however surely few samples show it.
PIECES_FEWEST = 3
# A poll or a look at the queues may be on its way in one look: the median of some is the rest.
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """The hub at rest after some units and reconnects; bytes and pieces."""

    units: int
    reconnects: int
    resident: int
    tasks: float
    channels: float
    files: float
    threads: float
    store: int


async def channels_of(node: PrivateNode) -> int:
    """Give the number of channels that a broker with the Prometheus plugin has; one is the benchmark's.

    Raises:
        BenchmarkError: it does not tell.
    """
    known = Identity.read(node.data_dir)
    port = known.ports["prometheus"] if known else 0
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics", raise_for_status=True) as answer,
    ):
        for line in (await answer.text()).splitlines():
            if line.startswith("rabbitmq_channels "):
                return int(float(line.split()[1]))
    raise BenchmarkError("expected rabbitmq_channels among the metrics of the broker, got none")


async def sample(hub: Hub, client: Endpoint, node: PrivateNode, store: Path) -> Sample:
    """Look at a hub that is at rest."""
    process = psutil.Process(hub.process.pid)
    looks = []
    for _ in range(_LOOKS):
        looks.append(
            (
                await hub.metric("hub_tasks"),
                await channels_of(node),
                process.num_fds(),
                process.num_threads(),
            )
        )
        await asyncio.sleep(SAMPLE_SECONDS)
    tasks, channels, files, threads = (statistics.median(column) for column in zip(*looks, strict=True))
    return Sample(
        (await client.told()).units,
        int(await hub.metric("hub_broker_reconnects_total")),
        hub.resident(),
        tasks,
        channels,
        files,
        threads,
        sum(file.stat().st_size for file in store.parent.glob(f"{store.name}*")),
    )


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a soak."""

    events: int
    cuts: int
    seconds: float
    samples: Sequence[Sample]
    told: Told
    entries: int
    taken_in: int
    left: int
    repeated: int

    @property
    def half(self) -> Sequence[Sample]:
        """The samples that count."""
        return self.samples[len(self.samples) // 2 :]

    @property
    def exact(self) -> bool:
        """Whether nothing was lost or left, and nothing done twice."""
        return self.told.units == self.events == self.told.posts and not self.left


def report(course: Course) -> bool:
    """Print both tables; tells whether every limit holds."""
    growth = [
        _memory(course.half),
        *(
            _pieces(course.half, name, of)
            for name, of in (
                ("asyncio tasks", lambda each: each.tasks),
                ("AMQP channels at the broker", lambda each: each.channels),
                ("open files", lambda each: each.files),
                ("threads", lambda each: each.threads),
            )
        ),
    ]
    events = [each.units for each in course.half]
    store = [each.store / 1e6 for each in course.half]
    print_table(
        ("second half, at rest", "at its begin", "at its end", "slope", "limit", "verdict"),
        [*growth, (*_row("SQLite file, MB", events, store, 100_000, "events"), "none", "grows by design")],
        title=f"hub run, {course.events} events, {course.cuts} times cut off from the broker",
    )
    _print_account(course)
    return course.exact and not any(row[-1] == "MISSED" for row in growth)


def _print_account(course: Course) -> None:
    told = course.told
    print_table(
        ("all of it", ""),
        [
            ("minutes", f"{course.seconds / 60:.1f}"),
            ("events/s, with cuts and samples", f"{course.events / course.seconds:.0f}"),
            ("reconnects that the hub counted", course.samples[-1].reconnects),
            ("events lost", course.events - told.units),
            ("delivered again by the broker and answered by the ledger", course.repeated),
            ("posted twice", told.posts - told.units),
            ("entries of the feed, and how many were taken in", f"{course.entries}, {course.taken_in}"),
            ("messages left in any queue, letters among them", course.left),
            ("nothing lost, left or done twice", "ok" if course.exact else "MISSED"),
        ],
    )


def _memory(half: Sequence[Sample]) -> tuple[str, ...]:
    events = [each.units for each in half]
    resident = [each.resident / 1e6 for each in half]
    row = _row("resident memory, MB", events, resident, 100_000, "events")
    holds = Trend.of(events, resident).per(100_000).below(MEMORY_LIMIT)
    if events[-1] - events[0] < MEMORY_EVENTS:
        return (*row, f"{MEMORY_LIMIT:g}", f"needs {MEMORY_EVENTS} events to tell")
    return (*row, f"{MEMORY_LIMIT:g}", "ok" if holds else "MISSED")


def _pieces(half: Sequence[Sample], name: str, of: Callable[[Sample], float]) -> tuple[str, ...]:
    reconnects, values = [each.reconnects for each in half], [of(each) for each in half]
    if reconnects[0] == reconnects[-1]:
        # Nothing to hold it against but the number of waves.
        reconnects = list(range(len(half)))
    row = _row(name, reconnects, values, PIECES_RECONNECTS, "reconnects")
    trend = Trend.of(reconnects, values)
    risen = trend.per(reconnects[-1] - reconnects[0]).slope
    holds = risen < PIECES_FEWEST or trend.per(PIECES_RECONNECTS).below(PIECES_LIMIT)
    return (*row, f"{PIECES_LIMIT:g}", "ok" if holds else "MISSED")


def _row(
    name: str, over: Sequence[float], values: Sequence[float], span: int, unit: str
) -> tuple[str, str, str, str]:
    trend = Trend.of(over, values).per(span)
    return name, f"{values[0]:g}", f"{values[-1]:g}", f"{trend} per {span} {unit}"
