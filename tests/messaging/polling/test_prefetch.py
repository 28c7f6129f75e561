"""One item ahead: filters that follow each other work at the same time, and fail, end and close in order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from hub.messaging.polling.prefetch import ahead
from tests.eventually import eventually


class Source:
    """Gives numbers, raises at one of them, and knows how many were asked for and whether it was closed."""

    def __init__(self, numbers: int, *, failing_at: int | None = None) -> None:
        self.numbers = numbers
        self.failing_at = failing_at
        self.given = 0
        self.closed = False

    async def items(self) -> AsyncGenerator[int]:
        try:
            for number in range(self.numbers):
                if number == self.failing_at:
                    raise ValueError(f"no {number}")
                self.given += 1
                yield number
        finally:
            self.closed = True


async def tenfold(number: int) -> int:
    return number * 10


def left() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "filter"]


async def test_what_is_made_of_each_item_comes_in_order() -> None:
    source = Source(4)

    assert [made async for made in ahead(source.items(), tenfold, name="filter")] == [0, 10, 20, 30]
    assert source.closed
    assert left() == []


async def test_no_items_make_nothing() -> None:
    assert [made async for made in ahead(Source(0).items(), tenfold, name="filter")] == []


async def test_one_item_is_made_while_the_one_before_is_used_and_no_more() -> None:
    source = Source(9)
    made: list[int] = []

    async def work(number: int) -> int:
        made.append(number)
        return number

    async with aclosing(ahead(source.items(), work, name="filter")) as results:
        first = await anext(results)
        await eventually(lambda: len(made) == 2)
        for _ in range(20):
            await asyncio.sleep(0)

        assert (first, made, source.given) == (0, [0, 1], 2)


async def test_each_filter_of_a_chain_is_one_item_ahead_of_the_next() -> None:
    source = Source(9)
    first = ahead(source.items(), tenfold, name="filter")
    async with aclosing(ahead(first, tenfold, name="filter")) as results:
        assert await anext(results) == 0
        await eventually(lambda: source.given == 3)
        for _ in range(20):
            await asyncio.sleep(0)

        assert source.given == 3


@pytest.mark.parametrize("by", ["source", "work"])
async def test_a_failure_is_raised_behind_all_that_was_made_before_it(by: str) -> None:
    source = Source(9, failing_at=2 if by == "source" else None)

    async def work(number: int) -> int:
        if number == 2:
            raise ValueError(f"no {number}")
        return number

    results = ahead(source.items(), work, name="filter")
    made = [await anext(results), await anext(results)]
    with pytest.raises(ValueError, match="no 2"):
        await anext(results)

    assert made == [0, 1]
    assert source.closed
    assert left() == []


async def test_closing_the_last_filter_cancels_what_is_under_way_in_all_and_closes_the_source() -> None:
    source, ended = Source(9), 0

    async def hang_at(number: int, place: int) -> int:
        nonlocal ended
        if number == place:
            try:
                await asyncio.Event().wait()
            finally:
                ended += 1
        return number

    first = ahead(source.items(), lambda number: hang_at(number, 2), name="filter")
    results = ahead(first, lambda number: hang_at(number, 1), name="filter")
    await anext(results)
    await eventually(lambda: source.given == 3)

    await results.aclose()

    assert ended == 2
    assert source.closed
    assert left() == []


async def test_whoever_is_cancelled_while_waiting_leaves_nothing_behind() -> None:
    source = Source(9)

    async def hang(number: int) -> int:
        await asyncio.Event().wait()
        return number

    async def take() -> None:
        async with aclosing(ahead(source.items(), hang, name="filter")) as results:
            await anext(results)

    taking = asyncio.create_task(take())
    await eventually(lambda: source.given == 1)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking

    assert source.closed
    assert left() == []
