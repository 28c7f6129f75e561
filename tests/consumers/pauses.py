"""A sleep that takes no time, for what is repeated until the state store is back."""

import asyncio

from tests.fakes import MemoryStore


class Pauses:
    """Records how long was slept; the store is back after so many pauses, 0: never."""

    def __init__(self, store: MemoryStore, *, back_after: int = 1) -> None:
        self.seconds: list[float] = []
        self.begun = asyncio.Event()
        self._store = store
        self._back_after = back_after

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.begun.set()
        if len(self.seconds) == self._back_after:
            self._store.away = ""
        # Gives others their turn, so that an endless repetition can be cancelled.
        await asyncio.sleep(0)
