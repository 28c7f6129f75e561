"""One consumer process against two: how much faster, and which core is the limit; and how long a start takes.

    python -m bench.replicas      has no limits; ends with 1 when a process fails; within five minutes

One or two ``hub run deliver_webhooks`` on one broker and one state store, SQLite and, where there is a server,
PostgreSQL, both waiting for the disk. The events are put into the queue while the consumers are stopped (SIGSTOP), so
that all begin at once, and the time is from the first post to the last at an endpoint that answers at once. One and two
take turns. Processor time is given for each event of all; the sum of it, by the events a second, is how many cores were
busy. On a machine with two cores two consumers share them with broker, endpoint and store: the factor is the machine's.

A start is from exec to the first 200 of ``/readyz``, on a broker and a store that know the hub.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import SecretStr

from bench.processes import Hub, exit_status, hub, hub_environment, processor_seconds, running
from bench.rows import median, spread
from bench.units import Endpoint, endpoint, put
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.output.printing import note, print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode

EVENTS = 2_000
# Delivered first, and not counted: a new process is slow.
WARM_UP = 300
ROUNDS = 3
STARTS = 5
CONSUMERS = (1, 2)
_FLOW = "deliver_webhooks"
_PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Turns:
    """What so many consumers took on one store: seconds, and processor seconds by process, for each round."""

    store: str
    consumers: int
    seconds: list[float] = field(default_factory=list)
    used: list[Mapping[str, float]] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """Give the cells of the table."""
        used = {name: median([used[name] for used in self.used]) for name in self.used[0]}
        each = [f"{used[f'consumer {number}'] / EVENTS * 1000:.2f}" for number in range(self.consumers)]
        return (
            self.store,
            str(self.consumers),
            f"{EVENTS / median(self.seconds):.0f}",
            spread(self.seconds),
            *(f"{used[name] / EVENTS * 1000:.2f}" for name in ("broker", "endpoint")),
            " + ".join(each),
            f"{used['store'] / EVENTS * 1000:.2f}" if "store" in used else "in the consumers",
            f"{sum(used.values()) / median(self.seconds):.1f}",
        )


@dataclass(slots=True)
class Starts:
    """Starts on one store: seconds, and the resident set when ready, in bytes."""

    store: str
    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """A broker, a store and an endpoint, for consumers to come and go."""

    name: str
    folder: Path
    node: PrivateNode
    desk: ClientSession
    client: Endpoint
    store_url: str
    server: subprocess.Popen[str] | None

    @contextmanager
    def hub(self, number: int) -> Iterator[Hub]:
        """Run one consumer while the context lasts."""
        environ = hub_environment(self.folder, self.node.url) | self.client.settings()
        with hub(self.folder / f"hub-{number}", environ | {"HUB_STATE__URL": self.store_url}, _FLOW) as one:
            yield one

    async def start(self, starts: Starts) -> None:
        """Measure one start."""
        begun = time.monotonic()
        with self.hub(0) as one:
            await one.ready()
            starts.seconds.append(time.monotonic() - begun)
            starts.resident.append(one.resident())

    async def turn(self, turns: Turns, round_: int) -> None:
        """Measure one round.

        Raises:
            BenchmarkError: not everything was delivered.
        """
        async with AsyncExitStack() as stack:
            hubs = [stack.enter_context(self.hub(number)) for number in range(turns.consumers)]
            for each in hubs:
                await each.ready()
            run = f"{turns.consumers}-{round_}"
            await self._deliver(f"warm-{run}", WARM_UP, hubs)
            processes = [psutil.Process(each.process.pid) for each in hubs]
            for process in processes:
                process.suspend()
            await put(self.desk, run, 0, EVENTS)
            await self.client.begin(run, EVENTS)
            before = self._used(hubs)
            for process in processes:
                process.resume()
            told = await self.client.until(
                lambda told: told.units == EVENTS, tuple(hubs), _PATIENCE_SECONDS, look=0.2
            )
            after = self._used(hubs)
        turns.seconds.append(told.marks[-1] - told.marks[0])
        turns.used.append({name: after[name] - before[name] for name in after})

    async def _deliver(self, run: str, units: int, hubs: Sequence[Hub]) -> None:
        await self.client.begin(run, units)
        await put(self.desk, run, 0, units)
        await self.client.until(lambda told: told.units == units, tuple(hubs), _PATIENCE_SECONDS)

    def _used(self, hubs: Sequence[Hub]) -> dict[str, float]:
        assert self.node.pid is not None
        pids = {"broker": self.node.pid, "endpoint": self.client.process.pid}
        pids |= {f"consumer {number}": each.process.pid for number, each in enumerate(hubs)}
        if self.server is not None:
            pids["store"] = self.server.pid
        return {name: processor_seconds(pid) for name, pid in pids.items()}


@asynccontextmanager
async def placed(name: str, folder: Path, server: subprocess.Popen[str] | None) -> AsyncIterator[Place]:
    """Start broker and endpoint; the store is SQLite unless there is a server."""
    store_url = f"sqlite+aiosqlite:///{folder / 'hub.db'}" if server is None else await _database(server)
    async with PrivateNode(folder / "broker") as node:
        with endpoint(folder) as client:
            async with client_session(Broker(url=SecretStr(node.url)), name="bench") as desk:
                yield Place(name, folder, node, desk, client, store_url, server)


@contextmanager
def postgres(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the PostgreSQL of the tests while the context lasts, in a process of its own."""
    with running(["-m", "tests.postgres"], folder, "postgres", {}, talks=True) as server:
        yield server
        assert server.stdin is not None
        # It drops its databases and its folder by itself.
        server.stdin.close()
        server.wait(_PATIENCE_SECONDS)


