"""Does a hub that runs for long grow? A million events in waves, its broker connections cut a thousand times meanwhile.

    python -m bench.soak [--events N] [--reconnects N]     ends with 1 when a limit is missed; more than an hour

One ``hub run`` delivers webhooks to a client, polls a feed that gets a few orders with each wave, and tells that partner
of them. Between it and the broker is the proxy of the fault schedules, which cuts all connections at once, in the
middle of a wave. After each wave, at rest, samples are taken (``bench.soak_samples``).

The process is never killed, so a call that was made is always recorded: what the broker delivers again must be answered
by the ledger, and no unit may be posted twice. The hub logs warnings only, and its first wait before it reconnects is
0.2 s (0.5 s by default), to save time.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from yarl import URL

from bench.processes import (
    SAMPLE_SECONDS,
    BenchmarkError,
    Feed,
    Hub,
    exit_status,
    hub,
    hub_environment,
    running,
)
from bench.soak_samples import Course, Sample, report, sample
from bench.units import QUEUE, Endpoint, endpoint, put
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode

EVENTS, RECONNECTS = 1_000_000, 1_000
# Without a cut a wave has so many events at the most.
WAVE = 2_000
# Three samples make a line; the second half has to have more.
FEWEST_WAVES = 8
# Waves between two lines that say how far it is; an hour without a word looks like one that stands still.
TOLD_EVERY = 25
# Placed in the feed with each wave.
ORDERS = 2
RUN = "soak"
_FLOWS = ("deliver_webhooks", "iqmetrix_orders", "update_order_status")
_QUEUES = (QUEUE, "hub.iqmetrix.update-order-status")
# Without progress; a cut costs the hub about a second.
_PATIENCE_SECONDS = 60.0
# The same cuts in each run.
_SEED = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """The hub with all that is around it."""

    hub: Hub
    client: Endpoint
    feed: Feed
    proxy: subprocess.Popen[str]
    node: PrivateNode
    desk: ClientSession
    store: Path

    async def wave(self, first: int, last: int, cut_at: int | None) -> None:
        """Let the hub deliver some units and orders, and cut its connections once it has ``cut_at`` units in all.

        Raises:
            BenchmarkError: it stands still, or did not reconnect.
        """
        orders = asyncio.create_task(asyncio.to_thread(self.feed.add, ORDERS))
        putting = asyncio.create_task(put(self.desk, RUN, first, last))
        if cut_at is not None:
            await self._delivered(cut_at)
            await self._cut()
        await asyncio.gather(putting, orders)
        await self._delivered(last)
        await self.at_rest()

    async def at_rest(self) -> None:
        """Return when nothing is in flight.

        Raises:
            BenchmarkError: something stays.
        """

        async def rests() -> bool:
            flying = [await self.hub.metric(f'hub_in_flight{{queue="{queue}"}}') for queue in _QUEUES]
            return not any(flying)

        await self.until(rests, "come to rest")

    async def until(self, reached: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for something about the hub.

        Raises:
            BenchmarkError: it did not come in time.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not await reached():
            if time.monotonic() > deadline:
                raise self.hub.failed(f"has not {what} in time")
            await self.hub.watch(SAMPLE_SECONDS)

    async def sample(self) -> Sample:
        """Look at the hub, which is at rest."""
        return await sample(self.hub, self.client, self.node, self.store)

    async def _delivered(self, units: int) -> None:
        await self.client.until(
            lambda told: told.units >= units, (self.hub,), _PATIENCE_SECONDS, look=SAMPLE_SECONDS / 2
        )

    async def _cut(self) -> None:
        before = await self.reconnects()
        await asyncio.to_thread(_ask, self.proxy, "cut")

        async def again() -> bool:
            return await self.reconnects() > before

        await self.until(again, "noticed that its connections are cut")
        await self.hub.ready()

    async def reconnects(self) -> float:
        """Give how often the hub has reconnected."""
        return await self.hub.metric("hub_broker_reconnects_total")

    async def all_taken_in(self) -> tuple[int, int]:
        """Wait until all of the feed was published; gives the entries and how many were."""
        entries = await asyncio.to_thread(self.feed.add, 0)
        poller = f"iqmetrix.orders:{self.feed.account['supplier_id']}"
        published = f'hub_taken_in_total{{fate="published",poller="{poller}"}}'

        async def taken() -> bool:
            return await self.hub.metric(published) >= entries

        await self.until(taken, f"taken in {entries} entries")
        return entries, int(await self.hub.metric(published))

    async def left(self) -> int:
        """Give the messages in all queues of the hub, once there are none or it has had time for them."""
        queues = await self.hub.labels("hub_queue_messages", "queue")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = [await self.desk.channel.declare_queue(name, passive=True) for name in queues]
            count = sum(queue.declaration_result.message_count or 0 for queue in found)
            if not count or time.monotonic() > deadline:
                return count
            await self.hub.watch(4 * SAMPLE_SECONDS)


def _ask(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise BenchmarkError(f"the proxy ended with {process.wait()}")


@asynccontextmanager
async def staged(folder: Path, node: PrivateNode) -> AsyncIterator[Stage]:
    """Start everything around the broker."""
    async with AsyncExitStack() as stack:
        client = stack.enter_context(endpoint(folder))
        feed = Feed.of(
            stack.enter_context(running(["-m", "bench.partners"], folder, "partners", {}, talks=True))
        )
        arguments = ["-m", "tests.faults.proxy", str(node.port)]
        proxy = stack.enter_context(running(arguments, folder, "proxy", {}, talks=True))
        assert proxy.stdout is not None
        port = int(await asyncio.to_thread(proxy.stdout.readline) or 0)
        environ = hub_environment(folder, str(URL(node.url).with_port(port))) | client.settings()
        environ |= feed.settings() | {"HUB_LOG__LEVEL": "warning", "HUB_BROKER__RECONNECT_AFTER": "200ms"}
        measured = stack.enter_context(hub(folder, environ, *_FLOWS))
        await measured.ready()
        desk = await stack.enter_async_context(client_session(Broker(url=SecretStr(node.url)), name="bench"))
        yield Stage(measured, client, feed, proxy, node, desk, folder / "hub.db")


def waves(events: int, reconnects: int) -> Sequence[tuple[int, int, int | None]]:
    """Plan the waves: first and last event of each, and after which one the connections are cut in it.

    Raises:
        BenchmarkError: there are too few.
    """
    number = max(reconnects, -(-events // WAVE))
    if number < FEWEST_WAVES or events < 2 * number:
        raise BenchmarkError(
            f"expected {FEWEST_WAVES} waves or more of two events each, got {number} with {events} events;"
            " ask for more events or reconnects"
        )
    drawn = random.Random(_SEED)
    planned = []
    for wave in range(number):
        first, last = wave * events // number, (wave + 1) * events // number
        cut = (wave + 1) * reconnects // number > wave * reconnects // number
        planned.append((first, last, drawn.randrange(first + 1, last) if cut else None))
    return planned


async def course(events: int, reconnects: int, folder: Path) -> Course:
    """Run all waves.

    Raises:
        BenchmarkError: the hub ended or stood still.
    """
    planned = waves(events, reconnects)
    async with (
        PrivateNode(folder / "broker", plugins=("rabbitmq_prometheus",)) as node,
        staged(folder, node) as stage,
    ):
        await stage.client.begin(RUN, events)
        begun, samples = time.monotonic(), []
        for first, last, cut_at in planned:
            await stage.wave(first, last, cut_at)
            samples.append(await stage.sample())
            if len(samples) % TOLD_EVERY == 0:
                _tell(samples, len(planned), time.monotonic() - begun)
        seconds = time.monotonic() - begun
        entries, taken = await stage.all_taken_in()
        left = await stage.left()
        return Course(
            events,
            sum(cut is not None for _, _, cut in planned),
            seconds,
            samples,
            await stage.client.told(),
            entries,
            taken,
            left,
            int(await stage.hub.metric("hub_repeated_effects_total")),
        )


def _tell(samples: Sequence[Sample], waves: int, seconds: float) -> None:
    last = samples[-1]
    print(
        f"{len(samples)} of {waves} waves, {last.units} events, {last.reconnects} reconnects,"
        f" {last.resident / 1e6:.1f} MB resident, {seconds / 60:.1f} minutes",
        file=sys.stderr,
        flush=True,
    )


async def measure(events: int, reconnects: int) -> bool:
    """Run and print what came of it; tells whether every limit holds."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        return report(await course(events, reconnects, Path(name)))


def main() -> int:
    """Run and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--reconnects", type=int, default=RECONNECTS)
    asked = parser.parse_args()
    return exit_status(lambda: asyncio.run(measure(asked.events, asked.reconnects)))


if __name__ == "__main__":
    sys.exit(main())
