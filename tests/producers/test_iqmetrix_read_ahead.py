"""Reading ahead: the next page of a climb is read while the one before is taken in, and nothing else changes by it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.errors import FeedHeld, HubError, PartnerUnavailable, Throttled
from hub.lifecycle import Stop
from hub.messaging.message import Message
from hub.messaging.poll_loop import PollLoop
from hub.messaging.polling import Batch
from hub.models.events import AnyEvent
from hub.partners.iqmetrix.client import PageMissing, PageRefused
from hub.partners.iqmetrix.feed import Page
from hub.state.stores import Cursor
from hub.telemetry import LogEvent
from producers.archive_walk import KEPT_PAGES
from producers.iqmetrix_orders import IqmetrixOrders
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.iqmetrix.samples import settings
from tests.producers.archived_feed import SIZE, Feed

# The oldest pages are kept on the way down: the last of them, and the two after it, which are read again.
LAST_KEPT, AHEAD, NEXT = (f"p{KEPT_PAGES + number}" for number in range(3))
KEPT = KEPT_PAGES * SIZE
ENTRIES = KEPT + 4 * SIZE


class Hanging(Feed):
    """A feed in which a page, once it was read on the way down, is not answered."""

    answered = True

    async def page(self, href: str) -> Page:
        again = href in self.reads
        page = await super().page(href)
        if href == AHEAD and again:
            self.answered = False
            await asyncio.Event().wait()
        return page


class Publisher:
    """A broker that confirms so many, and more once it is let to."""

    def __init__(self, *, until: int = ENTRIES) -> None:
        self.published: list[str] = []
        self.confirming = asyncio.Event()
        self.until = until

    async def publish(self, event: AnyEvent) -> None:
        self.published.append(event.id.rpartition(":")[2])
        if len(self.published) > self.until:
            await self.confirming.wait()

    async def set_aside(self, message: Message, *, queue: str, reason: str) -> None:
        raise AssertionError(f"expected events alone, got a letter: {reason}")


def feed_of(kind: type[Feed] = Feed) -> Any:
    feed = kind()
    feed.add(ENTRIES)
    return feed


def loop_of(feed: Feed, publisher: Publisher, store: MemoryStore | None = None) -> PollLoop:
    poller = IqmetrixOrders(settings(), feed)
    return PollLoop(poller, "q", timedelta(milliseconds=5), "me", store or MemoryStore(), publisher)


def entries(first: int, last: int) -> list[str]:
    return [f"e{number}" for number in range(first, last + 1)]


def reads_ahead() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("read ahead")]


async def climbed(poller: IqmetrixOrders) -> tuple[Cursor, Batch]:
    """Climb to the last page that was kept; gives the cursor below it, and the page."""
    cursor, batch = None, await poller.poll(None)
    while batch.cursor["archive"] != LAST_KEPT:
        cursor, batch = batch.cursor, await poller.poll(batch.cursor)
    assert cursor is not None
    return cursor, batch


async def read_ahead(batch: Batch) -> None:
    assert batch.ahead is not None
    await batch.ahead()


def keys(batch: Batch) -> list[str]:
    return [item.key for item in batch.items]


async def ended(running: asyncio.Task[None], stop: Stop) -> None:
    stop()
    async with asyncio.timeout(5):
        await running


async def test_the_next_page_is_asked_for_while_the_one_before_is_not_committed() -> None:
    feed, publisher, store, stop = feed_of(), Publisher(until=KEPT - SIZE), MemoryStore(), Stop()
    loop = loop_of(feed, publisher, store)
    running = asyncio.create_task(loop.run(stop))

    await eventually(lambda: feed.reads.count(AHEAD) == 2, because="it is read again on the way up")
    await asyncio.sleep(0.05)
    cursor, reads = await store.cursor(loop.poller.name), feed.reads.count(NEXT)
    publisher.confirming.set()
    await eventually(lambda: len(publisher.published) == ENTRIES)
    await ended(running, stop)

    assert cursor is not None
    assert cursor["archive"] == f"p{KEPT_PAGES - 1}"
    assert reads == 1
    assert publisher.published == entries(1, ENTRIES)
    assert [feed.reads.count(path) for path in (LAST_KEPT, AHEAD, NEXT)] == [1, 2, 2]


async def test_nothing_is_read_ahead_of_the_last_archive_page() -> None:
    feed = Feed()
    feed.add(2 * SIZE)
    poller = IqmetrixOrders(settings(), feed)

    batch = await poller.poll(None)
    current = await poller.poll(batch.cursor)

    assert (batch.ahead, batch.more) == (None, True)
    assert (current.ahead, current.more) == (None, False)


@pytest.mark.parametrize(
    ("error", "seen_as"),
    [
        (PartnerUnavailable("503"), PartnerUnavailable),
        (Throttled("429", retry_after=timedelta(seconds=7)), Throttled),
        (PageMissing("404", status=404), FeedHeld),
    ],
)
async def test_an_error_of_the_read_ahead_comes_at_its_turn_and_once(
    error: HubError, seen_as: type[HubError]
) -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    below, batch = await climbed(poller)
    feed.errors[AHEAD] = [error]

    await read_ahead(batch)
    again = await poller.poll(below)
    with pytest.raises(seen_as):
        await poller.poll(batch.cursor)
    following = await poller.poll(batch.cursor)

    assert keys(again) == entries(KEPT - SIZE + 1, KEPT)
    assert keys(following) == entries(KEPT + 1, KEPT + SIZE)


async def test_a_page_that_is_refused_ahead_restarts_from_current_at_its_turn() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    _, batch = await climbed(poller)
    feed.errors[AHEAD] = [PageRefused("400", status=400)]

    await read_ahead(batch)
    reads = feed.reads.count("current")
    following = await poller.poll(batch.cursor)

    assert (reads, feed.reads.count("current")) == (1, 2)
    assert keys(following) == entries(KEPT + 1, KEPT + SIZE)


async def test_a_page_that_was_read_ahead_is_kept_while_the_one_before_is_repeated() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    _, last_kept = await climbed(poller)
    batch = await poller.poll(last_kept.cursor)

    await read_ahead(batch)
    again = await poller.poll(last_kept.cursor)
    await read_ahead(again)
    following = await poller.poll(again.cursor)

    assert keys(batch) == keys(again) == entries(KEPT + 1, KEPT + SIZE)
    assert keys(following) == entries(KEPT + SIZE + 1, KEPT + 2 * SIZE)
    assert feed.reads.count(NEXT) == 2


async def test_a_walk_that_the_cursor_has_left_takes_its_page_ahead_along() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    below, batch = await climbed(poller)
    await read_ahead(batch)
    feed.reads.clear()

    moved = await poller.poll({**below, "archive": AHEAD})
    back = await poller.poll(batch.cursor)

    assert keys(moved) == entries(KEPT + SIZE + 1, KEPT + 2 * SIZE)
    assert keys(back) == entries(KEPT + 1, KEPT + SIZE)
    assert AHEAD in feed.reads


class Slow(Feed):
    """A feed in which a page takes longer than what is done with the one before."""

    async def page(self, href: str) -> Page:
        page = await super().page(href)
        await asyncio.sleep(0.02)
        return page


async def test_a_read_ahead_that_outlasts_the_taking_in_is_waited_for_and_not_begun_anew() -> None:
    feed, publisher, stop = feed_of(Slow), Publisher(), Stop()
    running = asyncio.create_task(loop_of(feed, publisher).run(stop))

    await eventually(lambda: len(publisher.published) == ENTRIES)
    await ended(running, stop)

    assert [feed.reads.count(path) for path in (LAST_KEPT, AHEAD, NEXT)] == [1, 2, 2]


async def test_a_fault_of_ours_in_the_read_ahead_fails_the_next_poll_and_not_the_one_after() -> None:
    feed, publisher, stop = feed_of(), Publisher(until=SIZE), Stop()
    with capture_logs() as lines:
        running = asyncio.create_task(loop_of(feed, publisher).run(stop))
        await eventually(lambda: len(publisher.published) > SIZE)
        feed.errors[AHEAD] = [ValueError("a fault of ours")]
        publisher.confirming.set()
        await eventually(lambda: len(publisher.published) == ENTRIES)
        await ended(running, stop)

    failed = [line["reason"] for line in lines if line["event"] == LogEvent.POLL_FAILED]
    assert failed == ["unexpected ValueError in iqmetrix.orders:71204; see the log"]
    assert publisher.published == entries(1, ENTRIES)


async def test_a_stop_ends_the_read_ahead_and_leaves_no_task() -> None:
    feed, publisher, stop = feed_of(Hanging), Publisher(until=KEPT - SIZE), Stop()
    running = asyncio.create_task(loop_of(feed, publisher).run(stop))
    await eventually(lambda: not feed.answered)
    under_way = len(reads_ahead())

    publisher.confirming.set()
    await ended(running, stop)

    assert (under_way, reads_ahead()) == (1, [])
    assert publisher.published == entries(1, KEPT)


async def test_a_loop_that_is_cancelled_while_it_waits_for_the_read_ahead_leaves_no_task() -> None:
    feed = feed_of(Hanging)
    running = asyncio.create_task(loop_of(feed, Publisher()).run(Stop()))
    await eventually(lambda: not feed.answered)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert reads_ahead() == []


async def test_a_process_that_lost_its_lease_ends_the_read_ahead() -> None:
    feed, publisher, store, stop = feed_of(Hanging), Publisher(until=KEPT - SIZE), MemoryStore(), Stop()
    loop = loop_of(feed, publisher, store)
    running = asyncio.create_task(loop.run(stop))
    await eventually(lambda: not feed.answered)

    await store.release_lease(loop.poller.name, holder="me")
    await store.acquire_lease(loop.poller.name, holder="web-2/x/1:5:9", lease=timedelta(minutes=1))
    publisher.confirming.set()
    await eventually(lambda: loop.standing.startswith("standing by"))
    left = reads_ahead()
    await ended(running, stop)

    cursor = await store.cursor(loop.poller.name)
    assert left == []
    assert cursor is not None
    assert cursor["archive"] == f"p{KEPT_PAGES - 1}"
