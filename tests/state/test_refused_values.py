"""What PostgreSQL cannot hold is a fault of the one message that says it: nobody waits for it, and the rest is written."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from hub.errors import InvalidMessage
from hub.models.events import AnyEvent
from hub.state.store import SqlStore, open_store
from tests.state.orders import created, shipped

# Fits every limit of characters, takes 4000 bytes, and cannot be compressed.
WIDE = "".join(chr(random.Random(place).randrange(0x20000, 0x2A000)) for place in range(1000))


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[SqlStore]:
    opened = await open_store(postgresql_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "refused",
    [
        shipped(("L1", 1), tracking_number=WIDE),
        shipped(("L1", 1), package_id=WIDE),
        shipped(("L1", 1), id="s\0", tracking_number="1Z"),
    ],
    ids=["tracking number", "package id", "event id with a NUL"],
)
async def test_an_event_with_a_text_that_cannot_be_held_is_refused_for_good(
    store: SqlStore, refused: AnyEvent
) -> None:
    """An index that refused a text was taken for a database that is away: the event was tried for ever."""
    await store.record_orders([created()])

    first, other = await asyncio.gather(
        store.apply(refused), store.apply(shipped(("L2", 1), id="s-2")), return_exceptions=True
    )

    assert isinstance(first, InvalidMessage)
    assert "values that the state store can hold" in str(first)
    assert not isinstance(other, BaseException)
    assert [package.event_id for package in (await store.load_order("retailops:27:PO-1")).packages] == ["s-2"]
