"""What ``hub up`` shows: a live board in a terminal, one plain line per order milestone elsewhere.

Both hear the log's facts through a tap; nothing is measured twice. The board counts; the lines tell.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hub.cli.output.printing import clock, flow_of
from hub.models.settlement import SettlementState
from hub.observability.logging import LogEvent

# Lines of the board beside those of queues and event types: headline, head of the table, set aside, and three below.
_OTHER_LINES = 7
# The rate is taken over so many seconds.
_WINDOW = 10.0
# Facts that a milestone shows, in this order.
_TELLING = {
    LogEvent.EVENT_PUBLISHED: ("type", "order_id"),
    LogEvent.SET_ASIDE: ("queue", "reason"),
    LogEvent.FEED_HELD: ("poller", "reason"),
    LogEvent.POLL_FAILED: ("poller", "reason"),
    LogEvent.BROKER_CONNECTED: ("who",),
    LogEvent.BROKER_LOST: ("who", "reason"),
    LogEvent.WAITING_FOR: ("what", "reason"),
    LogEvent.OUTAGE_OPENED: ("destination", "reason"),
    LogEvent.OUTAGE_CLOSED: ("destination",),
    LogEvent.READY: ("health_port",),
    LogEvent.STOPPING: (),
    LogEvent.STOPPED: (),
    LogEvent.HANDLER_CRASHED: ("who", "error"),
}
_WORDS = {
    LogEvent.EVENT_PUBLISHED: "published",
    LogEvent.SET_ASIDE: "set aside",
    LogEvent.BROKER_CONNECTED: "broker connected",
    LogEvent.BROKER_LOST: "broker lost",
    LogEvent.WAITING_FOR: "waiting for",
    LogEvent.OUTAGE_OPENED: "away:",
    LogEvent.OUTAGE_CLOSED: "back:",
}
# Their reason is the last error.
_ERRORS = (
    LogEvent.SET_ASIDE,
    LogEvent.POLL_FAILED,
    LogEvent.FEED_HELD,
    LogEvent.BROKER_LOST,
    LogEvent.WAITING_FOR,
    LogEvent.OUTAGE_OPENED,
)


class Board:
    """Counts of everything that happened, and the last error."""

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self.settled: dict[str, Counter[str]] = {}
        self.waiting: set[tuple[str, str]] = set()
        self.set_aside = 0
        self.duplicates = 0
        self.last_error = ""
        self.hint = ""
        self._moments: deque[float] = deque()

    def hear(self, facts: Mapping[str, Any]) -> None:
        """Take in the facts of one log line."""
        match facts.get("event"):
            case LogEvent.EVENT_PUBLISHED:
                self.published[str(facts["type"])] += 1
            case LogEvent.DELIVERY_SETTLED:
                self._settled(facts)
            case LogEvent.SET_ASIDE:
                self.set_aside += 1
            case LogEvent.POLLED:
                self.duplicates += int(facts.get("duplicates", 0))
        if facts.get("event") in _ERRORS:
            self.last_error = str(facts.get("reason", ""))

    def _settled(self, facts: Mapping[str, Any]) -> None:
        queue, outcome = str(facts["queue"]), str(facts["outcome"])
        self.settled.setdefault(queue, Counter())[outcome] += 1
        self.waiting.discard((queue, str(facts["message_id"])))
        self.waiting |= {(queue, parked) for parked in facts.get("parked") or ()}
        if outcome != SettlementState.DONE:
            self.last_error = str(facts["note"])
        self._moments.append(time.monotonic())

    def rate(self) -> float:
        """Deliveries settled per second over the last ten seconds."""
        now = time.monotonic()
        while self._moments and self._moments[0] < now - _WINDOW:
            self._moments.popleft()
        return len(self._moments) / _WINDOW

    def count(self, outcome: str) -> int:
        """How many deliveries of all queues ended so."""
        return sum(counts[outcome] for counts in self.settled.values())

    def render(self, headline: str, in_flight: int, *, height: int = 24) -> RenderableType:
        """Draw the board for a terminal of this height; queues that do not fit share a row."""
        table = Table(box=None, pad_edge=False)
        table.add_column("stage", style="bold", no_wrap=True, overflow="ellipsis")
        for column in ("done", "retried", "waiting", "dead"):
            table.add_column(column, justify="right", no_wrap=True)
        for kind, number in sorted(self.published.items()):
            table.add_row(f"published {kind}", str(number), "", "", "")
        table.add_row("set aside by a poller", "", "", "", str(self.set_aside))
        room = max(1, height - len(self.published) - _OTHER_LINES)
        rows = self._queue_rows()
        shown, rest = rows, []
        if len(rows) > room:
            # Those with dead letters or waiting messages are the ones to see.
            rows.sort(key=lambda row: (row[4] == 0, row[3] == 0))
            shown, rest = sorted(rows[: room - 1]), rows[room - 1 :]
        for name, *counts in shown:
            table.add_row(name, *map(str, counts))
        if rest:
            sums = [sum(counts) for counts in zip(*(counts for _, *counts in rest), strict=True)]
            table.add_row(f"{len(rest)} more queues", *map(str, sums))
        summary = (
            f"in flight {in_flight}   waiting {len(self.waiting)}   dead {self.count('dead')}"
            f"   duplicates {self.duplicates}   {self.rate():.1f} deliveries/s"
        )
        last = f"last error  {self.last_error or 'none'}"
        return Group(
            _line(headline, "bold cyan"), table, _line(summary), _line(last, "dim"), _line(self.hint, "dim")
        )

    def _queue_rows(self) -> list[tuple[str, int, int, int, int]]:
        """Return the counts of each queue, by name."""
        waiting = Counter(queue for queue, _ in self.waiting)
        return [
            (queue, counts["done"], counts["waiting"], waiting[queue], counts["dead"])
            for queue, counts in sorted(self.settled.items())
        ]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def plain_lines(write: Callable[[str], object]) -> Callable[[Mapping[str, Any]], None]:
    """Return a tap that writes one line per milestone."""

    def hear(facts: Mapping[str, Any]) -> None:
        event = facts.get("event")
        now = clock(datetime.now(UTC))
        if event == LogEvent.DELIVERY_SETTLED:
            outcome, attempt = facts["outcome"], facts["attempt"]
            wait = f" again in {facts['wait_seconds']:g} s" if facts.get("wait_seconds") else ""
            tail = f": {facts['note']}" if facts["note"] else ""
            flow = flow_of(str(facts["queue"]))
            write(
                f"{now}  {outcome:<9} {flow:<28} {facts.get('type') or 'event'} {facts.get('order_id') or ''}"
                f" attempt {attempt}{wait}{tail}"
            )
        elif event in _TELLING:
            told = " ".join(
                str(facts[key]) for key in _TELLING[LogEvent(event)] if facts.get(key) is not None
            )
            write(f"{now}  {_WORDS.get(LogEvent(event), str(event).replace('_', ' '))} {told}".rstrip())

    return hear


def console() -> Console:
    """Return the console of standard output."""
    return Console(file=sys.stdout)
