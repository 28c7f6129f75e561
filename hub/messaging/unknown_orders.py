"""An event about an order that the hub has never seen waits for the feed, which may be behind, before it is a letter.

``hub.amqp.receiving.consumer`` asks about each outcome. The wait costs no attempt, and counts from when the hub first received the message:
a waiting copy keeps that moment, so it spans restarts, and no publisher can tell another.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hub.errors import UnknownOrder
from hub.messaging.message import Message
from hub.messaging.outcome import Outcome, Reject, Retry
from hub.models.events import FULFILLMENT
from hub.models.types import OrderId

# Half of what it waited already, within these bounds: an order that is just being read is there in a moment.
_LOOK_AGAIN = timedelta(seconds=1)
_LOOK_AGAIN_AT_MOST = timedelta(seconds=60)
_CODE = UnknownOrder().facts.code


class UnknownOrders:
    """How long to wait for an order, and of whom one may come at all.

    Args:
        wait: the longest; 0: not at all.
        accounts: source and account of each that is polled; orders of others never come.
    """

    def __init__(self, wait: timedelta, accounts: Iterable[tuple[str, str]]) -> None:
        self._wait = wait
        self._accounts = frozenset(accounts)

    def awaited(self, outcome: Outcome, message: Message, order_id: str | None) -> Outcome:
        """Return the outcome, or a wait in place of a rejection whose order may still come."""
        if not isinstance(outcome, Reject) or outcome.facts.code != _CODE or order_id is None:
            return outcome
        if message.exchange != FULFILLMENT or message.received_at is None:
            return outcome
        if OrderId.parse(order_id)[:2] not in self._accounts:
            return outcome
        waited = datetime.now(UTC) - message.received_at
        left = self._wait - waited
        if left <= timedelta(0):
            return outcome
        after = min(max(waited / 2, _LOOK_AGAIN), _LOOK_AGAIN_AT_MOST, left)
        return Retry(outcome.reason, after=after, counts=False, facts=outcome.facts)


NEVER_AWAITED = UnknownOrders(timedelta(0), ())
