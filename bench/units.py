"""Very many units for one client: how they get into its queue, and what its endpoint (``bench.tally``) has of them."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.clients import UNIT_MOVED, unit
from bench.processes import SAMPLE_SECONDS, BenchmarkError, Hub, running
from hub.amqp.sending.client_session import ClientSession
from hub.models.events import FULFILLMENT

CLIENT = "bench"
QUEUE = f"hub.webhook.{CLIENT}"
# As many as the prefetch of a queue; a client of the hub has 10 unless it is set.
CONNECTIONS = 100
# Publishes that wait for their confirms at once.
_CONFIRMS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Told:
    """What the endpoint has of a run.

    Attributes:
        units: different ones.
        posts: of all of them.
        most: posts of the one that came most often.
        marks: when the first post came, and each tenth of the units; monotonic seconds.
    """

    units: int
    posts: int
    most: int
    marks: list[float]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The process of ``bench.tally``."""

    process: subprocess.Popen[str]
    url: str

    def settings(self) -> dict[str, str]:
        """Give the environment of a hub whose only client this is."""
        client = {"name": CLIENT, "disposition_url": self.url, "connections": CONNECTIONS}
        return {"HUB_WEBHOOKS": json.dumps([client])}

    async def begin(self, run: str, units: int) -> None:
        """Count the units of this run from now on, and none of another."""
        await asyncio.to_thread(self._ask, f"{run} {units}")

    async def told(self) -> Told:
        """Ask what is there."""
        return Told(**await asyncio.to_thread(self._ask, "?"))

    async def until(
        self,
        reached: Callable[[Told], bool],
        hubs: tuple[Hub, ...],
        seconds: float,
        *,
        look: float = SAMPLE_SECONDS,
    ) -> Told:
        """Wait for a number of units; the hubs are watched meanwhile.

        Raises:
            BenchmarkError: a hub has ended, or no other unit has come for so many seconds.
        """
        units, deadline = -1, 0.0
        while not reached(told := await self.told()):
            now = time.monotonic()
            if told.units != units:
                units, deadline = told.units, now + seconds
            elif now > deadline:
                raise hubs[0].failed(f"has delivered {units} units, and no other for {seconds:.0f} s")
            for each in hubs:
                each.resident()
            await asyncio.sleep(look)
        return told

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"the endpoint ended with {self.process.wait()} instead of an answer")
        told: dict[str, Any] = json.loads(answer)
        return told


@contextmanager
def endpoint(folder: Path) -> Iterator[Endpoint]:
    """Run a client's endpoint while the context lasts.

    Raises:
        BenchmarkError: it did not start.
    """
    with running(["-m", "bench.tally"], folder, "tally", {}, talks=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError(f"the endpoint ended:\n{(folder / 'tally.log').read_text(encoding='utf-8')}")
        yield Endpoint(process, json.loads(line)["url"])


async def put(desk: ClientSession, run: str, first: int, last: int) -> None:
    """Publish the units ``first`` to ``last - 1`` of a run, with confirms.

    Raises:
        BrokerUnavailable: one was refused.
    """
    for start in range(first, last, _CONFIRMS_AT_ONCE):
        numbers = range(start, min(start + _CONFIRMS_AT_ONCE, last))
        names = [f"{run}-{number}" for number in numbers]
        await asyncio.gather(
            *(desk.send(unit(name), exchange=FULFILLMENT, routing_key=UNIT_MOVED) for name in names)
        )
