"""One id means one thing: what comes again under it is the same, or refused; and nobody can take an id of the hub's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from hub.errors import InvalidMessage
from hub.models.events import AnyEvent
from hub.state.protocols import LIKELY_DUPLICATE, OTHER_SPELLING, ClaimState, Store
from hub.state.store import open_store
from tests.state.opening import KINDS, opened
from tests.state.orders import backordered, cancelled, changed, created, event, shipped

ORDER = "retailops:27:PO-1"
LINES = [{"line_id": "L1", "sku": "RED", "quantity": 9}]


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request, tmp_path) as store:
        await store.record_orders([created()])
        yield store


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (shipped(("L1", 1), id="x"), shipped(("L1", 2), id="x")),
        (shipped(("L1", 1), id="x"), shipped(("L2", 1), id="x")),
        (shipped(("L1", 1), id="x", weight_lb=1.0), shipped(("L1", 1), id="x", weight_lb=1.5)),
        (cancelled(("L1", 1), id="x"), cancelled(id="x")),
        (cancelled(id="x", reason="a"), cancelled(id="x", reason="b")),
        (backordered(id="x"), backordered(id="x", message="late")),
    ],
)
async def test_an_id_that_comes_again_with_other_content_is_refused(
    store: Store, first: AnyEvent, second: AnyEvent
) -> None:
    order, _ = await store.apply(first)

    with pytest.raises(InvalidMessage, match="with other content") as refused:
        await store.apply(second)

    assert refused.value.field == "id"
    assert await store.load_order(ORDER) == order


async def test_an_event_that_is_told_again_later_and_spelled_otherwise_is_the_same(store: Store) -> None:
    data = {"order_id": ORDER, "charges": {"lines": {"L1": {"tax_cents": 1}, "L2": {"tax_cents": 2}}}}
    _, first = await store.apply(event("order.cancelled", data, id="x"))
    other_way_round = {"L2": {"tax_cents": 2, "new": 1}, "L1": {"tax_cents": 1}}

    _, again = await store.apply(
        event("order.cancelled", {**data, "charges": {"lines": other_way_round}}, id="x", minute=9)
    )

    assert again == first


async def test_an_event_that_an_operator_corrected_may_say_something_else(store: Store) -> None:
    _, first = await store.apply(cancelled(id="x"))

    _, again = await store.apply(replace(cancelled(id="x", reason="mended"), corrected=True))

    assert again == first


async def test_two_of_one_id_at_once_are_one_event_and_a_refusal(store: Store) -> None:
    await store.apply(cancelled(("L2", 1), id="first"))

    for _ in range(3):
        with pytest.raises(InvalidMessage):
            await store.apply(cancelled(("L2", 2), id="first"))

    assert (await store.load_order(ORDER)).line("L2").cancelled == 1


# --- what the hub itself announces


async def test_an_id_of_the_hubs_own_that_somebody_used_before_does_not_stop_it(store: Store) -> None:
    await store.apply(shipped(("L1", 1), id="o-1"))

    order, _ = await store.apply(changed(LINES, id="o-1"))

    assert (order.line("L1").quantity, order.line("L1").shipped) == (9, 1)


async def test_an_id_that_the_hub_has_announced_under_is_free_for_others(store: Store) -> None:
    await store.apply(changed(LINES, id="o-1"))

    order, _ = await store.apply(shipped(("L1", 1), id="o-1"))

    assert order.line("L1").shipped == 1


async def test_a_change_that_is_announced_again_is_applied_once(store: Store) -> None:
    await store.apply(changed(LINES, id="o-1"))
    await store.apply(changed([{**LINES[0], "quantity": 5}], id="o-2", minute=61))

    order, _ = await store.apply(changed(LINES, id="o-1", minute=62))

    assert order.line("L1").quantity == 5


# --- what an older release has recorded


@pytest.fixture
async def upgraded(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
    await store.record_orders([created()])
    yield store
    await store.close()


def as_of_before(tmp_path: Path, change: str) -> None:
    """Make the rows of applied events what an older release wrote."""
    with closing(sqlite3.connect(tmp_path / "hub.db")) as connection:
        connection.execute(change)
        connection.commit()


@pytest.mark.parametrize(
    "change",
    ["UPDATE order_events SET content = NULL", "UPDATE order_events SET content = '00000000:another form'"],
)
async def test_an_event_of_an_older_release_is_the_same_whatever_it_says(
    upgraded: Store, tmp_path: Path, change: str
) -> None:
    _, first = await upgraded.apply(cancelled(("L1", 1), id="x"))
    as_of_before(tmp_path, change)

    assert (await upgraded.apply(cancelled(("L1", 2), id="x")))[1] == first


async def test_a_change_of_an_older_release_is_applied_once(upgraded: Store, tmp_path: Path) -> None:
    await upgraded.apply(changed(LINES, id="o-1"))
    as_of_before(tmp_path, "UPDATE order_events SET event_id = 'o-1'")
    await upgraded.apply(changed([{**LINES[0], "quantity": 5}], id="o-2", minute=61))

    order, _ = await upgraded.apply(changed(LINES, id="o-1", minute=62))

    assert order.line("L1").quantity == 5


# --- effects


@pytest.mark.parametrize("state", ["claimed", "done", "handed on"])
async def test_an_effect_of_other_content_is_told_apart_under_its_key(store: Store, state: str) -> None:
    claim = partial(store.claim_effect, "webhook", lease=timedelta(hours=1))
    await claim(holder="a", content="form:1")
    if state == "done":
        await store.record_effect("webhook")
    elif state == "handed on":
        await store.delegate_effect("webhook")

    assert (await claim(holder="b", content="form:2")).state is ClaimState.OTHER
    assert (await claim(holder="b", content="form:1")).state is not ClaimState.OTHER
    assert (await claim(holder="b", content=None)).state is not ClaimState.OTHER
    assert (await claim(holder="b", content="another form:2")).state is not ClaimState.OTHER


async def test_two_contents_that_claim_at_once_are_one_claim(store: Store) -> None:
    claims = await asyncio.gather(
        *(
            store.claim_effect("k", holder="a", lease=timedelta(hours=1), content=f"form:{number}")
            for number in range(9)
        )
    )

    assert sorted(claim.state for claim in claims) == [ClaimState.GRANTED, *[ClaimState.OTHER] * 8]


async def test_what_an_older_release_has_done_under_its_own_key_is_done(
    upgraded: Store, tmp_path: Path
) -> None:
    await upgraded.record_effect("X:X:1", "sent")
    as_of_before(tmp_path, "UPDATE effects SET content = NULL")

    claim = await upgraded.claim_effect(
        "X:X%3A1", holder="a", lease=timedelta(hours=1), key_before="X:X:1", content="form:1"
    )

    assert (claim.state, claim.note, claim.key) == (ClaimState.DONE, "sent", "X:X:1")


async def test_what_an_older_release_has_begun_is_ended_under_its_own_key(
    upgraded: Store, tmp_path: Path
) -> None:
    await upgraded.claim_effect("X:X:1", holder="a", lease=timedelta(0))
    as_of_before(tmp_path, "UPDATE effects SET content = NULL")

    claim = await upgraded.claim_effect("X:X%3A1", holder="b", lease=timedelta(hours=1), key_before="X:X:1")

    assert (claim.state, claim.key) == (ClaimState.GRANTED, "X:X:1")


async def test_what_this_release_writes_counts_for_no_key_of_before(store: Store) -> None:
    lease = timedelta(hours=1)
    await store.claim_effect("X:X:1", holder="a", lease=lease)
    await store.record_effect("X:X:2")
    await store.delegate_effect("X:X:3")

    claims = [
        await store.claim_effect(f"X:X%3A{n}", holder="b", lease=lease, key_before=f"X:X:{n}")
        for n in (1, 2, 3)
    ]

    assert {claim.state for claim in claims} == {ClaimState.GRANTED}


# --- one package, two ids


@pytest.mark.parametrize("minute", [1, 9])
async def test_a_package_under_a_second_id_counts_and_is_noted_once(store: Store, minute: int) -> None:
    await store.apply(shipped(("L1", 1), id="s-1", package_id="A", tracking_number="1Z"))
    again = shipped(("L1", 1), id="s-2", package_id="B", minute=minute, tracking_number="1Z")
    order, _ = await store.apply(again)
    await store.apply(again)

    told = await store.timeline_of(ORDER)

    assert order.line("L1").shipped == 2
    assert [(entry.what, entry.facts["package_id"], entry.facts["like"]) for entry in told] == [
        (LIKELY_DUPLICATE, "B", "A")
    ]


async def test_other_units_or_another_number_are_no_duplicate(store: Store) -> None:
    await store.apply(shipped(("L1", 1), id="s-1", tracking_number="1Z-1"))
    await store.apply(shipped(("L2", 1), id="s-2", tracking_number="1Z-1"))
    await store.apply(shipped(("L1", 1), id="s-3", tracking_number="1Z-2"))

    assert await store.timeline_of(ORDER) == []


async def test_a_line_named_in_another_spelling_counts_and_is_noted(store: Store) -> None:
    parcel = {"carrier": "UPS", "tracking_number": "1Z", "items": [{"sku": "red", "quantity": 1}]}
    order, _ = await store.apply(event("order.shipped", {"order_id": ORDER, "packages": [parcel]}, id="s-1"))

    (entry,) = await store.timeline_of(ORDER)

    assert order.line("L1").shipped == 1
    assert (entry.what, entry.facts["line_id"]) == (OTHER_SPELLING, "L1")
