"""How old a poller's cursor is, and its newest entry, as the metrics tell it while the loop runs and after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY

from hub.errors import PartnerUnavailable
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.polling.poller import Batch, Item
from hub.process.lifecycle import Stop
from hub.state.protocols import Cursor
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.messaging.polling.test_poller import Publisher, created

NAME = "iqmetrix.orders:ages"


class Poller:
    """Gives one batch again and again, or raises."""

    name = NAME

    def __init__(self, batch: Batch | None) -> None:
        self.batch = batch
        self.polls = 0

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        self.polls += 1
        if self.batch is None:
            raise PartnerUnavailable("away")
        return self.batch


class CommittedAnHourAgo(MemoryStore):
    """A store in which another process moved the cursor an hour ago."""

    async def cursors(self):
        return {NAME: ({"at": 1}, datetime.now(UTC) - timedelta(hours=1))}


def told(metric: str) -> float | None:
    return REGISTRY.get_sample_value(metric, {"poller": NAME})


@asynccontextmanager
async def polling(poller: Poller, store: MemoryStore) -> AsyncIterator[None]:
    stop = Stop()
    loop = PollLoop(poller, "hub.test.orders", timedelta(milliseconds=20), "me", store, Publisher())
    task = asyncio.create_task(loop.run(stop))
    try:
        await eventually(lambda: poller.polls > 1)
        yield
    finally:
        stop()
        await task


async def test_a_cursor_that_does_not_move_is_as_old_as_its_last_commit_by_whatever_process() -> None:
    async with polling(Poller(None), CommittedAnHourAgo()):
        age = told("hub_cursor_age_seconds")

    assert age is not None
    assert 3600 <= age < 3660


async def test_a_poll_that_ends_well_makes_the_cursor_young_though_it_brought_nothing() -> None:
    async with polling(Poller(Batch((), {"at": 1})), CommittedAnHourAgo()):
        age, lag = told("hub_cursor_age_seconds"), told("hub_poll_lag_seconds")

    assert age is not None
    assert age < 60
    assert lag is None, "no entry was seen yet"


async def test_the_newest_entry_ages_from_when_it_was_made() -> None:
    batch = Batch((Item("a", created("a")), Item("b", created("b"))), {"at": 2})
    made = created("a").time

    async with polling(Poller(batch), MemoryStore()):
        lag = told("hub_poll_lag_seconds")

    assert lag is not None
    assert abs(lag - (datetime.now(UTC) - made).total_seconds()) < 60


async def test_a_loop_that_has_ended_tells_no_ages_for_the_next_process_to_contradict() -> None:
    async with polling(Poller(Batch((Item("a", created("a")),), {"at": 1})), MemoryStore()):
        pass

    assert told("hub_cursor_age_seconds") is None
    assert told("hub_poll_lag_seconds") is None
