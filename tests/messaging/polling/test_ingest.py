"""Batches on their way through ask, record, publish and commit, several at a time."""

import asyncio
import gc
from collections.abc import Sequence
from datetime import timedelta

import pytest

from hub.errors import ArchiveChainBroken, BrokerUnavailable, StoreUnavailable
from hub.messaging.message import Message
from hub.messaging.polling.ingest import Intake, Load
from hub.messaging.polling.poller import Batch, Item
from hub.models.events import AnyEvent
from hub.process.lifecycle import Stop
from hub.state.poller_notes import PollerNotes
from hub.state.protocols import Cursor
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.messaging.polling.test_poller import Publisher, created

NAME = "iqmetrix.orders:intake"


class Pages:
    """Gives pages of one entry each, named by letters; a page named ``?`` is never answered."""

    name = NAME

    def __init__(self, *pages: str) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.hung_up = False

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        place = 0 if cursor is None else int(cursor["at"])
        self.asked.append(self.pages[place])
        if self.pages[place] == "?":
            try:
                await asyncio.Event().wait()
            finally:
                self.hung_up = True
        items = tuple(Item(entry, created(entry)) for entry in self.pages[place])
        return Batch(items, {"at": place + 1}, more=place + 1 < len(self.pages))


class Store(MemoryStore):
    """Commits only while it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.committing = asyncio.Event()
        self.committing.set()
        self.failing_at: int | None = None

    async def commit(self, poller: str, cursor: Cursor, keys: Sequence[str], *, holder: str) -> None:
        await self.committing.wait()
        if cursor["at"] == self.failing_at:
            raise StoreUnavailable("disk full")
        await super().commit(poller, cursor, keys, holder=holder)


async def intake_of(poller: Pages, store: MemoryStore, publisher: Publisher) -> Intake:
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))
    return Intake(poller, "q", "me", store, publisher)


async def taken(intake: Intake, stop: Stop) -> list[int]:
    """Take in all; gives how many events each batch brought."""
    return [taken.published async for _, taken in intake.batches(stop)]


def ids(names: str) -> list[str]:
    return [f"iqmetrix:1:{name}" for name in names]


def left() -> list[str]:
    return [name for task in asyncio.all_tasks() if " ahead for " in (name := task.get_name())]


async def test_while_a_batch_is_committed_the_next_is_published_and_the_one_behind_it_recorded() -> None:
    pages, store, publisher = Pages("a", "b", "c", "d", "e"), Store(), Publisher()
    store.committing.clear()
    taking = asyncio.create_task(taken(await intake_of(pages, store, publisher), Stop()))

    await eventually(lambda: len(store._orders) == 3)
    for _ in range(50):
        await asyncio.sleep(0)
    published, recorded, cursor = list(publisher.published), len(store._orders), await store.cursor(NAME)
    store.committing.set()

    assert await taking == [1, 1, 1, 1, 1]
    assert (published, recorded, cursor) == (ids("ab"), 3, None)
    assert publisher.published == ids("abcde")
    assert await store.cursor(NAME) == {"at": 5}
    assert left() == []


async def test_an_entry_that_comes_again_before_its_first_page_is_committed_is_announced_once() -> None:
    pages, store, publisher = Pages("a", "ab", "ca", "bad"), Store(), Publisher()
    store.committing.clear()
    taking = asyncio.create_task(taken(await intake_of(pages, store, publisher), Stop()))
    await eventually(lambda: len(store._orders) == 3)
    store.committing.set()

    assert await taking == [1, 1, 1, 1]
    assert publisher.published == ids("abcd")


async def test_what_is_under_way_behind_a_batch_that_fails_is_dropped_and_comes_again() -> None:
    pages, store, publisher = Pages("a", "b", "c", "d"), Store(), Publisher()
    store.failing_at = 2
    intake = await intake_of(pages, store, publisher)

    with pytest.raises(StoreUnavailable, match="disk full"):
        await taken(intake, Stop())
    after = await store.cursor(NAME), left()
    store.failing_at = None

    assert await taken(intake, Stop()) == [1, 1, 1]
    assert after == ({"at": 1}, [])
    assert [event for event in ids("abcd") if event not in publisher.published] == []
    assert await store.cursor(NAME) == {"at": 4}


async def test_a_failure_waits_until_the_batches_before_it_are_committed() -> None:
    pages, store = Pages("a", "b", "c", "d"), Store()
    publisher = Publisher(failing={"iqmetrix:1:c"})

    with pytest.raises(BrokerUnavailable):
        await taken(await intake_of(pages, store, publisher), Stop())

    assert publisher.published == ids("ab")
    assert await store.cursor(NAME) == {"at": 2}


async def test_a_stop_hangs_up_and_what_was_recorded_by_then_is_still_committed() -> None:
    class Held(Publisher):
        confirming = asyncio.Event()

        async def publish(self, event: AnyEvent) -> None:
            await self.confirming.wait()
            await super().publish(event)

    pages, store, publisher, stop = Pages("a", "b", "?", "d"), Store(), Held(), Stop()
    taking = asyncio.create_task(taken(await intake_of(pages, store, publisher), stop))
    await eventually(lambda: len(store._orders) == 2)
    publisher.confirming.set()
    await eventually(lambda: "?" in pages.asked)

    stop()

    assert await asyncio.wait_for(taking, 30) == [1, 1]
    assert pages.asked == ["a", "b", "?"]
    assert pages.hung_up
    assert publisher.published == ids("ab")
    assert await store.cursor(NAME) == {"at": 2}


async def test_a_partner_is_not_asked_once_the_end_is() -> None:
    pages, stop = Pages("a"), Stop()
    stop()

    assert await taken(await intake_of(pages, Store(), Publisher()), stop) == []
    assert pages.asked == []


async def test_a_long_way_keeps_no_batch_that_is_committed() -> None:
    pages, store, stop = Pages(*map(chr, range(ord("A"), ord("A") + 40))), MemoryStore(), Stop()
    intake = await intake_of(pages, store, Publisher())

    kept = [sum(isinstance(each, Load) for each in gc.get_objects()) async for _ in intake.batches(stop)]

    assert len(kept) == 40
    assert max(kept) <= 5, "one that is given, and four under way"


class Bad:
    """Gives pages of so many entries; ``good`` says which of a page can be translated."""

    name = NAME

    def __init__(self, pages: int, entries: int, good: int = 0) -> None:
        self.pages, self.entries, self.good = pages, entries, good

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        page = 0 if cursor is None else int(cursor["at"])
        items = [
            Item(f"{page}.{n}", letter=Message(b"<entry/>", "text/xml"), reason="id: expected one")
            for n in range(self.entries)
        ]
        for n in range(self.good):
            items[n] = Item(f"{page}.{n}", created(f"{page}.{n}"))
        return Batch(tuple(items), {"at": page + 1}, more=page + 1 < self.pages)


async def _polled(intake: Intake) -> None:
    async for _ in intake.batches(Stop()):
        pass


async def test_a_poll_of_which_most_is_unreadable_holds_the_feed_and_stays_held() -> None:
    store, publisher = MemoryStore(), Publisher()
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))
    intake = Intake(Bad(pages=400, entries=50), "hub.iqmetrix.orders", "me", store, publisher)

    with pytest.raises(ArchiveChainBroken, match=r"100 of 100 .* since: id: expected one") as held:
        await _polled(intake)
    for _ in range(2):
        with pytest.raises(ArchiveChainBroken):
            await _polled(intake)

    assert held.value.facts.code == "too_many_letters"
    assert len(publisher.letters) == 50


async def test_a_page_of_thousands_of_unreadable_entries_makes_no_letter() -> None:
    store, publisher = MemoryStore(), Publisher()
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))

    with pytest.raises(ArchiveChainBroken):
        await _polled(Intake(Bad(pages=1, entries=30_000), "hub.iqmetrix.orders", "me", store, publisher))

    assert publisher.letters == []


async def test_a_poll_of_which_most_is_well_sets_the_rest_aside_however_much() -> None:
    store, publisher = MemoryStore(), Publisher()
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))

    await _polled(Intake(Bad(pages=4, entries=50, good=25), "hub.iqmetrix.orders", "me", store, publisher))

    assert (len(publisher.letters), len(publisher.published)) == (100, 100)


async def test_a_person_may_have_them_all_set_aside() -> None:
    store, publisher = MemoryStore(), Publisher()
    await store.acquire_lease(NAME, holder="me", lease=timedelta(minutes=1))
    intake = Intake(Bad(pages=4, entries=50), "hub.iqmetrix.orders", "me", store, publisher)
    with pytest.raises(ArchiveChainBroken) as held:
        await _polled(intake)

    await PollerNotes(store, NAME).add_skip(held.value.page, held.value.digest, reason="known", by="dana")
    await _polled(intake)

    assert len(publisher.letters) == 200
