"""Write timelines beside the work, not in its way: entries are collected and written together.

The timeline is for people. When the store is away, entries are kept up to a bound and the oldest are given up, which is
said in the log; no delivery waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from hub.errors import TransientError
from hub.state.stores import Timeline, TimelineEntry
from hub.telemetry import LogEvent, log

# How long entries are collected, and how many are kept while the store is away.
_COLLECT_SECONDS = 0.2
_KEPT = 10_000


class TimelineWriter:
    """Collects entries and writes them every fifth of a second."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._entries: deque[TimelineEntry] = deque(maxlen=_KEPT)
        self._given_up = 0

    def add(self, entry: TimelineEntry) -> None:
        """Remember an entry until the next write."""
        self._given_up += len(self._entries) == _KEPT
        self._entries.append(entry)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(_COLLECT_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected; on failure it is kept for the next time."""
        entries = list(self._entries)
        if not entries:
            return
        try:
            await self._timeline.add_to_timeline(entries)
        except TransientError as error:
            log.warning(
                LogEvent.TIMELINE_BEHIND, kept=len(entries), given_up=self._given_up, reason=str(error)
            )
            return
        for _ in entries:
            self._entries.popleft()
