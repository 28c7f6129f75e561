"""The life of a process: signals, shared resources, and the order in which things stop.

producers finish their batch - consumers take nothing new - work in flight drains until its deadline -
broker closes (what is unacked will be redelivered) - partner clients close - state store closes
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import uvloop

from hub.config.settings import Settings
from hub.process.event_loop import FastLoop
from hub.state.protocols import Store

# Containers that a prefetch's deliveries hold, and some more.
_YOUNG_OBJECTS = 20_000


class Closable(Protocol):
    """Something with connections to close."""

    async def close(self) -> None:
        """Close them."""


C = TypeVar("C", bound=Closable)
T = TypeVar("T")


@dataclass(slots=True)
class Resources:
    """What flows are built from: the settings, the state store, and clients that several flows share."""

    settings: Settings
    store: Store
    holder: str
    """How this process signs leases and claims."""
    _shared: dict[Hashable, Any] = field(default_factory=dict)

    def shared(self, key: Hashable, build: Callable[[], C]) -> C:
        """Return the one client of this process for ``key``, so that its token and pool are shared."""
        if key not in self._shared:
            self._shared[key] = build()
        client: C = self._shared[key]
        return client

    async def abort_calls(self) -> None:
        """End all calls in flight; a later call of the same clients connects anew."""
        await asyncio.gather(*(client.close() for client in self._shared.values()))

    async def close(self) -> None:
        """Close all shared clients."""
        while self._shared:
            _, client = self._shared.popitem()
            await client.close()


class Stop:
    """Asked-for end of the process, by signal or by the program itself."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.by_signal: signal.Signals | None = None

    def __call__(self) -> None:
        """Ask for the end."""
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether the end was asked for."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Wait until the end is asked for."""
        await self._asked.wait()

    async def sleep(self, seconds: float) -> bool:
        """Wait so long, or until the end is asked for; True if it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def on_signals(self, *, on_hang_up: Callable[[], None] | None = None) -> Iterator[Stop]:
        """Ask for the end on SIGINT and SIGTERM; a second signal ends the process at once.

        Args:
            on_hang_up: called on SIGHUP, which ends nothing then, also after the block.
        """
        loop = asyncio.get_running_loop()

        def received(number: signal.Signals) -> None:
            if self.asked:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.by_signal = number
            self()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, received, number)
        if on_hang_up is not None:
            loop.add_signal_handler(signal.SIGHUP, on_hang_up)
        try:
            yield self
        finally:
            if on_hang_up is not None:
                # Without a moment in which it would end the process: what was blocked is dropped once it is ignored.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
                loop.remove_signal_handler(signal.SIGHUP)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def run_long(main: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine of a long-lived process to its end, as ``asyncio.run`` does, on the faster loop of uvloop.

    What is loaded by now stays as long as the process, so the garbage collector is told not to look through it again,
    which would stop everything for a tenth of a second now and then. And it begins later than after the 700 objects of
    Python's default: a hundred deliveries in hand are more, and nearly all of it goes without its doing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    return uvloop.run(main, loop_factory=FastLoop)


async def first_to_end(*awaitables: Awaitable[object]) -> None:
    """Run all until one ends or raises; the others are cancelled and waited for, and the error is raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
