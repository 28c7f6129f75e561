"""One at a time for a name, and what those who wait learn of a failure."""

import asyncio
from datetime import timedelta

import pytest

from consumers.effects.keyed_lease import Turns
from hub.errors import Busy, ErrorFacts, HubError, PartnerRejected, PartnerUnavailable
from tests.fakes import MemoryStore

LEASE = timedelta(minutes=1)


class Work:
    """A block that waits until it may end, and then ends as it is told."""

    def __init__(self, turns: Turns, name: str = "order-1") -> None:
        self._turns = turns
        self._name = name
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.begins = 0

    async def __call__(self, error: HubError | None = None) -> None:
        async with self._turns.of(self._name, LEASE):
            self.begins += 1
            self.begun.set()
            await self.may_end.wait()
            if error is not None:
                raise error


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def turns(store: MemoryStore) -> Turns:
    return Turns(store, "host:1:start")


async def test_those_who_wait_while_a_turn_fails_share_the_failure(turns: Turns) -> None:
    work = Work(turns)
    first = asyncio.create_task(work(PartnerUnavailable("away")))
    await work.begun.wait()
    waiting = [asyncio.create_task(work()) for _ in range(100)]
    await asyncio.sleep(0)

    work.may_end.set()
    await asyncio.wait([first, *waiting])

    assert {str(task.exception()) for task in (first, *waiting)} == {"away"}
    assert work.begins == 1


async def test_an_odd_answer_belongs_to_the_call_that_got_it(turns: Turns) -> None:
    work = Work(turns)
    first = asyncio.create_task(work(PartnerUnavailable("HTML", facts=ErrorFacts("retailops", status=200))))
    await work.begun.wait()
    waiting = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)

    work.may_end.set()
    await asyncio.wait([first, *waiting])

    assert isinstance(first.exception(), PartnerUnavailable)
    assert [task.exception() for task in waiting] == [None] * 3
    assert work.begins == 4


async def test_the_next_one_after_a_failure_tries_anew(turns: Turns) -> None:
    work = Work(turns)
    work.may_end.set()
    with pytest.raises(PartnerUnavailable):
        await work(PartnerUnavailable("away"))

    await work()

    assert work.begins == 2


async def test_a_refusal_is_not_shared_since_it_is_about_one_message(turns: Turns) -> None:
    work = Work(turns)
    first = asyncio.create_task(work(PartnerRejected("no")))
    await work.begun.wait()
    waiting = asyncio.create_task(work())
    await asyncio.sleep(0)

    work.may_end.set()
    await asyncio.wait([first, waiting])

    assert isinstance(first.exception(), PartnerRejected)
    assert waiting.exception() is None


async def test_a_stopped_turn_passes_on_to_the_next(turns: Turns) -> None:
    work = Work(turns)
    first = asyncio.create_task(work())
    await work.begun.wait()
    waiting = asyncio.create_task(work())
    await asyncio.sleep(0)

    first.cancel()
    work.may_end.set()
    await waiting

    assert work.begins == 2


async def test_another_process_makes_it_busy_until_its_turn_ends(store: MemoryStore, turns: Turns) -> None:
    others = Work(Turns(store, "host:2:start"))
    theirs = asyncio.create_task(others())
    await others.begun.wait()
    ours = Work(turns)
    ours.may_end.set()

    with pytest.raises(Busy) as busy:
        await ours()

    others.may_end.set()
    await theirs
    await ours()
    assert busy.value.retry_after > timedelta(0)
    assert ours.begins == 1


async def test_different_names_do_not_wait_for_each_other(turns: Turns) -> None:
    slow, quick = Work(turns), Work(turns, "order-2")
    quick.may_end.set()
    blocked = asyncio.create_task(slow())
    await slow.begun.wait()

    await quick()

    slow.may_end.set()
    await blocked
    assert quick.begins == 1


async def test_a_lease_that_cannot_be_given_back_does_not_hide_what_became_of_the_turn(
    store: MemoryStore, turns: Turns
) -> None:
    work = Work(turns)
    refused = asyncio.create_task(work(PartnerRejected("no")))
    await work.begun.wait()

    store.away = "disk full"
    work.may_end.set()
    await asyncio.wait([refused])

    assert isinstance(refused.exception(), PartnerRejected)
