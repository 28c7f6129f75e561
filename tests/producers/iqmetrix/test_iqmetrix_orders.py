"""The walk through the archive: what is read, in which order, where it stops, and when the cursor is held."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from hub.errors import ArchiveChainBroken, InvalidMessage, PartnerUnavailable
from hub.messaging.polling.poller import Batch
from hub.observability.logging import LogEvent
from hub.partners.iqmetrix.client import PageMissing, PageRefused
from hub.partners.iqmetrix.feed import PageUnreadable
from producers.iqmetrix.iqmetrix_orders import IqmetrixOrders, parse_letter
from tests.partners.iqmetrix.samples import an_entry, settings, status_updated
from tests.producers.archived_feed import START, Feed


def _ids(batch: Batch) -> list[str]:
    return [item.key for item in batch.items if item.publish]


async def _drain(poller: IqmetrixOrders, cursor: Any) -> tuple[list[str], Any, int]:
    """Poll until there is no more; gives the keys in order, the cursor and the number of batches."""
    keys: list[str] = []
    for number in range(1, 1000):
        batch = await poller.poll(cursor)
        keys += _ids(batch)
        cursor = batch.cursor
        if not batch.more:
            return keys, cursor, number
    raise AssertionError("the walk has no end")


def _expected(first: int, last: int) -> list[str]:
    return [f"e{number}" for number in range(first, last + 1)]


async def test_an_empty_feed_gives_nothing_and_can_be_polled_again() -> None:
    """Edge case 1."""
    feed = Feed()
    poller = IqmetrixOrders(settings(), feed)

    keys, cursor, _ = await _drain(poller, None)
    feed.add()
    later, _, _ = await _drain(poller, cursor)

    assert keys == []
    assert later == ["e1"]


async def test_the_whole_archive_comes_oldest_first_one_page_a_poll() -> None:
    feed = Feed()
    feed.add(10)

    keys, _, batches = await _drain(IqmetrixOrders(settings(), feed), None)

    assert keys == _expected(1, 10)
    assert batches == 4


async def test_new_entries_on_a_page_that_was_archived_between_two_polls_are_found() -> None:
    """Edge case 2: the current page has one entry, the one before it three new ones."""
    feed = Feed()
    feed.add(1)
    poller = IqmetrixOrders(settings(), feed)
    _, cursor, _ = await _drain(poller, None)
    feed.add(3)

    keys, _, _ = await _drain(poller, cursor)

    # The first was taken in before; polling drops it by its key.
    assert keys == ["e1", "e2", "e3", "e4"]


async def test_only_status_entries_move_the_cursor() -> None:
    """Edge case 6: they are events of their own, never orders."""
    feed = Feed()
    feed.add(2)

    batch = await IqmetrixOrders(settings(), feed).poll(None)

    assert [item.event.type for item in batch.items if item.event] == ["order.status_updated"] * 2
    assert batch.cursor["current"] == "p1"


async def test_a_poll_without_news_reads_the_current_page_alone() -> None:
    feed = Feed()
    feed.add(10)
    poller = IqmetrixOrders(settings(), feed)
    _, cursor, _ = await _drain(poller, None)
    feed.reads.clear()

    await _drain(poller, cursor)

    assert feed.reads == ["current"]


async def test_a_new_process_goes_on_from_the_cursor_alone() -> None:
    feed = Feed()
    feed.add(10)
    first = await IqmetrixOrders(settings(), feed).poll(None)
    second = await IqmetrixOrders(settings(), feed).poll(first.cursor)

    keys, _, _ = await _drain(IqmetrixOrders(settings(), feed), second.cursor)

    assert _ids(first) + _ids(second) + keys == _expected(1, 10)


async def test_a_batch_that_was_not_committed_comes_again() -> None:
    feed = Feed()
    feed.add(10)
    poller = IqmetrixOrders(settings(), feed)
    once = await poller.poll(None)

    again = await poller.poll(None)

    assert _ids(once) == _ids(again) == ["e1", "e2", "e3"]


async def test_not_modified_is_only_asked_for_a_page_that_was_committed() -> None:
    feed = Feed(validators={"etag": '"1"'})
    feed.add(2)
    poller = IqmetrixOrders(settings(), feed)
    uncommitted = await poller.poll(None)

    again = await poller.poll(None)
    committed = await poller.poll(again.cursor)

    assert _ids(uncommitted) == _ids(again) == ["e1", "e2"]
    assert committed == Batch((), again.cursor)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _mismatches(poller: str) -> float:
    return REGISTRY.get_sample_value("hub_feed_validator_mismatch_total", {"poller": poller}) or 0.0


async def test_a_feed_that_always_says_unchanged_is_found_out() -> None:
    feed, clock = Feed(validators={"last_modified": "Tue, 01 Jan 1980 00:00:01 GMT"}), Clock()
    poller = IqmetrixOrders(settings(), feed, now=clock)
    feed.add(2)
    _, cursor, _ = await _drain(poller, None)
    before = _mismatches(poller.name)
    feed.add(2)

    hidden, cursor, _ = await _drain(poller, cursor)
    clock.seconds += 15 * 60
    with capture_logs() as lines:
        found, cursor, _ = await _drain(poller, cursor)
    feed.add(1)
    at_once, _, _ = await _drain(poller, cursor)

    assert hidden == []
    assert set(found) >= {"e3", "e4"}
    assert "e5" in at_once
    assert [line["event"] for line in lines] == [LogEvent.VALIDATORS_WRONG]
    assert _mismatches(poller.name) == before + 1


async def test_a_feed_that_changes_between_two_questions_is_believed() -> None:
    feed, clock = Feed(validators={"etag": '"1"'}), Clock()
    poller = IqmetrixOrders(settings(), feed, now=clock)
    feed.add(2)
    _, cursor, _ = await _drain(poller, None)
    await _drain(poller, cursor)
    clock.seconds += 15 * 60
    feed.add(1)
    feed.validators = {"etag": '"2"'}

    with capture_logs() as lines:
        _, cursor, _ = await _drain(poller, cursor)
    unchanged, _, _ = await _drain(poller, cursor)

    assert lines == []
    assert unchanged == []


async def test_entries_older_than_the_start_are_seen_and_not_published_and_the_descent_ends_there() -> None:
    feed = Feed()
    feed.add(12)
    start = START + timedelta(seconds=8)

    poller = IqmetrixOrders(settings(start_from=start), feed)
    keys, _, _ = await _drain(poller, None)

    assert keys == _expected(8, 12)
    assert "p1" not in feed.reads


async def test_an_error_in_the_middle_of_the_descent_is_gone_on_from() -> None:
    feed = Feed()
    feed.add(12)
    feed.errors["p2"] = [PartnerUnavailable("503")]
    poller = IqmetrixOrders(settings(), feed)

    with pytest.raises(PartnerUnavailable):
        await poller.poll(None)
    keys, _, _ = await _drain(poller, None)

    assert keys == _expected(1, 12)
    assert feed.reads.count("p3") <= 2


async def test_an_archive_page_that_is_refused_restarts_from_current() -> None:
    """Edge case 13."""
    feed = Feed()
    feed.add(10)
    feed.errors["p2"] = [PageRefused("400", status=400)]

    keys, _, _ = await _drain(IqmetrixOrders(settings(), feed), None)

    assert keys == _expected(1, 10)
    assert feed.reads.count("current") >= 2


async def test_an_archive_page_that_is_refused_again_holds_the_cursor() -> None:
    feed = Feed()
    feed.add(10)
    feed.errors["p2"] = [PageRefused("400", status=400), PageRefused("400", status=400)]

    with pytest.raises(ArchiveChainBroken, match=r"hub cursor reset iqmetrix\.orders:71204"):
        await IqmetrixOrders(settings(), feed).poll(None)


@pytest.mark.parametrize("path", ["current", "p2"])
async def test_a_page_that_stays_unreadable_holds_the_cursor(path: str) -> None:
    feed = Feed()
    feed.add(10)
    feed.errors[path] = [PageUnreadable("damaged", digest="sha256:1")] * 2
    poller = IqmetrixOrders(settings(), feed)

    with pytest.raises(PageUnreadable):
        await poller.poll(None)
    with pytest.raises(
        ArchiveChainBroken, match=rf"feed page {path} cannot be read: damaged.*hub cursor skip"
    ) as held:
        await poller.poll(None)
    keys, _, _ = await _drain(poller, None)

    assert (held.value.page, held.value.digest) == (path, "sha256:1")
    assert keys == _expected(1, 10)


class Skipping:
    """A person has stepped over one page with certain bytes."""

    def __init__(self, page: str, digest: str) -> None:
        self.skipped = (page, digest)

    async def is_skipped(self, page: str, digest: str = "") -> bool:
        return (page, digest) == self.skipped


async def test_an_unreadable_page_that_a_person_steps_over_holds_nothing() -> None:
    feed = Feed()
    feed.add(10)
    broken = PageUnreadable("damaged", digest="sha256:1", links={"prev-archive": "p1"})
    feed.errors["p2"] = [broken] * 2

    poller = IqmetrixOrders(settings(), feed, Skipping("p2", "sha256:1"))
    keys, cursor, _ = await _drain(poller, None)

    assert keys == ["e1", "e2", "e3", "e7", "e8", "e9", "e10"]
    assert cursor["archive"] == "p3"


async def test_a_page_with_other_bytes_than_were_stepped_over_is_held() -> None:
    feed = Feed()
    feed.add(10)
    feed.errors["p2"] = [PageUnreadable("damaged", digest="sha256:2")] * 2
    poller = IqmetrixOrders(settings(), feed, Skipping("p2", "sha256:1"))

    with pytest.raises(PageUnreadable):
        await poller.poll(None)
    with pytest.raises(ArchiveChainBroken):
        await poller.poll(None)


async def test_the_archive_below_an_unreadable_current_page_is_read() -> None:
    feed = Feed()
    feed.add(7)
    links = {"prev-archive": "p2"}
    feed.errors["current"] = [PageUnreadable("damaged", digest="sha256:1", links=links)] * 2
    poller = IqmetrixOrders(settings(), feed, Skipping("current", "sha256:1"))

    keys, cursor, _ = await _drain(poller, None)
    feed.errors.clear()
    later, _, _ = await _drain(poller, cursor)

    assert keys == _expected(1, 6)
    assert later == ["e7"]


async def test_more_pages_than_the_limit_is_an_alarm_and_no_silent_gap() -> None:
    """Edge case 15."""
    feed = Feed()
    feed.add(20)

    with pytest.raises(ArchiveChainBroken, match="expected at most 2 pages") as held:
        await IqmetrixOrders(settings(limits={"pages_per_walk": 2}), feed).poll(None)

    assert "limits.pages_per_walk" in str(held.value)


async def test_a_loop_in_the_chain_holds_the_cursor() -> None:
    feed = Feed()
    feed.add(10)
    feed.links["p2"] = "p3"

    with pytest.raises(ArchiveChainBroken, match="a loop: p3"):
        await IqmetrixOrders(settings(), feed).poll(None)


async def test_a_missing_predecessor_holds_the_cursor_until_it_is_back() -> None:
    feed = Feed()
    feed.add(10)
    feed.errors["p2"] = [PageMissing("404", status=404)]
    poller = IqmetrixOrders(settings(), feed)

    with pytest.raises(ArchiveChainBroken, match="expected the archive page p2"):
        await poller.poll(None)
    keys, _, _ = await _drain(poller, None)

    assert keys == _expected(1, 10)


async def test_a_chain_that_ends_before_what_is_known_holds_the_cursor() -> None:
    feed = Feed()
    feed.add(10)
    poller = IqmetrixOrders(settings(), feed)
    _, cursor, _ = await _drain(poller, None)
    feed.add(9)
    feed.links["p6"] = None

    with pytest.raises(ArchiveChainBroken, match="entries may be missing between"):
        await poller.poll(cursor)


async def test_a_page_that_rolls_over_while_the_walk_climbs_is_read_afresh() -> None:
    feed = Feed()
    feed.add(9)
    feed.after_current = lambda: feed.add(4)

    poller = IqmetrixOrders(settings(), feed)
    keys, cursor, _ = await _drain(poller, None)
    later, _, _ = await _drain(poller, cursor)

    assert sorted(set(keys + later), key=lambda key: int(key[1:])) == _expected(1, 13)


async def test_an_old_entry_repeated_on_a_new_page_does_not_end_the_descent() -> None:
    feed = Feed()
    feed.add(4)
    poller = IqmetrixOrders(settings(), feed)
    _, cursor, _ = await _drain(poller, None)
    feed.add(5)
    feed.put("e1", START + timedelta(minutes=1))

    keys, _, _ = await _drain(poller, cursor)

    assert set(_expected(5, 9)) <= set(keys)


def _never() -> Callable[[str], str | None]:
    return lambda path: None


def _always_the_same() -> Callable[[str], str | None]:
    """The current page is the one that was made last; others keep their path."""
    return lambda path: None if path != "current" else "subscription"


def _new_each_time() -> Callable[[str], str | None]:
    numbers = itertools.count()
    return lambda path: f"self-{next(numbers)}" if path == "current" else path


@pytest.mark.parametrize("naming", [_never, _always_the_same, _new_each_time])
@pytest.mark.parametrize("before", [1, 2, 3, 7])
@pytest.mark.parametrize("after", [1, 2, 4, 9])
async def test_a_roll_over_loses_nothing_however_pages_name_themselves(
    naming: Callable[[], Callable[[str], str | None]], before: int, after: int
) -> None:
    feed = Feed()
    self_of = naming()
    feed.self_of = lambda path: self_of("current" if path == list(feed.pages)[-1] else path)
    feed.add(before)
    first, cursor, _ = await _drain(IqmetrixOrders(settings(), feed), None)
    again, cursor, _ = await _drain(IqmetrixOrders(settings(), feed), cursor)
    feed.add(after)

    second, cursor, _ = await _drain(IqmetrixOrders(settings(), feed), cursor)
    third, _, _ = await _drain(IqmetrixOrders(settings(), feed), cursor)

    assert set(first + second) == set(_expected(1, before + after))
    assert len(set(again) - set(first)) == 0
    assert len(third) <= 3


async def test_a_feed_that_names_pages_alike_is_held_where_a_page_is_gone() -> None:
    feed = Feed()
    feed.self_of = lambda path: "subscription"
    feed.add(2)
    _, cursor, _ = await _drain(IqmetrixOrders(settings(), feed), None)
    feed.add(5)
    feed.self_of = lambda path: path if path != "p3" else "subscription"
    feed.links["p2"] = None

    with pytest.raises(ArchiveChainBroken, match="entries may be missing between"):
        await IqmetrixOrders(settings(), feed).poll(cursor)


async def test_a_replayed_raw_entry_is_read_again_for_its_account() -> None:
    from hub.config.settings import Settings
    from hub.messaging.message import Message

    account = settings()
    raw = an_entry("e1", status_updated()).replace(
        "<entry>", '<entry xmlns="http://www.w3.org/2005/Atom">', 1
    )
    whole = Settings(iqmetrix=(account,))

    item = await parse_letter(Message(raw.encode(), headers={"x-hub-account": "71204"}), whole)

    assert item.event is not None
    assert item.event.type == "order.status_updated"
    with pytest.raises(InvalidMessage, match="expected one of 71204"):
        await parse_letter(Message(raw.encode(), headers={"x-hub-account": "9"}), whole)
