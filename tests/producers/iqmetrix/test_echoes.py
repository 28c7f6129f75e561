"""Updates that iQmetrix accepted and whose order its feed does not show are counted, and warned of once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from hub.config.settings import Iqmetrix
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.polling.poller import Batch
from hub.observability.logging import LogEvent
from hub.process.lifecycle import Stop
from hub.state.protocols import Cursor, Unechoed
from producers.iqmetrix.echoes import EchoWatch
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.messaging.polling.test_poller import Publisher
from tests.partners.iqmetrix.samples import ORDER_ID, SUPPLIER, settings

SECOND = f"iqmetrix:{SUPPLIER}:second"
FOREIGN = "iqmetrix:1:x"


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class CountingStore(MemoryStore):
    """Counts looks; reports in `waiting` are of the moments that stand there."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.waiting: dict[str, datetime] = {}

    async def unechoed(
        self,
        partner: str,
        account: str,
        *,
        reported_after: datetime,
        reported_before: datetime,
        limit: int = 20,
    ) -> Unechoed:
        self.looks += 1
        late = [order for order, at in self.waiting.items() if reported_after <= at < reported_before]
        return Unechoed(len(late), tuple(late[:limit]))


def counted() -> float | None:
    return REGISTRY.get_sample_value("hub_updates_unechoed", {"account": SUPPLIER})


@asynccontextmanager
async def watching(store: MemoryStore, clock: Clock, section: Iqmetrix | None = None) -> AsyncIterator[None]:
    running = asyncio.create_task(EchoWatch(section or settings(), store, every=0.001, now=clock).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def reported(store: MemoryStore, *order_ids: str) -> None:
    for order_id in order_ids:
        await store.tell("iqmetrix", order_id, {}, awaits_echo=True)


async def test_an_update_that_the_feed_does_not_show_in_time_is_counted() -> None:
    store, clock = MemoryStore(), Clock()
    await reported(store, ORDER_ID, FOREIGN)

    async with watching(store, clock):
        await eventually(lambda: counted() == 0)
        clock.ahead = timedelta(hours=7)
        await eventually(lambda: counted() == 1)
        since = await store.awaits_echo_since("iqmetrix", ORDER_ID)
        assert since is not None
        await store.end_wait_for_echo("iqmetrix", ORDER_ID, reported_at=since)
        await eventually(lambda: counted() == 0)
        await reported(store, SECOND)
        clock.ahead = timedelta(days=15)
        await eventually(lambda: counted() == 0, because="it is of more than two weeks ago")

    assert counted() is None, "another process may count now"


async def test_an_order_is_named_in_the_log_once_when_it_becomes_late() -> None:
    store, clock = CountingStore(), Clock()
    store.waiting = {ORDER_ID: clock(), SECOND: clock() + timedelta(hours=1)}

    with capture_logs() as lines:
        async with watching(store, clock):
            clock.ahead = timedelta(hours=6, minutes=30)
            await eventually(lambda: counted() == 1)
            clock.ahead = timedelta(hours=8)
            await eventually(lambda: counted() == 2)
            looks = store.looks
            await eventually(lambda: store.looks > looks + 4)

    warned = [line for line in lines if line["event"] == LogEvent.UPDATES_UNECHOED]
    assert [line["order_ids"] for line in warned] == [(ORDER_ID,), (SECOND,)]


async def test_a_store_outage_ends_no_watch() -> None:
    store, clock = MemoryStore(), Clock()
    await reported(store, ORDER_ID)
    clock.ahead = timedelta(hours=7)
    store.away = "away"

    async with watching(store, clock):
        await asyncio.sleep(0)
        store.away = ""
        await eventually(lambda: counted() == 1)


async def test_an_account_whose_feed_shows_no_updates_is_not_looked_at() -> None:
    store = CountingStore()
    section = settings().model_copy(update={"echo_within": timedelta(0)})

    await EchoWatch(section, store).run()

    assert store.looks == 0
    assert counted() is None


class Poller:
    name = f"iqmetrix.orders:{SUPPLIER}"

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        return Batch((), {"at": 1})


async def test_the_process_that_polls_the_account_looks_and_no_other() -> None:
    store, clock, stop = CountingStore(), Clock(), Stop()
    await store.acquire_lease(Poller.name, holder="elsewhere/0/0:1:1", lease=timedelta(hours=1))
    watch = EchoWatch(settings(), store, every=0.001, now=clock)
    loop = PollLoop(Poller(), "q", timedelta(milliseconds=5), "me", store, Publisher(), watch.run)
    running = asyncio.create_task(loop.run(stop))

    await eventually(lambda: loop.standing.startswith("standing by"))
    assert store.looks == 0
    await store.release_lease(Poller.name, holder="elsewhere/0/0:1:1")
    await eventually(lambda: counted() == 0)
    stop()
    await running

    assert counted() is None
