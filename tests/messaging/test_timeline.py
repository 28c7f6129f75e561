"""Writing timelines: no delivery waits for it, one bad entry holds up no other, and little is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from hub.errors import InvalidMessage, StoreUnavailable
from hub.messaging.timeline import TimelineWriter
from hub.observability import logging
from hub.state.protocols import TimelineEntry
from tests.state.orders import NOON


class Store:
    """A timeline that can be away, refuse entries by their ``what``, and be slow."""

    def __init__(self, *bad: str) -> None:
        self.written: list[str] = []
        self.away_after: int | None = None
        self.bad = set(bad)
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def add_to_timeline(self, entries: Sequence[TimelineEntry]) -> None:
        self.asked.set()
        await self.open.wait()
        if self.away_after is not None and len(self.written) >= self.away_after:
            raise StoreUnavailable("away")
        if any(entry.what in self.bad for entry in entries):
            raise InvalidMessage("refused")
        self.written += [entry.what for entry in entries]

    async def timeline_of(self, order_id: str) -> Sequence[TimelineEntry]:
        raise NotImplementedError


@pytest.fixture
def lines() -> Iterator[list[Mapping[str, Any]]]:
    heard: list[Mapping[str, Any]] = []
    logging.set_up_logging(quiet=True)
    end = logging.tap(lambda facts: heard.append(dict(facts)))
    yield heard
    end()


def add(writer: TimelineWriter, *whats: object) -> None:
    for what in whats:
        writer.add(TimelineEntry("iqmetrix:1:a", NOON, str(what)))


async def test_entries_are_written_together_in_their_order_and_once() -> None:
    store = Store()
    writer = TimelineWriter(store)
    add(writer, 1, 2, 3)

    await writer.flush()
    await writer.flush()

    assert store.written == ["1", "2", "3"]


async def test_a_bad_entry_is_dropped_alone_and_said_in_the_log(lines: list[Mapping[str, Any]]) -> None:
    store = Store("3", "7")
    writer = TimelineWriter(store)
    add(writer, *range(10))

    await writer.flush()
    await writer.flush()

    assert store.written == ["0", "1", "2", "4", "5", "6", "8", "9"]
    assert [(line["event"], line["order_id"], line["what"], line["reason"]) for line in lines] == [
        ("timeline_refused", "iqmetrix:1:a", "3", "refused"),
        ("timeline_refused", "iqmetrix:1:a", "7", "refused"),
    ]


async def test_entries_wait_in_their_order_while_the_store_is_away(lines: list[Mapping[str, Any]]) -> None:
    store = Store()
    store.away_after = 0
    writer = TimelineWriter(store)
    add(writer, 1, 2)

    await writer.flush()
    add(writer, 3)
    store.away_after = None
    await writer.flush()

    assert store.written == ["1", "2", "3"]
    assert [(line["event"], line["kept"], line["given_up"]) for line in lines] == [("timeline_behind", 2, 0)]


async def test_what_was_written_before_the_store_went_away_is_not_written_again() -> None:
    store = Store("0")
    store.away_after = 1
    writer = TimelineWriter(store)
    add(writer, 0, 1, 2, 3)

    await writer.flush()
    before = list(store.written)
    store.away_after = None
    await writer.flush()

    assert before == ["1"]
    assert store.written == ["1", "2", "3"]


async def test_entries_that_come_while_the_store_writes_are_kept_also_when_that_is_many() -> None:
    store = Store()
    store.open.clear()
    writer = TimelineWriter(store, kept=3)
    add(writer, 1, 2, 3)
    flush = asyncio.create_task(writer.flush())
    await store.asked.wait()

    add(writer, 4, 5, 6)
    store.open.set()
    await flush
    await writer.flush()

    assert store.written == ["1", "2", "3", "4", "5", "6"]


async def test_the_oldest_are_given_up_and_counted_when_too_many_wait(
    lines: list[Mapping[str, Any]],
) -> None:
    store = Store()
    store.away_after = 0
    store.open.clear()
    writer = TimelineWriter(store, kept=3)
    add(writer, 1, 2, 3)
    flush = asyncio.create_task(writer.flush())
    await store.asked.wait()

    add(writer, 4, 5)
    store.open.set()
    await flush
    store.away_after = None
    await writer.flush()

    assert store.written == ["3", "4", "5"]
    assert [(line["kept"], line["given_up"]) for line in lines] == [(3, 2)]


async def test_a_flush_that_is_cancelled_keeps_its_entries_for_the_last_one() -> None:
    store = Store()
    store.open.clear()
    writer = TimelineWriter(store)
    add(writer, 1, 2)
    flush = asyncio.create_task(writer.flush())
    await store.asked.wait()

    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    add(writer, 3)
    store.open.set()
    await writer.flush()

    assert store.written == ["1", "2", "3"]
