"""Write timelines beside the work, not in its way: entries are collected and written together.

The timeline is for people. When the store is away, entries are kept up to a bound and the oldest are given up, which is
said in the log; no delivery waits for it. An entry that the store refuses for good is given up alone, with a line in the
log, and holds up none of the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import chain

from hub.errors import PermanentError, TransientError
from hub.models.events import AnyEvent
from hub.models.input.quoting import shown_id
from hub.models.types import utc_text
from hub.observability.logging import LogEvent, log
from hub.state.protocols import Timeline, TimelineEntry

# How long entries are collected, and how many are kept while the store is away.
_COLLECT_SECONDS = 0.2
_KEPT = 10_000


async def tell(
    events: Sequence[AnyEvent], *, store: Timeline, poller: str, seen_at: datetime, sent_at: datetime
) -> None:
    """Record in the timelines of orders that they were seen at a partner and published: one write for a whole page of a poll.

    It comes after the confirms, whether the cursor can move then or not. A store that is away by then costs these
    entries, which is said in the log, and not the poll.

    Args:
        events: those that the broker has confirmed.
        store: keeps the timelines.
        poller: who saw them.
        seen_at: when they came from the partner.
        sent_at: when they were sent to the broker. Consumers may be done before this is written, and stand below it.
    """
    entries = [
        TimelineEntry(event.order_id, at, what, {"type": event.type, "event_id": shown_id(event.id), **facts})
        for event in events
        if event.order_id
        for at, what, facts in (
            (seen_at, "seen", {"poller": poller, "dated": utc_text(event.time)}),
            (sent_at, "published", {}),
        )
    ]
    if not entries:
        return
    try:
        await store.add_to_timeline(entries)
    except (TransientError, PermanentError) as error:
        log.warning(LogEvent.TIMELINE_BEHIND, kept=0, given_up=len(entries), reason=str(error))


class TimelineWriter:
    """Collects entries and writes them every fifth of a second."""

    def __init__(self, timeline: Timeline, *, kept: int = _KEPT) -> None:
        self._timeline = timeline
        self._kept = kept
        self._entries: deque[TimelineEntry] = deque(maxlen=kept)
        self._given_up = 0

    def add(self, entry: TimelineEntry) -> None:
        """Remember an entry until the next write."""
        self._given_up += len(self._entries) == self._kept
        self._entries.append(entry)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(_COLLECT_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected, in lots: one, unless the store refuses it for good.

        A refused lot is halved until the bad entry is alone, which is then dropped. If the store is away, what is not
        written is kept for the next time. A flush that is cancelled keeps the lot that was on its way too, so that
        its entries may be told twice, and never not at all.
        """
        if not self._entries:
            return
        lots: deque[Sequence[TimelineEntry]] = deque([tuple(self._entries)])
        # Others may add while the store writes; their entries belong to the next flush.
        self._entries = deque(maxlen=self._kept)
        try:
            while lots:
                await self._write_first(lots)
        except TransientError as error:
            self._put_back(lots)
            log.warning(
                LogEvent.TIMELINE_BEHIND,
                kept=len(self._entries),
                given_up=self._given_up,
                reason=str(error),
            )
        except BaseException:
            self._put_back(lots)
            raise

    async def _write_first(self, lots: deque[Sequence[TimelineEntry]]) -> None:
        """Write the first lot and take it off; one that is refused for good leaves its halves, or nothing."""
        lot = lots[0]
        try:
            await self._timeline.add_to_timeline(lot)
        except PermanentError as error:
            lots.popleft()
            if len(lot) == 1:
                log.error(
                    LogEvent.TIMELINE_REFUSED, order_id=lot[0].order_id, what=lot[0].what, reason=str(error)
                )
                return
            half = len(lot) // 2
            lots.extendleft((lot[half:], lot[:half]))
        else:
            lots.popleft()

    def _put_back(self, lots: deque[Sequence[TimelineEntry]]) -> None:
        """Put what is not written in front of what was added meanwhile; the oldest go if it is too much."""
        entries = [*chain.from_iterable(lots), *self._entries]
        self._given_up += max(0, len(entries) - self._kept)
        self._entries = deque(entries, maxlen=self._kept)
