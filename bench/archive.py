"""An archive of the feed that a hub catches up with, watched from outside: how many of its events the broker has, when.

The hub is a `hub run iqmetrix_orders`, the partner a process of its own. The hub first reads down through all pages to
those that it knows, then up again, page by page: no event comes from the way down. Every event of an order comes to
``QUEUE``, from which nobody takes here, so its depth at the broker counts what is confirmed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aio_pika.abc import AbstractChannel
from pydantic import SecretStr

from bench.processes import SAMPLE_SECONDS, Feed, Hub, hub, hub_environment, running
from hub.amqp.sending.client_session import client_session
from hub.config.broker import Broker

QUEUE = "hub.iqmetrix.update-order-status"
# The feed's usual number of entries.
PAGE_SIZE = 50
# Enough for the code paths, the connections and the pools that a catch-up uses to be there.
WARM_ORDERS = 3 * PAGE_SIZE
# An entry takes some 4 ms on two cores, way down and way up; several times that is a hub that stands still.
_SECONDS_AN_ENTRY, _SECONDS_BEFORE = 0.02, 60.0


@dataclass(frozen=True, slots=True)
class Processor:
    """Seconds of processor time of a process: of the thread with the event loop, and of all others (the state store)."""

    loop: float
    others: float

    @classmethod
    def of(cls, process_id: int) -> "Processor":
        """Read what a process has used so far."""
        used = {each.id: each.user_time + each.system_time for each in psutil.Process(process_id).threads()}
        loop = used.pop(process_id)
        return cls(loop, sum(used.values()))

    def since(self, before: "Processor") -> "Processor":
        """Give what was used since then."""
        return Processor(self.loop - before.loop, self.others - before.others)


@dataclass(slots=True)
class Course:
    """One catch-up: the events that were confirmed at each look, from the first look with any to the last with all."""

    entries: int
    down_seconds: float = 0.0
    """From the archive to the first event."""
    looks: list[tuple[float, int]] = field(default_factory=list)
    processor: Processor = Processor(0, 0)

    @property
    def counted(self) -> int:
        """Events between the first look and the last."""
        return self.looks[-1][1] - self.looks[0][1]

    @property
    def seconds(self) -> float:
        """From the first look to the last."""
        return self.looks[-1][0] - self.looks[0][0]

    def rate(self, begin: float = 0.0, end: float = 1.0) -> float:
        """Give events per second between two shares of what was counted."""
        first = self.looks[0][1]
        seconds = self._when(first + end * self.counted) - self._when(first + begin * self.counted)
        return (end - begin) * self.counted / seconds

    def _when(self, events: float) -> float:
        """Give the time of so many events, in a straight line between two looks."""
        before, below = self.looks[0]
        for at, count in self.looks:
            if count >= events:
                step = (events - below) / (count - below) if count > below else 0.0
                return before + step * (at - before)
            before, below = at, count
        return before


@dataclass(frozen=True, slots=True)
class Archive:
    """A simulated iQmetrix, and what a hub makes of it at a broker."""

    feed: Feed
    channel: AbstractChannel
    broker_url: str
    folder: Path

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[Hub]:
        """Run a hub that is warm: it has read what is new in the feed, and the queue is empty."""
        environ = hub_environment(self.folder, self.broker_url) | self.feed.settings()
        with hub(self.folder, environ, "iqmetrix_orders") as measured:
            await measured.ready()
            await self.purge()
            await self.catch_up(measured, WARM_ORDERS)
            await self.purge()
            yield measured

    async def purge(self, queue: str = QUEUE) -> None:
        """Empty a queue."""
        await (await self.channel.get_queue(queue, ensure=False)).purge()

    async def catch_up(self, measured: Hub, entries: int) -> Course:
        """Add entries to the feed and watch until their events are there; the queue must be empty.

        Raises:
            BenchmarkError: they are not there in time.
        """
        course = Course(entries)
        await asyncio.to_thread(self.feed.add, entries)
        begun = time.monotonic()
        used = Processor.of(measured.process.pid)
        async for at, count in self._looks(begun + _SECONDS_BEFORE + entries * _SECONDS_AN_ENTRY):
            measured.resident()
            if count and not course.looks:
                used = Processor.of(measured.process.pid)
                course.down_seconds = at - begun
            if count:
                course.looks.append((at, count))
            if count >= entries:
                course.processor = Processor.of(measured.process.pid).since(used)
                return course
        raise measured.failed(f"has not published {entries} entries in time")

    async def _looks(self, deadline: float) -> AsyncIterator[tuple[float, int]]:
        while time.monotonic() < deadline:
            queue = await self.channel.declare_queue(QUEUE, passive=True)
            yield time.monotonic(), queue.declaration_result.message_count or 0
            await asyncio.sleep(SAMPLE_SECONDS)


@asynccontextmanager
async def archive(broker_url: str, folder: Path) -> AsyncIterator[Archive]:
    """Run the partner, with an empty feed."""
    with _feed(folder) as feed:
        async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as desk:
            yield Archive(feed, desk.channel, broker_url, folder)


@contextmanager
def _feed(folder: Path) -> Iterator[Feed]:
    with running(["-m", "bench.partners"], folder, "partners", {}, talks=True) as partners:
        yield Feed.of(partners)


def tenths(course: Course) -> Sequence[float]:
    """Give the rate of each tenth of a catch-up, in events per second."""
    return [course.rate(part / 10, (part + 1) / 10) for part in range(10)]
