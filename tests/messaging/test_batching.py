"""Batches: filled by count or by time, one outcome for each, taken apart when refused."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import Busy, PartnerRejected, PartnerUnavailable, TransientError
from hub.messaging.batching import Batching, ByAccount, Limits
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent, Event, OrderAccepted
from tests.eventually import eventually

CONTEXT = Context("submit", "hub.test.submit", 1, Message(b""))
LONG = timedelta(minutes=5)


def an_event(name: str) -> AnyEvent:
    order_id = f"retailops:27:{name}"
    return Event(name, "order.accepted", "/t", order_id, datetime.now(UTC), OrderAccepted(order_id=order_id))


class Handler:
    def __init__(self, bad: str = "", error: Exception | None = None, *, open_: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        if open_:
            self.open.set()
        self.bad = bad
        self.error = error

    async def __call__(self, events: Sequence[tuple[AnyEvent, Context]], /) -> Sequence[Outcome]:
        names = [event.id for event, _ in events]
        self.batches.append(names)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        if self.bad in names:
            raise PartnerRejected(f"{self.bad} is unknown")
        return [Done(name) for name in names]


async def _all(batching: Batching | ByAccount, *names: str) -> list[Outcome | BaseException]:
    return await asyncio.gather(
        *(batching(an_event(name), CONTEXT) for name in names), return_exceptions=True
    )


async def test_a_full_batch_goes_at_once_and_each_event_gets_its_own_outcome() -> None:
    handler = Handler()

    outcomes = await _all(Batching(handler, Limits(3, LONG)), "a", "b", "c")

    assert handler.batches == [["a", "b", "c"]]
    assert outcomes == [Done("a"), Done("b"), Done("c")]


async def test_a_batch_that_does_not_fill_goes_when_its_time_is_up() -> None:
    handler = Handler()

    outcomes = await _all(Batching(handler, Limits(100, timedelta(milliseconds=20))), "a", "b")

    assert handler.batches == [["a", "b"]]
    assert outcomes == [Done("a"), Done("b")]


async def test_more_events_than_a_batch_holds_become_several_batches() -> None:
    handler = Handler()

    await _all(Batching(handler, Limits(2, timedelta(milliseconds=20))), "a", "b", "c")

    assert handler.batches == [["a", "b"], ["c"]]


async def test_one_bad_event_does_not_sink_the_rest_of_its_batch() -> None:
    handler = Handler(bad="b")

    outcomes = await _all(Batching(handler, Limits(3, LONG)), "a", "b", "c")

    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert outcomes[0] == Done("a")
    assert isinstance(outcomes[1], PartnerRejected)
    assert outcomes[2] == Done("c")


async def test_a_partner_that_is_away_fails_the_batch_as_a_whole() -> None:
    handler = Handler(error=PartnerUnavailable("503"))

    outcomes = await _all(Batching(handler, Limits(2, LONG)), "a", "b")

    assert handler.batches == [["a", "b"]]
    assert [type(outcome) for outcome in outcomes] == [PartnerUnavailable, PartnerUnavailable]


async def test_a_fault_of_ours_leaves_nobody_waiting() -> None:
    outcomes = await _all(Batching(Handler(error=KeyError("po")), Limits(2, LONG)), "a", "b")

    assert [type(outcome) for outcome in outcomes] == [TransientError, TransientError]


async def test_a_delivery_that_is_given_up_does_not_take_the_others_along() -> None:
    handler = Handler()
    batching = Batching(handler, Limits(2, LONG))
    given_up = asyncio.create_task(_one(batching, "a"))
    await asyncio.sleep(0)

    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    others = await _all(batching, "b", "c")

    assert handler.batches == [["b", "c"]]
    assert others == [Done("b"), Done("c")]


# --- as few calls as there may be ----------------------------------------------------------------------------


async def test_the_next_batch_gathers_while_one_is_on_its_way() -> None:
    handler = Handler(open_=False)
    batching = Batching(handler, Limits(2, timedelta(milliseconds=1)))
    first = asyncio.create_task(_all(batching, "a", "b"))
    await eventually(lambda: handler.batches == [["a", "b"]])
    others = [asyncio.create_task(_one(batching, name)) for name in "cde"]
    await asyncio.sleep(0)

    handler.open.set()

    await asyncio.gather(first, *others)
    assert handler.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_batch_is_full_by_its_records_and_holds_whole_calls() -> None:
    handler = Handler(open_=False)
    batching = Batching(handler, Limits(10, LONG, calls=3), records=lambda event: int(event.id))
    first = asyncio.create_task(_one(batching, "10"))
    await eventually(lambda: handler.batches == [["10"]])
    others = [asyncio.create_task(_one(batching, records)) for records in ("4", "4", "4", "4", "4", "4", "6")]
    await asyncio.sleep(0)

    handler.open.set()

    await asyncio.gather(first, *others)
    # 30 records are three whole calls.
    assert handler.batches == [["10"], ["4", "4", "4", "4", "4", "4", "6"]]


async def test_what_is_over_a_whole_call_begins_the_next_batch() -> None:
    handler = Handler(open_=False)
    within = timedelta(milliseconds=20)
    batching = Batching(handler, Limits(10, within, calls=3), records=lambda event: int(event.id))
    first = asyncio.create_task(_one(batching, "10"))
    await eventually(lambda: handler.batches == [["10"]])
    others = [asyncio.create_task(_one(batching, records)) for records in ("5", "5", "9")]
    await asyncio.sleep(0)

    handler.open.set()

    await asyncio.gather(first, *others)
    assert handler.batches == [["10"], ["5", "5"], ["9"]]


async def test_an_event_larger_than_a_batch_goes_alone() -> None:
    handler = Handler()
    batching = Batching(handler, Limits(10, LONG), records=lambda event: int(event.id))

    assert await _one(batching, "25") == Done("25")


async def test_what_finds_no_room_is_parked_and_costs_no_attempt() -> None:
    handler = Handler(open_=False)
    batching = Batching(handler, Limits(10, LONG, room=20), records=lambda event: int(event.id))
    held = [asyncio.create_task(_one(batching, records)) for records in ("10", "9")]
    await eventually(lambda: handler.batches == [["10"]])

    with pytest.raises(Busy):
        await _one(batching, "2")

    handler.open.set()
    assert await _one(batching, "1") == Done("1")
    await asyncio.gather(*held)
    assert await _one(batching, "25") == Done("25")


# --- accounts ------------------------------------------------------------------------------------------------


async def test_an_account_that_hangs_delays_no_other_account() -> None:
    hanging, other = Handler(open_=False), Handler()
    batches = {
        "A": Batching(hanging, Limits(2, LONG)),
        "B": Batching(other, Limits(2, timedelta(milliseconds=1))),
    }
    fork = ByAccount(lambda event: event.id[0], batches, other)
    stuck = [asyncio.create_task(_one(fork, name)) for name in ("A1", "A2", "A3")]
    await eventually(lambda: hanging.batches == [["A1", "A2"]])

    assert await _all(fork, "B1", "B2", "B3") == [Done("B1"), Done("B2"), Done("B3")]

    assert not any(task.done() for task in stuck)
    hanging.open.set()
    assert await asyncio.gather(*stuck[:2]) == [Done("A1"), Done("A2")]
    stuck[2].cancel()


async def test_an_event_of_no_account_is_handled_alone() -> None:
    other = Handler()

    assert await _one(ByAccount(lambda _: "", {}, other), "a") == Done("a")


async def test_who_waits_behind_a_batch_that_hangs_makes_room_for_others() -> None:
    handler = Handler(open_=False)
    batching = Batching(handler, Limits(1, LONG, patience=timedelta(milliseconds=20)))
    hanging = asyncio.create_task(_one(batching, "a"))
    waits = asyncio.create_task(_one(batching, "b"))

    with pytest.raises(Busy):
        await waits
    with pytest.raises(Busy):
        await _one(batching, "c")

    handler.open.set()
    assert await hanging == Done("a")
    assert await _one(batching, "d") == Done("d")
    assert handler.batches == [["a"], ["d"]]


async def _one(batching: Batching | ByAccount, name: str) -> Outcome:
    return await batching(an_event(name), CONTEXT)
