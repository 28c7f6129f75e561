"""A process that writes effects until it is killed, and says which ones it was told are recorded."""

from __future__ import annotations

import asyncio
import itertools
import sys

from hub.state.store import open_store


async def write(path: str, prefix: str) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{path}")
    numbers = itertools.count()

    async def one_after_the_other() -> None:
        for number in numbers:
            await store.record_effect(f"{prefix}{number}")
            print(f"{prefix}{number}", flush=True)

    await asyncio.gather(*(one_after_the_other() for _ in range(10)))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2]))
