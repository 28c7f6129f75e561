"""Two pages under way: the next one of a climb is prepared while one is announced, and nothing else changes by it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.errors import NO_FACTS, BrokerUnavailable, ErrorFacts, HubError, PartnerUnavailable, Throttled
from hub.messaging.message import Message
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.polling.poller import Batch
from hub.models.events import AnyEvent
from hub.observability.logging import LogEvent
from hub.partners.iqmetrix.client import PageMissing, PageRefused
from hub.partners.iqmetrix.feed import Page
from hub.process.lifecycle import Stop
from hub.state.protocols import Cursor
from producers.iqmetrix.archive_walk import KEPT_PAGES
from producers.iqmetrix.iqmetrix_orders import IqmetrixOrders
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.iqmetrix.samples import settings
from tests.producers.archived_feed import SIZE, Feed

# The oldest pages are kept on the way down: the last of them, and those after it, which are read again.
LAST_KEPT, AHEAD, NEXT, BEYOND = (f"p{KEPT_PAGES + number}" for number in range(4))
KEPT = KEPT_PAGES * SIZE
ENTRIES = KEPT + 5 * SIZE


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

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
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


def under_way() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if " ahead for " in task.get_name()]


async def climbed(poller: IqmetrixOrders) -> tuple[Cursor, Batch]:
    """Climb to the last page that was kept; gives the cursor below it, and the page."""
    cursor, batch = None, await poller.poll(None)
    while batch.cursor["archive"] != LAST_KEPT:
        cursor, batch = batch.cursor, await poller.poll(batch.cursor)
    assert cursor is not None
    return cursor, batch


def keys(batch: Batch) -> list[str]:
    return [item.key for item in batch.items]


async def ended(running: asyncio.Task[None], stop: Stop) -> None:
    stop()
    async with asyncio.timeout(30):
        await running


async def test_the_next_pages_are_asked_for_while_the_one_before_is_not_committed() -> None:
    feed, publisher, store, stop = feed_of(), Publisher(until=KEPT - SIZE), MemoryStore(), Stop()
    loop = loop_of(feed, publisher, store)
    running = asyncio.create_task(loop.run(stop))

    await eventually(lambda: feed.reads.count(NEXT) == 2, because="it is read again on the way up")
    await asyncio.sleep(0.05)
    cursor, beyond = await store.cursor(loop.poller.name), feed.reads.count(BEYOND)
    publisher.confirming.set()
    await eventually(lambda: len(publisher.published) == ENTRIES)
    await ended(running, stop)

    assert cursor is not None
    assert cursor["archive"] == f"p{KEPT_PAGES - 1}"
    assert beyond == 1
    assert publisher.published == entries(1, ENTRIES)
    assert [feed.reads.count(path) for path in (LAST_KEPT, AHEAD, NEXT)] == [1, 2, 2]


async def test_the_page_before_the_last_can_be_asked_for_again() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    below, batch = await climbed(poller)
    following = await poller.poll(batch.cursor)
    reads = feed.reads.count("current")

    again = await poller.poll(below)
    then = await poller.poll(again.cursor)

    assert keys(again) == keys(batch)
    assert keys(then) == keys(following)
    assert feed.reads.count("current") == reads, "the way is known"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PartnerUnavailable("503"), "poll_failed"),
        (Throttled("429", retry_after=timedelta(milliseconds=7)), "poll_failed"),
        (PageMissing("404", status=404), "feed_held"),
    ],
)
async def test_what_keeps_the_next_page_from_coming_is_said_at_its_turn_and_once(
    error: HubError, said: str
) -> None:
    feed, publisher, stop = feed_of(), Publisher(until=SIZE), Stop()
    with capture_logs() as lines:
        running = asyncio.create_task(loop_of(feed, publisher).run(stop))
        await eventually(lambda: len(publisher.published) > SIZE)
        feed.errors[AHEAD] = [error]
        publisher.confirming.set()
        await eventually(lambda: len(publisher.published) == ENTRIES)
        await ended(running, stop)

    said_of = [line["event"] for line in lines if line["event"] in (LogEvent.POLLED, said)]
    assert said_of[:KEPT_PAGES] == [LogEvent.POLLED] * KEPT_PAGES
    assert said_of.count(said) == 1
    assert said_of[KEPT_PAGES] == said
    assert publisher.published == entries(1, ENTRIES)


async def test_a_page_that_is_refused_beside_another_restarts_from_current() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    _, batch = await climbed(poller)
    feed.errors[AHEAD] = [PageRefused("400", status=400)]

    following = await poller.poll(batch.cursor)

    assert feed.reads.count("current") == 2
    assert keys(following) == entries(KEPT + 1, KEPT + SIZE)


async def test_after_a_page_that_was_not_confirmed_both_are_published_under_the_same_ids() -> None:
    class Away(Publisher):
        failed = False

        async def publish(self, event: AnyEvent) -> None:
            if event.id.endswith(":e2") and not self.failed:
                self.failed = True
                raise BrokerUnavailable("no confirm")
            await super().publish(event)

    feed, publisher, store, stop = feed_of(), Away(until=2 * ENTRIES), MemoryStore(), Stop()
    running = asyncio.create_task(loop_of(feed, publisher, store).run(stop))

    await eventually(lambda: publisher.published[-1:] == [f"e{ENTRIES}"])
    await ended(running, stop)

    assert sorted(set(publisher.published)) == sorted(entries(1, ENTRIES))
    assert [name for name in publisher.published if name != "e1"] == entries(2, ENTRIES)
    up_again = feed.reads[: len(feed.reads) - feed.reads[::-1].index(NEXT)]
    assert up_again.count("current") == 1, "the way is known"


async def test_a_cursor_that_somebody_has_moved_is_followed() -> None:
    feed = feed_of()
    poller = IqmetrixOrders(settings(), feed)
    below, batch = await climbed(poller)

    moved = await poller.poll({**below, "archive": AHEAD})
    back = await poller.poll(batch.cursor)
    elsewhere = await poller.poll({**below, "archive": "p1"})

    assert keys(moved) == entries(KEPT + SIZE + 1, KEPT + 2 * SIZE)
    assert keys(back) == entries(KEPT + 1, KEPT + SIZE)
    assert keys(elsewhere) == entries(SIZE + 1, 2 * SIZE)


class Slow(Feed):
    """A feed in which a page takes longer than what is done with the one before."""

    async def page(self, href: str) -> Page:
        page = await super().page(href)
        await asyncio.sleep(0.02)
        return page


async def test_a_page_that_takes_longer_than_the_one_before_is_waited_for_and_not_read_anew() -> None:
    feed, publisher, stop = feed_of(Slow), Publisher(), Stop()
    running = asyncio.create_task(loop_of(feed, publisher).run(stop))

    await eventually(lambda: len(publisher.published) == ENTRIES)
    await ended(running, stop)

    assert [feed.reads.count(path) for path in (LAST_KEPT, AHEAD, NEXT)] == [1, 2, 2]


async def test_a_fault_of_ours_beside_a_page_fails_the_next_poll_and_not_the_one_after() -> None:
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


async def test_a_stop_ends_the_page_beside_and_leaves_no_task() -> None:
    feed, publisher, stop = feed_of(Hanging), Publisher(until=KEPT - SIZE), Stop()
    running = asyncio.create_task(loop_of(feed, publisher).run(stop))
    await eventually(lambda: not feed.answered)
    begun = len(under_way())

    publisher.confirming.set()
    await ended(running, stop)

    assert (begun, under_way()) == (3, [])
    assert publisher.published == entries(1, KEPT)


async def test_a_loop_that_is_cancelled_while_it_waits_for_the_next_page_leaves_no_task() -> None:
    feed = feed_of(Hanging)
    running = asyncio.create_task(loop_of(feed, Publisher()).run(Stop()))
    await eventually(lambda: not feed.answered)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert under_way() == []


async def test_a_process_that_lost_its_lease_ends_the_page_beside() -> None:
    feed, publisher, store, stop = feed_of(Hanging), Publisher(until=KEPT - SIZE), MemoryStore(), Stop()
    loop = loop_of(feed, publisher, store)
    running = asyncio.create_task(loop.run(stop))
    await eventually(lambda: not feed.answered)

    await store.release_lease(loop.poller.name, holder="me")
    await store.acquire_lease(loop.poller.name, holder="web-2/x/1:5:9", lease=timedelta(minutes=1))
    publisher.confirming.set()
    await eventually(lambda: loop.standing.startswith("standing by"))
    left = under_way()
    await ended(running, stop)

    cursor = await store.cursor(loop.poller.name)
    assert left == []
    assert cursor is not None
    assert cursor["archive"] == f"p{KEPT_PAGES - 1}"
