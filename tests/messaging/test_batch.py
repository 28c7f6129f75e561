"""Batches: filled by count or by time, one outcome for each, taken apart when refused."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import PartnerRejected, PartnerUnavailable, TransientError
from hub.messaging.batch import Batching
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent, Event, OrderAccepted

CONTEXT = Context("submit", "hub.test.submit", 1, Message(b""))
LONG = timedelta(seconds=30)


def an_event(name: str) -> AnyEvent:
    order_id = f"retailops:27:{name}"
    return Event(name, "order.accepted", "/t", order_id, datetime.now(UTC), OrderAccepted(order_id=order_id))


class Handler:
    def __init__(self, bad: str = "", error: Exception | None = None) -> None:
        self.batches: list[list[str]] = []
        self.bad = bad
        self.error = error

    async def __call__(self, events: Sequence[tuple[AnyEvent, Context]], /) -> Sequence[Outcome]:
        names = [event.id for event, _ in events]
        self.batches.append(names)
        if self.error is not None:
            raise self.error
        if self.bad in names:
            raise PartnerRejected(f"{self.bad} is unknown")
        return [Done(name) for name in names]


async def _all(batching: Batching, *names: str) -> list[Outcome | BaseException]:
    return await asyncio.gather(
        *(batching(an_event(name), CONTEXT) for name in names), return_exceptions=True
    )


async def test_a_full_batch_goes_at_once_and_each_event_gets_its_own_outcome() -> None:
    handler = Handler()

    outcomes = await _all(Batching(handler, size=3, within=LONG), "a", "b", "c")

    assert handler.batches == [["a", "b", "c"]]
    assert outcomes == [Done("a"), Done("b"), Done("c")]


async def test_a_batch_that_does_not_fill_goes_when_its_time_is_up() -> None:
    handler = Handler()

    outcomes = await _all(Batching(handler, size=100, within=timedelta(milliseconds=20)), "a", "b")

    assert handler.batches == [["a", "b"]]
    assert outcomes == [Done("a"), Done("b")]


async def test_more_events_than_a_batch_holds_become_several_batches() -> None:
    handler = Handler()

    await _all(Batching(handler, size=2, within=timedelta(milliseconds=20)), "a", "b", "c")

    assert handler.batches == [["a", "b"], ["c"]]


async def test_one_bad_event_does_not_sink_the_rest_of_its_batch() -> None:
    handler = Handler(bad="b")

    outcomes = await _all(Batching(handler, size=3, within=LONG), "a", "b", "c")

    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert outcomes[0] == Done("a")
    assert isinstance(outcomes[1], PartnerRejected)
    assert outcomes[2] == Done("c")


async def test_a_partner_that_is_away_fails_the_batch_as_a_whole() -> None:
    handler = Handler(error=PartnerUnavailable("503"))

    outcomes = await _all(Batching(handler, size=2, within=LONG), "a", "b")

    assert handler.batches == [["a", "b"]]
    assert [type(outcome) for outcome in outcomes] == [PartnerUnavailable, PartnerUnavailable]


async def test_a_fault_of_ours_leaves_nobody_waiting() -> None:
    outcomes = await _all(Batching(Handler(error=KeyError("po")), size=2, within=LONG), "a", "b")

    assert [type(outcome) for outcome in outcomes] == [TransientError, TransientError]


async def test_a_delivery_that_is_given_up_does_not_take_the_others_along() -> None:
    handler = Handler()
    batching = Batching(handler, size=2, within=LONG)
    given_up = asyncio.create_task(_one(batching, "a"))
    await asyncio.sleep(0)

    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    others = await _all(batching, "b")

    assert others == [Done("b")]


async def _one(batching: Batching, name: str) -> Outcome:
    return await batching(an_event(name), CONTEXT)
