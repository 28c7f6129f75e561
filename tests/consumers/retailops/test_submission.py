"""Waiting for MarkSubmitted: what an attempt costs those that come after it, and how long they wait."""

from datetime import UTC, datetime, timedelta

import pytest

from consumers.retailops.submission import remember_outcome, remember_submitted, wait_for_submission
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.order import Order
from tests.consumers.purchase_orders import LINES, changed, created
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR

ID = f"retailops:{VENDOR}:D1"
FAILED = Retry("retailops answered 200: invalid po")


class Earlier(MemoryStore):
    """A store in which all that is told was told so long before."""

    by = timedelta()

    async def told(self, partner, order_id):
        found = await super().told(partner, order_id)
        if found is None or "since" not in found:
            return found
        return {**found, "since": (datetime.fromisoformat(found["since"]) - self.by).isoformat()}


@pytest.fixture
async def store() -> Earlier:
    store = Earlier()
    await store.record_orders([created("D1")])
    return store


@pytest.fixture
async def order(store: MemoryStore) -> Order:
    return await store.load_order(ID)


def waiting(attempt: int = 1) -> Context:
    long_ago = datetime.now(UTC) - timedelta(days=30)
    return Context("complete_purchase_order", "a-queue", attempt, Message(b"{}", timestamp=long_ago))


async def costs(store: MemoryStore, order: Order, attempt: int) -> bool:
    waits = await wait_for_submission(store, order, waiting(attempt))
    assert waits is not None
    return waits.counts


async def test_nothing_waits_for_a_po_that_is_submitted_as_it_is_now(
    store: MemoryStore, order: Order
) -> None:
    await remember_submitted(store, order)

    assert await wait_for_submission(store, order, waiting()) is None


async def test_waiting_costs_no_attempt_while_the_mark_is_on_its_way(
    store: MemoryStore, order: Order
) -> None:
    waits = await wait_for_submission(store, order, waiting())

    assert waits is not None
    assert (waits.counts, waits.after) == (False, timedelta(seconds=1))


async def test_an_attempt_is_spent_for_each_that_the_mark_has_failed_with(
    store: MemoryStore, order: Order
) -> None:
    await remember_outcome(store, order, FAILED, attempt=2)

    assert [await costs(store, order, attempt) for attempt in (1, 2, 3)] == [True, True, False]


async def test_what_waits_for_a_mark_that_was_rejected_spends_all_its_attempts(
    store: MemoryStore, order: Order
) -> None:
    await remember_outcome(store, order, Reject("retailops answered 400"), attempt=1)

    assert all([await costs(store, order, attempt) for attempt in range(1, 7)])


@pytest.mark.parametrize("outcome", [Done("marked"), Retry("busy", counts=False)], ids=["done", "parked"])
async def test_an_attempt_that_does_not_count_is_no_failure(
    store: MemoryStore, order: Order, outcome: Outcome
) -> None:
    await remember_outcome(store, order, outcome, attempt=1)

    assert not await costs(store, order, 1)


async def test_a_failure_of_another_state_of_the_po_says_nothing_about_this_one(
    store: MemoryStore, order: Order
) -> None:
    await remember_outcome(store, order, FAILED, attempt=6)
    now, _ = await store.apply(changed("D1", LINES[:1], state="b"))

    assert not await costs(store, now, 1)


async def test_another_state_of_the_po_is_waited_for_from_its_own_beginning(
    store: Earlier, order: Order
) -> None:
    await wait_for_submission(store, order, waiting())
    store.by = timedelta(hours=25)
    now, _ = await store.apply(changed("D1", LINES[:1], state="b"))

    assert not await costs(store, now, 1)


@pytest.mark.parametrize(
    ("waited", "after"),
    [("4s", "2s"), ("24s", "12s"), ("10m", "15s"), ("23h", "15s")],
    ids=lambda text: str(text),
)
async def test_it_is_looked_at_after_half_of_what_it_was_waited_for_and_every_fifteen_seconds_at_least(
    store: Earlier, order: Order, waited: str, after: str
) -> None:
    await wait_for_submission(store, order, waiting())
    store.by = _duration(waited)

    waits = await wait_for_submission(store, order, waiting())

    assert waits is not None
    assert waits.after is not None
    assert waits.after.total_seconds() == pytest.approx(_duration(after).total_seconds(), abs=0.5)


async def test_waiting_for_a_mark_that_nobody_makes_is_free_for_a_day(store: Earlier, order: Order) -> None:
    await wait_for_submission(store, order, waiting())
    store.by = timedelta(hours=25)

    waits = await wait_for_submission(store, order, waiting())

    assert waits is not None
    assert waits.counts
    assert waits.reason.startswith("not yet submitted: MarkSubmitted of PO D1")


async def test_a_failure_that_cannot_be_kept_costs_nobody_an_attempt(
    store: MemoryStore, order: Order
) -> None:
    store.away = "restarting"
    await remember_outcome(store, order, FAILED, attempt=1)
    store.away = ""

    assert not await costs(store, order, 1)


def _duration(text: str) -> timedelta:
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[text[-1]]
    return timedelta(**{unit: float(text[:-1])})
