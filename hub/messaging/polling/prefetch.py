"""Pipes and Filters (EIP) within one process: a filter works on the next item while the one before is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def ahead(
    source: AsyncGenerator[T], work: Callable[[T], Awaitable[R]], *, name: str
) -> AsyncGenerator[R]:
    """Yield what ``work`` makes of each item of ``source``, in order, one item ahead of whoever takes them.

    What the source or the work raises is raised when it is that item's turn, behind all that was made before it. Closing
    the generator cancels what is under way and closes the source, so a chain of filters is closed at its end.

    Args:
        source: asked for one item at a time.
        work: done for one item at a time.
        name: of the tasks.
    """

    async def made() -> tuple[R] | None:
        try:
            item = await anext(source)
        except StopAsyncIteration:
            return None
        return (await work(item),)

    following = asyncio.create_task(made(), name=name)
    try:
        while (result := await following) is not None:
            following = asyncio.create_task(made(), name=name)
            yield result[0]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await source.aclose()
