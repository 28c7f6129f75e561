"""The hub's state store with faults at its methods: an error before or after the call, silence after it, the process killed."""

import asyncio
import functools
import inspect
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from hub.errors import StoreUnavailable
from hub.state.protocols import Store
from hub.state.store import open_store
from tests.faults.points import Fault, Kind, Script

# Longer than the hub waits for a locked file, as the settings of a schedule have it.
SILENT_SECONDS = 1.0


def crash() -> None:
    """End this process as `kill -9` does: nothing runs after it, no buffer is written, no socket is closed by us."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyStore:
    """Passes every call on to the real store, and does what the script says at it.

    Args:
        store: the real one.
        script: asked at each call of a method with its point, `store.<method>`.
        told: hears of each fault before it happens.
        die: ends the process.
    """

    def __init__(
        self,
        store: Store,
        script: Script,
        *,
        told: Callable[[Fault], None] = lambda _: None,
        die: Callable[[], None] = crash,
    ) -> None:
        self._store = store
        self._script = script
        self._told = told
        self._die = die

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._store, name)
        if not inspect.iscoroutinefunction(inner):
            return inner

        @functools.wraps(inner)
        async def called(*args: Any, **options: Any) -> Any:
            fault = self._script.passing(f"store.{name}")
            if fault is None:
                return await inner(*args, **options)
            self._told(fault)
            return await self._suffer(fault, functools.partial(inner, *args, **options))

        return called

    async def _suffer(self, fault: Fault, call: Callable[[], Any]) -> Any:
        if fault.kind is Kind.crash_before:
            self._die()
        if fault.kind is Kind.error_before:
            raise StoreUnavailable("expected the state store to answer, got a planned fault before the call")
        result = await call()
        match fault.kind:
            case Kind.crash_after:
                self._die()
            case Kind.error_after:
                raise StoreUnavailable(
                    "expected the state store's answer, got a planned fault after the call"
                )
            case Kind.timeout_after:
                await asyncio.sleep(SILENT_SECONDS)
                raise StoreUnavailable("expected the state store's answer in time, got planned silence")
        return result


async def open_faulty(
    url: str, *, busy_timeout: timedelta, script: Script, told: Callable[[Fault], None]
) -> Store:
    """Open the real store behind the faults."""
    return cast(Store, FaultyStore(await open_store(url, busy_timeout=busy_timeout), script, told=told))