async def _database(server: subprocess.Popen[str]) -> str:
    """Ask for a fresh database; empty where no server can be run."""
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        server.stdin.write("database\n")
        server.stdin.flush()
    except BrokenPipeError:
        return ""
    return (await asyncio.to_thread(server.stdout.readline)).strip()


async def measure_on(place: Place) -> tuple[Sequence[Turns], Starts]:
    """Let one and two consumers take turns, then start some."""
    turns = [Turns(place.name, consumers) for consumers in CONSUMERS]
    # The first hub declares what the others find.
    await place.start(Starts(place.name))
    for round_ in range(ROUNDS):
        for each in turns:
            await place.turn(each, round_)
    starts = Starts(place.name)
    for _ in range(STARTS):
        await place.start(starts)
    return turns, starts


def report(found: Sequence[tuple[Sequence[Turns], Starts]]) -> None:
    """Print the tables."""
    print_table(
        (
            "store",
            "consumers",
            "events/s",
            "middle half",
            "broker ms/event",
            "endpoint ms/event",
            "each consumer ms/event",
            "store ms/event",
            "cores busy",
        ),
        [turns.row() for both, _ in found for turns in both],
        title=f"{EVENTS} events to one client, {psutil.cpu_count()} cores; medians of {ROUNDS} rounds",
    )
    factors = []
    for (one, two), _ in found:
        each = [alone / both for alone, both in zip(one.seconds, two.seconds, strict=True)]
        factors.append((one.store, f"{median(each):.2f}", spread(each)))
    print_table(("two consumers against one", "times as fast", "middle half"), factors)
    print_table(
        ("hub run deliver_webhooks", "exec to ready", "middle half", "resident memory when ready"),
        [
            (
                starts.store,
                f"{median(starts.seconds):.2f} s",
                spread(starts.seconds),
                f"{median(starts.resident) / 1e6:.1f} MB",
            )
            for _, starts in found
        ],
        title=f"medians of {STARTS} starts",
    )


async def measure() -> None:
    """Run on each store there is, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        found = []
        async with placed("SQLite", folder / "sqlite", None) as place:
            found.append(await measure_on(place))
        with postgres(folder) as server:
            async with placed("PostgreSQL", folder / "postgresql", server) as place:
                if place.store_url:
                    found.append(await measure_on(place))
                else:
                    note(
                        f"without PostgreSQL: {(folder / 'postgres.log').read_text(encoding='utf-8').strip()}"
                    )
    report(found)


def main() -> int:
    """Run and give the exit status."""

    def run() -> bool:
        asyncio.run(measure())
        return True

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
