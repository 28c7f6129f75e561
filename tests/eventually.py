"""Waiting on a condition: the only place where a test may wait."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

# A deadline says how long something takes at most where nothing else runs; a busy machine is slower by some times.
PATIENCE = 3


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    within: float = 10,
    every: float = 0.02,
    because: str = "",
) -> None:
    """Return as soon as `condition` holds; it is asked every `every` seconds and may be a coroutine function.

    Raises:
        AssertionError: it did not hold within `within` seconds, and not within `PATIENCE` times that either; the text is
            `because`.
    """
    patience = within * PATIENCE
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {because or condition}")
        await asyncio.sleep(every)
