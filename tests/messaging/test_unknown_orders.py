"""An event about an order that the hub has not seen waits for the feed, at no attempt, and not for ever."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import InvalidMessage, UnknownOrder
from hub.messaging.dispatch import outcome_of
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.messaging.unknown_orders import NEVER_AWAITED, UnknownOrders
from hub.models.events import FULFILLMENT, ORDERS

ORDER = "iqmetrix:71204:7a0e"
UNKNOWN = outcome_of(UnknownOrder("expected an order that was recorded", field="order_id"))
WAIT = timedelta(minutes=15)


def received(ago: timedelta, *, exchange: str = FULFILLMENT, timestamp: datetime | None = None) -> Message:
    return Message(b"{}", exchange=exchange, timestamp=timestamp, received_at=datetime.now(UTC) - ago)


def awaited(
    message: Message, outcome: Outcome = UNKNOWN, order_id: str | None = ORDER, wait: timedelta = WAIT
) -> Outcome:
    return UnknownOrders(wait, [("iqmetrix", "71204")]).awaited(outcome, message, order_id)


@pytest.mark.parametrize(
    ("ago", "after"),
    [(0, 1), (1, 1), (10, 5), (60, 30), (600, 60), (15 * 60 - 20, 20)],
)
def test_the_longer_it_waits_the_more_seldom_it_looks(ago: int, after: int) -> None:
    outcome = awaited(received(timedelta(seconds=ago)))

    assert isinstance(outcome, Retry)
    assert not outcome.counts
    assert outcome.after is not None
    assert outcome.after.total_seconds() == pytest.approx(after, abs=0.5)


def test_after_the_wait_it_is_a_letter() -> None:
    assert awaited(received(WAIT)) == UNKNOWN
    assert isinstance(UNKNOWN, Reject)


def test_a_publishers_own_time_does_not_prolong_the_wait() -> None:
    late = received(WAIT, timestamp=datetime(9999, 1, 1, tzinfo=UTC))

    assert awaited(late) == UNKNOWN


@pytest.mark.parametrize("order_id", ["iqmetrix:71205:7a0e", "elsewhere:71204:7a0e", "retailops:71204:7a0e"])
def test_an_order_of_an_account_that_is_not_configured_is_a_letter_at_once(order_id: str) -> None:
    assert awaited(received(timedelta(0)), order_id=order_id) == UNKNOWN


@pytest.mark.parametrize(
    "outcome", [Done(), Retry("503"), outcome_of(InvalidMessage("no", field="order_id"))]
)
def test_any_other_outcome_stays(outcome: Outcome) -> None:
    assert awaited(received(timedelta(0)), outcome) == outcome


def test_what_came_by_another_exchange_or_is_not_to_wait_is_a_letter() -> None:
    assert awaited(received(timedelta(0), exchange=ORDERS)) == UNKNOWN
    assert awaited(received(timedelta(0)), wait=timedelta(0)) == UNKNOWN
    assert NEVER_AWAITED.awaited(UNKNOWN, received(timedelta(0)), ORDER) == UNKNOWN
