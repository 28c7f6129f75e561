"""Whether a purchase order is submitted as it is now, and how those wait that must come after MarkSubmitted.

The other calls come after it (``hub.partners.retailops.steps``), since a mark as submitted that came later would be a step back. Whoever waits
spends an attempt for each that MarkSubmitted of the same state of the PO has failed with, and none while it is only on
its way: in a queue, in a batch, on a rung, or behind a hub that is restarted again and again. What waits for one that
ends as a letter ends as one too, which names it.

A mark that nobody will ever make, since its message was purged from the broker or a fault of ours kept it from being
tried, fails with nothing. Waiting for it is free for a day, from when the first who waits said so.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from consumers.effects.once import LOOK_AGAIN
from consumers.retailops.batch_marking import PARTNER
from hub.errors import ErrorFacts, HubError
from hub.messaging.handler import Context
from hub.messaging.outcome import Outcome, Reject, Retry
from hub.models.input.quoting import shown_id
from hub.models.order import Order
from hub.models.types import utc_text
from hub.partners.retailops.steps import WAITS_FOR, Step
from hub.state.protocols import ReportedStateStore

# What the last MarkSubmitted of a PO was about, kept as long as the order: effects are pruned.
_SUBMITTED = f"{PARTNER}:submitted"
_FAILED = f"{PARTNER}:submit-failed"
_AWAITED = f"{PARTNER}:submit-awaited"
# Half of what it was waited for already, within these bounds: what came just now is looked at soon, and thousands that
# wait are not looked at every second. A clock that jumps delays little.
_NOT_SUBMITTED = ErrorFacts("retailops", code="not_submitted")
_LOOK_AGAIN_AT_MOST = timedelta(seconds=15)
_PATIENCE = timedelta(hours=24)


def submit_key(order: Order) -> str:
    """Name the state of a PO that MarkSubmitted is about: its line hash, and the change that led to it.

    The hash alone would not do: lines that change and change back are the same again, and are to be marked again.
    """
    change = f":{utc_text(order.changed_at)}" if order.changed_at else ""
    return f"{PARTNER}:{order.order_id}:submit:{order.details.source_event_id}{change}"


async def remember_submitted(store: ReportedStateStore, order: Order) -> None:
    """Keep that MarkSubmitted succeeded for the PO as it is in ``order``."""
    await store.tell(_SUBMITTED, order.order_id, {"key": submit_key(order)})


async def is_submitted(store: ReportedStateStore, order: Order) -> bool:
    """Whether MarkSubmitted succeeded for the PO as it is now."""
    told = await store.told(_SUBMITTED, order.order_id)
    return told is not None and told["key"] == submit_key(order)


async def remember_outcome(store: ReportedStateStore, order: Order, outcome: Outcome, attempt: int) -> None:
    """Keep that MarkSubmitted failed for the PO as it is in ``order``, where ``outcome`` says so.

    If the store is away it is not kept, and those who wait do so until the next attempt fails.

    Args:
        store: keeps it.
        order: as it was to be marked.
        outcome: of the attempt; one that does not count is no failure.
        attempt: which it was, counted from 1.
    """
    if isinstance(outcome, Reject):
        failed = None  # none will follow
    elif isinstance(outcome, Retry) and outcome.counts:
        failed = attempt
    else:
        return
    with suppress(HubError):
        await store.tell(_FAILED, order.order_id, {"key": submit_key(order), "attempts": failed})


async def wait_for_submission(
    store: ReportedStateStore, order: Order, context: Context, *, step: Step = Step.COMPLETE
) -> Retry | None:
    """Return None when ``step`` may be made, else how the message of ``context`` waits for MarkSubmitted of the PO."""
    if Step.SUBMIT not in WAITS_FOR[step] or await is_submitted(store, order):
        return None
    reason = not_yet_submitted(order)
    waited = await _waited(store, order)
    if waited > _PATIENCE or await _has_failed(store, order, context.attempt):
        return Retry(reason, facts=_NOT_SUBMITTED)
    after = min(max(waited / 2, LOOK_AGAIN), _LOOK_AGAIN_AT_MOST)
    return Retry(reason, after=after, counts=False, facts=_NOT_SUBMITTED)


def not_yet_submitted(order: Order) -> str:
    """Say which step is missing, for a retry that may end as a letter."""
    return (
        f"not yet submitted: MarkSubmitted of PO {shown_id(order.details.source_order_id)} has not succeeded, look at"
        " hub.retailops.submit-purchase-orders and its dead letters"
    )


async def _waited(store: ReportedStateStore, order: Order) -> timedelta:
    """How long MarkSubmitted of the PO as it is now was waited for; the first who does writes down since when."""
    now, key = datetime.now(UTC), submit_key(order)
    told = await store.told(_AWAITED, order.order_id)
    if told is None or told["key"] != key:
        await store.tell(_AWAITED, order.order_id, {"key": key, "since": now.isoformat()})
        return timedelta()
    return now - datetime.fromisoformat(told["since"])


async def _has_failed(store: ReportedStateStore, order: Order, attempt: int) -> bool:
    """Whether MarkSubmitted of the PO as it is now has spent so many attempts, or all."""
    failed = await store.told(_FAILED, order.order_id)
    if failed is None or failed["key"] != submit_key(order):
        return False
    return failed["attempts"] is None or failed["attempts"] >= attempt
