"""Work that takes as long as an order has lines and packages: done beside the event loop for a large one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from hub.models.order import Order

T = TypeVar("T")

# Lines of an order, and items of its packages, about which all is computed at once: some ten milliseconds.
_MANY = 400


async def computed(work: Callable[[], T], order: Order | None) -> T:
    """Return what pure work about an order gives; other tasks go on meanwhile if the order is large."""
    return await asyncio.to_thread(work) if order is not None and is_large(order) else work()


def is_large(order: Order) -> bool:
    """Return whether computing something of each line or package could keep the event loop for too long."""
    return len(order.lines) + sum(len(package.items) for package in order.packages) > _MANY
