"""What people are told of the POs of one vendor account: how many stand where, and which of them stand still.

Called by ``retailops_purchase_orders`` once for each pass. Since when a published PO has been ready is kept in the
poller's cursor, so that a restart does not begin its hour anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.models.types import utc_text
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import PURCHASE_ORDER_STATES, PURCHASE_ORDERS, TAKEN_IN
from hub.state.protocols import Cursor

# How long a published PO may stay ready before somebody is told: its mark is in the ladder, or a letter.
OVERDUE_AFTER = timedelta(hours=1)
# POs whose time the cursor keeps, those that have waited longest; about 40 bytes each.
_KEPT = 1000
# PO numbers that a log line lists.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Pass:
    """The POs of one pass, by what may be done with them; ``waiting`` were published and are ready still."""

    at: datetime
    due: int
    not_due: int
    undated: Sequence[str]
    waiting: Sequence[str]


class PurchaseOrderWatch:
    """Counts and warns for one poller.

    Args:
        poller: its name.
    """

    def __init__(self, poller: str) -> None:
        self._poller = poller
        self._ready_since: dict[str, datetime] = {}
        self._warned: dict[str, frozenset[str]] = {}
        self._has_noted_short_pages = False

    def note(self, found: Pass, cursor: Cursor | None) -> None:
        """Take note of a pass that was read from ``cursor``: set the metrics, and warn of what stands still."""
        known = _kept(cursor) | self._ready_since
        self._ready_since = {po: known.get(po, found.at) for po in found.waiting}
        overdue = [po for po, since in self._ready_since.items() if found.at - since >= OVERDUE_AFTER]
        counts = (found.due, found.not_due, len(found.undated), len(overdue))
        for state, count in zip(PURCHASE_ORDER_STATES, counts, strict=True):
            PURCHASE_ORDERS.labels(self._poller, state).set(count)
        TAKEN_IN.labels(self._poller, "undated").inc(len(found.undated))
        self.warn(
            "undated", found.undated, "date_submit is missing or unreadable: not acted on, looked at again"
        )
        self.warn(
            "overdue",
            overdue,
            f"published at least {OVERDUE_AFTER} ago and still ready: look for the mark in"
            " hub.retailops.submit-purchase-orders and its letters",
        )

    def to_keep(self) -> list[list[str]]:
        """Return what the cursor keeps: POs with the time since when they are ready, those that wait longest."""
        longest = sorted(self._ready_since.items(), key=lambda entry: entry[1])[:_KEPT]
        return [[po, utc_text(since)] for po, since in longest]

    def note_short_pages(self, *, asked: int, given: int) -> None:
        """Say once that the partner gives fewer POs than it is asked for, although there are more."""
        if not self._has_noted_short_pages:
            self._has_noted_short_pages = True
            log.info(LogEvent.PAGES_CAPPED, poller=self._poller, asked=asked, given=given)

    def warn(self, state: str, pos: Sequence[str], reason: str) -> None:
        """Warn once for the same POs: the metric goes on telling how many there are."""
        found = frozenset(pos)
        if found and found != self._warned.get(state):
            log.warning(
                LogEvent.PURCHASE_ORDERS_STUCK,
                poller=self._poller,
                state=state,
                count=len(found),
                purchase_orders=sorted(found)[:_SHOWN],
                reason=reason,
            )
        self._warned[state] = found


def _kept(cursor: Cursor | None) -> dict[str, datetime]:
    kept = cursor.get("ready", []) if cursor is not None else []
    return {po: datetime.fromisoformat(since) for po, since in kept}
