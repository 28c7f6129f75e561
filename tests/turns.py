"""How often the event loop came round while something was done: work in one piece on the loop leaves it no turn."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def turns_during(work: Coroutine[Any, Any, object]) -> int:
    """Return how many turns another task had until the work was done."""
    doing = asyncio.create_task(work)
    turns = 0
    while not doing.done():
        turns += 1
        await asyncio.sleep(0)
    doing.result()
    return turns
