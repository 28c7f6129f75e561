"""A running hub ends as a whole when a task dies without which it would only look alive."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from hub.config.settings import Settings
from hub.messaging.resilience.circuit_breaker import Thresholds
from hub.messaging.resilience.outages import Outages
from hub.process.lifecycle import Stop
from hub.service.runtime import Parts, live
from tests.fakes import MemoryStore

SECOND = timedelta(seconds=1)
END = ["takes nothing new", "said goodbye", "flushed"]
THRESHOLDS = Thresholds(5, SECOND, SECOND, SECOND, SECOND)


class Part:
    """A part of a running hub: its ``run`` lasts until it is cancelled, or raises what it is told to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        # All parts of a hub share one, so that it tells their order.
        self.done: list[str] = []

    async def run(self, *_: object) -> None:
        if self.fault is not None:
            raise self.fault
        await asyncio.Event().wait()

    async def wait_until_up(self) -> None:
        """It always is."""

    async def stop_consuming(self) -> None:
        self.done.append("takes nothing new")

    async def narrow(self, queue: str, width: int | None) -> None:
        self.done.append(f"{queue}: {width}")

    async def flush(self) -> None:
        self.done.append("flushed")

    async def end(self) -> None:
        self.done.append("said goodbye")


def parts_of(
    *, supervisor: Part | None = None, presence: Part | None = None, calls: dict[str, Any] | None = None
) -> tuple[Parts, list[str]]:
    doubles = [supervisor or Part(), Part(), presence or Part()]
    beside: Any = Part()
    first, timeline, last = cast(list[Any], doubles)
    outages = Outages(THRESHOLDS)
    for double in doubles:
        double.done = doubles[0].done
    parts = Parts(MemoryStore(), first, beside, timeline, beside, outages, last, calls=calls or {})
    return parts, doubles[0].done


async def ended(parts: Parts) -> str:
    """Run the hub and give what it ended with."""
    settings = Settings.model_validate({"state": {"keep": "0s"}})
    async with asyncio.timeout(30):
        with pytest.raises(LookupError) as raised:
            await live(parts, Stop(), 0, settings, None)
    return str(raised.value)


async def test_a_presence_that_dies_ends_the_process_in_order() -> None:
    parts, done = parts_of(presence=Part(LookupError("presence")))

    assert await ended(parts) == "presence"

    assert done == END


async def test_a_regulator_that_dies_ends_the_process_in_order() -> None:
    class Broken(Part):
        async def narrow(self, queue: str, width: int | None) -> None:
            raise LookupError("narrow")

    parts, done = parts_of(supervisor=Broken(), calls={"hub.work": ()})

    assert await ended(parts) == "narrow"

    assert done == END


async def test_a_stop_ends_it_without_an_error() -> None:
    parts, done = parts_of()
    stop = Stop()
    running = asyncio.create_task(live(parts, stop, 0, Settings(), lambda _: stop()))

    await asyncio.wait_for(running, 30)

    assert done == END
