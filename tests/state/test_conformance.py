"""What every `Store` promises: on the double, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from hub.errors import InvalidMessage, LeaseHeld, StoreUnavailable, UnknownOrder
from hub.models.events import DEFAULT_SOURCE
from hub.models.order import Hold, Order
from hub.state.process_identity import this_process
from hub.state.protocols import PRESENCE, Claim, ClaimState, RefusedMessage, Store, Suspicion, TimelineEntry
from hub.state.schema import holders, seen_keys
from hub.state.store import SqlStore
from tests.fakes import MemoryStore
from tests.state.opening import KINDS, opened
from tests.state.orders import NOON, backordered, cancelled, changed, created, event, shipped

HOUR = timedelta(hours=1)
LAPSED = timedelta(0)
ME = this_process()
OTHER = "elsewhere/0/0:1:1"


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request, tmp_path) as store:
        yield store


@pytest.fixture(scope="session")
def gone() -> str:
    """The holder of a process of this host that has ended."""
    ended = subprocess.run(
        [sys.executable, "-c", "from hub.state.process_identity import this_process; print(this_process())"],
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout.strip()


# --- cursors


async def test_a_poller_has_no_cursor_before_its_first_commit(store: Store) -> None:
    assert await store.cursor("feed") is None
    assert await store.cursors() == {}


async def test_a_commit_moves_the_cursor_and_remembers_the_keys(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)

    await store.commit("feed", {"page": 1}, ["a", "b"], holder=ME)
    await store.commit("feed", {"page": 2}, ["b", "c"], holder=ME)

    assert await store.cursor("feed") == {"page": 2}
    assert await store.unseen("feed", ["a", "b", "c", "d"]) == {"d"}
    assert await store.unseen("another", ["a"]) == {"a"}
    assert await store.unseen("feed", []) == frozenset()
    cursor, at = (await store.cursors())["feed"]
    assert cursor == {"page": 2}
    assert abs(datetime.now(UTC) - at) < HOUR


async def test_a_commit_without_keys_moves_the_cursor(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)

    await store.commit("feed", {"page": 1}, [], holder=ME)

    assert await store.cursor("feed") == {"page": 1}


@pytest.mark.parametrize("holder", [None, OTHER])
async def test_a_commit_without_the_lease_writes_nothing(store: Store, holder: str | None) -> None:
    if holder:
        await store.acquire_lease("feed", holder=holder, lease=HOUR)

    with pytest.raises(LeaseHeld, match="feed"):
        await store.commit("feed", {"page": 1}, ["a"], holder=ME)

    assert await store.cursor("feed") is None
    assert await store.unseen("feed", ["a"]) == {"a"}


async def test_a_lapsed_lease_that_nobody_took_still_allows_a_commit(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=LAPSED)

    await store.commit("feed", {"page": 1}, ["a"], holder=ME)

    assert await store.cursor("feed") == {"page": 1}


async def test_a_reset_forgets_the_cursor_and_keeps_the_keys_unless_told_otherwise(store: Store) -> None:
    for poller in ("feed", "other"):
        await store.acquire_lease(poller, holder=ME, lease=HOUR)
        await store.commit(poller, {"page": 1}, ["a"], holder=ME)

    await store.reset("feed")
    assert await store.cursor("feed") is None
    assert await store.unseen("feed", ["a"]) == frozenset()

    await store.reset("feed", forget_keys=True)
    assert await store.unseen("feed", ["a"]) == {"a"}
    assert await store.unseen("other", ["a"]) == frozenset()
    assert await store.cursor("other") == {"page": 1}


async def test_thousands_of_keys_are_looked_up_at_once(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)
    keys = [str(number) for number in range(12_000)]

    await store.commit("feed", {}, keys[:-1], holder=ME)

    assert await store.unseen("feed", keys) == {keys[-1]}


@pytest.mark.parametrize(
    "key", ["nul\0", "half \ud800", "ä" * 3000, "x" * 9000], ids=["nul", "surrogate", "wide", "long"]
)
async def test_a_key_that_a_database_cannot_hold_is_remembered_all_the_same(store: Store, key: str) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)

    assert await store.unseen("feed", [key, "b"]) == {key, "b"}
    await store.commit("feed", {}, [key], holder=ME)

    assert await store.unseen("feed", [key, "b"]) == {"b"}


# --- orders


async def test_a_recorded_order_comes_back_as_it_was_announced(store: Store) -> None:
    announced = created(
        po_reference="PO 1",
        notes=("leave at the door",),
        ship_to={"name": "Jane Doe", "city": "Zürich"},
        submit_after="2026-05-15T00:00:00Z",
    )

    assert await store.record_orders([announced]) == frozenset()

    order = await store.load_order("retailops:27:PO-1")
    assert order.details == announced.data
    assert [(line.line_id, line.sku, line.quantity, line.left) for line in order.lines] == [
        ("L1", "RED", 3, 3),
        ("L2", "BLUE", 2, 2),
    ]
    assert (order.lines[0].unit_price_cents, order.lines[1].catalog_id) == (1999, "C-2")
    assert order.packages == ()


async def test_an_event_that_is_told_again_is_no_duplicate_of_itself(store: Store) -> None:
    await store.record_orders([created()])

    assert await store.record_orders([created(), created("retailops:27:PO-2")]) == frozenset()


async def test_a_second_event_about_a_recorded_order_is_a_duplicate_and_changes_nothing(store: Store) -> None:
    await store.record_orders([created()])

    duplicates = await store.record_orders(
        [
            created(id="again", po_reference="other"),
            created("retailops:27:PO-2"),
            created("retailops:27:PO-2", id="2b"),
        ]
    )

    assert duplicates == {"again", "2b"}
    assert (await store.load_order("retailops:27:PO-1")).details.po_reference is None


async def test_a_page_of_orders_is_recorded_at_once(store: Store) -> None:
    page = [created(f"retailops:27:PO-{number}") for number in range(50)]

    assert await store.record_orders(page) == frozenset()
    assert await store.record_orders([]) == frozenset()

    assert len(await store.newest_orders(limit=100)) == 50
    assert len((await store.load_order("retailops:27:PO-49")).lines) == 2


async def test_only_created_events_record_orders(store: Store) -> None:
    with pytest.raises(InvalidMessage, match=r"order\.created"):
        await store.record_orders([created(), shipped()])

    with pytest.raises(UnknownOrder):
        await store.load_order("retailops:27:PO-1")


async def test_of_many_orders_those_that_are_recorded_are_told(store: Store) -> None:
    event = created()
    await store.record_orders([event])
    others = [f"retailops:1:{number}" for number in range(6_000)]

    assert await store.known_orders([*others, event.data.order_id]) == {event.data.order_id}
    assert await store.known_orders([]) == frozenset()


async def test_an_unknown_order_is_named(store: Store) -> None:
    with pytest.raises(
        UnknownOrder, match="a producer of this hub has recorded, got 'retailops:27:x'"
    ) as raised:
        await store.load_order("retailops:27:x")
    assert raised.value.field == "order_id"

    with pytest.raises(UnknownOrder, match="'retailops:27:x'"):
        await store.apply(shipped(order_id="retailops:27:x"))


async def test_an_applied_event_is_recorded_with_what_it_did(store: Store) -> None:
    await store.record_orders([created()])

    order, applied = await store.apply(
        shipped(("L1", 2), service="Ground", weight_lb=1.5, shipping_cost_cents=899, package_id="box")
    )

    assert order == await store.load_order(order.order_id)
    assert order.line("L1").shipped == 2
    assert applied.packages == order.packages
    assert applied.rest == "partially_shipped"
    (package,) = order.packages
    assert (package.package_id, package.service, package.weight_lb, package.shipping_cost_cents) == (
        "box",
        "Ground",
        1.5,
        899,
    )
    assert package.shipped_at == NOON + timedelta(minutes=1)


async def test_an_event_is_applied_once_and_reads_the_same_later(store: Store) -> None:
    await store.record_orders([created()])
    _, first = await store.apply(shipped(("L1", 2), id="s-1"))
    await store.apply(cancelled(("L1", 1), id="c-1"))
    await store.apply(shipped(id="s-2"))

    order, again = await store.apply(shipped(("L1", 2), id="s-1"))

    assert again == first
    assert order == await store.load_order(order.order_id)
    assert order.finished
    assert [package.event_id for package in order.packages] == ["s-1", "s-2"]


async def test_the_same_event_many_times_at_once_is_applied_once(store: Store) -> None:
    await store.record_orders([created()])

    answers = await asyncio.gather(*(store.apply(shipped(("L1", 1))) for _ in range(20)))

    assert len({applied.model_dump_json() for _, applied in answers}) == 1
    assert (await store.load_order("retailops:27:PO-1")).line("L1").shipped == 1


async def test_partial_shipments_at_once_add_up(store: Store) -> None:
    await store.record_orders([created()])

    await asyncio.gather(*(store.apply(shipped(("L1", 1), id=f"s-{number}")) for number in range(3)))

    order = await store.load_order("retailops:27:PO-1")
    assert order.line("L1").left == 0
    assert len(order.packages) == 3


async def test_events_of_many_orders_at_once_are_each_applied_to_their_own(store: Store) -> None:
    numbers = range(30)
    order_ids = [f"retailops:27:PO-{number}" for number in numbers]
    await store.record_orders([created(order_id) for order_id in order_ids])
    strange = shipped(("L1", 1), id="strange", order_id="retailops:27:PO-unknown")

    answers = await asyncio.gather(
        *(
            store.apply(shipped(("L1", 1 + number % 2), id=f"s-{number}", order_id=order_id))
            for number, order_id in zip(numbers, order_ids, strict=True)
        ),
        store.apply(strange),
        *(store.apply(cancelled(("L1", 1), id=f"c-{id_}", order_id=id_)) for id_ in order_ids),
        return_exceptions=True,
    )

    after = [await store.load_order(order_id) for order_id in order_ids]
    assert [order.line("L1").shipped for order in after] == [1 + number % 2 for number in numbers]
    assert {order.line("L1").cancelled for order in after} == {1}
    assert [len(order.packages) for order in after] == [1] * 30
    refused = [type(answer) for answer in answers if isinstance(answer, BaseException)]
    assert refused == [UnknownOrder]


async def test_an_event_that_does_not_fit_names_the_field_and_changes_nothing(store: Store) -> None:
    await store.record_orders([created()])

    with pytest.raises(InvalidMessage, match="at most the 3 left") as raised:
        await store.apply(shipped(("L1", 4)))

    assert raised.value.field == "packages.0.items.0.quantity"
    assert (await store.load_order("retailops:27:PO-1")).packages == ()
    _, applied = await store.apply(shipped(("L1", 3)))
    assert len(applied.packages) == 1


async def test_an_event_id_belongs_to_one_order(store: Store) -> None:
    await store.record_orders([created(), created("retailops:27:PO-2")])
    await store.apply(shipped(("L1", 1), id="same"))

    with pytest.raises(InvalidMessage, match="was applied to") as raised:
        await store.apply(shipped(("L1", 1), id="same", order_id="retailops:27:PO-2"))

    assert raised.value.field == "id"
    assert (await store.load_order("retailops:27:PO-2")).line("L1").shipped == 0


async def test_an_event_id_belongs_to_one_type(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(shipped(("L1", 1), id="17"))

    with pytest.raises(
        InvalidMessage, match=r"'17' was applied to .*, as order\.shipped .* now is order\.cancelled"
    ) as raised:
        await store.apply(cancelled(("L2", 1), id="17"))

    assert raised.value.field == "id"
    assert (await store.load_order("retailops:27:PO-1")).line("L2").cancelled == 0


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("/warehouse", "/oms", True),
        ("/warehouse", "/warehouse", False),
        (DEFAULT_SOURCE, "/oms", False),
        ("/warehouse", DEFAULT_SOURCE, False),
    ],
)
async def test_an_event_id_belongs_to_one_source_where_both_are_named(
    store: Store, first: str, second: str, refused: bool
) -> None:
    await store.record_orders([created()])
    one, other = replace(backordered(id="17"), source=first), replace(backordered(id="17"), source=second)
    before, _ = await store.apply(one)

    if refused:
        with pytest.raises(InvalidMessage, match=r"from '/warehouse', and now is .* from '/oms'") as raised:
            await store.apply(other)
        assert raised.value.field == "id"
    else:
        await store.apply(other)

    assert await store.load_order("retailops:27:PO-1") == before


async def test_an_older_back_order_is_known_to_be_accepted_since(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(event("order.accepted", {"order_id": "retailops:27:PO-1"}, id="a-1", minute=10))

    await store.apply(backordered(minute=5))

    order = await store.load_order("retailops:27:PO-1")
    assert [(line.hold, line.accepted_at) for line in order.lines] == [
        (None, NOON + timedelta(minutes=10))
    ] * 2


async def test_an_event_about_no_order_cannot_be_applied(store: Store) -> None:
    with pytest.raises(InvalidMessage, match="about an order"):
        await store.apply(event("inventory.counted", {"items": [{"sku": "RED", "quantity": 1}]}))


async def test_holds_and_cancellations_are_kept(store: Store) -> None:
    await store.record_orders([created()])

    await store.apply(backordered(message="in May", minute=2))
    await store.apply(cancelled(("L2", 1), reason="no stock", minute=3))

    order = await store.load_order("retailops:27:PO-1")
    held, given_up = order.lines
    assert (held.hold, held.message, held.status_at) == (
        Hold.BACKORDERED,
        "in May",
        NOON + timedelta(minutes=2),
    )
    assert (given_up.hold, given_up.message, given_up.cancelled) == (None, "no stock", 1)


@pytest.mark.parametrize(
    "text",
    ["retailops:27:PO-1", "PO-1", "4711", "PO 1/a", "RED", "1Z-s-1", " 4711 "],
    ids=lambda text: text.strip(),
)
async def test_an_order_is_found_by_each_of_its_names(store: Store, text: str) -> None:
    other = created(
        "retailops:27:PO-2", lines=[{"line_id": "L1", "sku": "GREEN", "quantity": 1}], order_number="4712"
    )
    await store.record_orders([created(order_number="4711", po_reference="PO 1/a"), other])
    await store.apply(shipped(("L1", 1)))

    found = await store.find_orders(text)

    assert found == [await store.load_order("retailops:27:PO-1")]
    assert await store.find_orders("nothing") == []


async def test_orders_are_listed_newest_first_up_to_the_limit(store: Store) -> None:
    for number in range(3):
        await store.record_orders([created(f"retailops:27:PO-{number}")])

    newest = [order.order_id for order in await store.newest_orders(limit=2)]

    assert newest == ["retailops:27:PO-2", "retailops:27:PO-1"]
    assert [order.order_id for order in await store.find_orders("RED", limit=2)] == newest


# --- changes of what was ordered


def line(line_id: str, sku: str, quantity: int) -> dict[str, Any]:
    return {"line_id": line_id, "sku": sku, "quantity": quantity}


def units(order: Order) -> list[tuple[str, str, int, int, int]]:
    return [(line.line_id, line.sku, line.quantity, line.shipped, line.cancelled) for line in order.lines]


async def the_order(store: Store) -> Order:
    """The order, after it was found to be the same by every way of loading it."""
    order = await store.load_order("retailops:27:PO-1")
    assert await store.newest_orders() == [order]
    assert await store.find_orders("retailops:27:PO-1") == [order]
    return order


async def test_a_change_adds_a_line_and_keeps_what_became_of_the_others(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(shipped(("L1", 1)))
    await store.apply(backordered(message="in May", lines=[{"line_id": "L2"}], minute=2))
    change = changed([line("L3", "GREEN", 4), line("L1", "RED", 3), line("L2", "BLUE", 2)])

    answered, applied = await store.apply(change)

    order = await the_order(store)
    assert order == answered
    assert units(order) == [("L3", "GREEN", 4, 0, 0), ("L1", "RED", 3, 1, 0), ("L2", "BLUE", 2, 0, 0)]
    assert (order.line("L2").hold, order.line("L2").message) == (Hold.BACKORDERED, "in May")
    assert order.changed_at == NOON + timedelta(minutes=60)
    assert len(order.packages) == 1
    assert applied.rest == "partially_shipped"


async def test_what_is_shipped_after_a_change_counts_for_the_lines_as_they_are_now(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(changed([line("L3", "GREEN", 4), line("L1", "RED", 3)]))

    answered, _ = await store.apply(shipped(("L1", 2), ("L3", 4), minute=61))

    order = await the_order(store)
    assert order == answered
    assert units(order) == [("L3", "GREEN", 4, 4, 0), ("L1", "RED", 3, 2, 0)]
    assert order.changed_at == NOON + timedelta(minutes=60)


async def test_a_change_removes_a_line_of_which_nothing_was_done(store: Store) -> None:
    await store.record_orders([created()])

    await store.apply(changed([line("L2", "BLUE", 2)]))

    assert units(await the_order(store)) == [("L2", "BLUE", 2, 0, 0)]
    assert await store.find_orders("RED") == []
    with pytest.raises(InvalidMessage, match="a line of the order"):
        await store.apply(shipped(("L1", 1)))


async def test_a_removed_line_of_which_something_was_done_stays_with_that(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(shipped(("L1", 1)))

    await store.apply(changed([line("L2", "BLUE", 2)]))

    assert units(await the_order(store)) == [("L2", "BLUE", 2, 0, 0), ("L1", "RED", 1, 1, 0)]


@pytest.mark.parametrize(("wanted", "ordered"), [(5, 5), (2, 2), (1, 2)])
async def test_a_change_never_orders_fewer_units_than_were_shipped_and_cancelled(
    store: Store, wanted: int, ordered: int
) -> None:
    await store.record_orders([created()])
    await store.apply(shipped(("L1", 1)))
    await store.apply(cancelled(("L1", 1), reason="no stock"))

    await store.apply(changed([line("L1", "RED", wanted), line("L2", "BLUE", 2)]))

    order = await the_order(store)
    assert units(order) == [("L1", "RED", ordered, 1, 1), ("L2", "BLUE", 2, 0, 0)]
    assert order.line("L1").message == "no stock"


async def test_an_older_change_that_arrives_after_a_newer_one_is_not_applied(store: Store) -> None:
    await store.record_orders([created()])
    newer, _ = await store.apply(changed([line("L1", "RED", 9)], id="o-2", minute=90))

    answered, _ = await store.apply(changed([line("L4", "GREEN", 7)], id="o-1", minute=60))

    assert answered == newer == await the_order(store)
    assert units(newer) == [("L1", "RED", 9, 0, 0)]


async def test_of_two_changes_of_the_same_moment_the_one_that_arrives_later_counts(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(changed([line("L1", "RED", 9)], id="o-1"))

    answered, _ = await store.apply(changed([line("L1", "RED", 7), line("L4", "GREEN", 1)], id="o-2"))

    order = await the_order(store)
    assert order == answered
    assert units(order) == [("L1", "RED", 7, 0, 0), ("L4", "GREEN", 1, 0, 0)]


async def test_a_change_and_its_undoing_of_one_moment_keep_what_was_done_between(store: Store) -> None:
    more, fewer = (
        [{"line_id": "L1", "sku": "RED", "quantity": 5}],
        [{"line_id": "L1", "sku": "RED", "quantity": 3}],
    )
    await store.record_orders([created()])
    await store.apply(changed(fewer))

    await asyncio.gather(
        store.apply(backordered(id="another")),
        store.apply(changed(more, id="o-2")),
        store.apply(shipped(("L1", 5))),
        store.apply(changed(fewer, id="o-3")),
    )

    (line,) = (await store.load_order("retailops:27:PO-1")).lines
    assert (line.quantity, line.shipped, line.left) == (5, 5, 0)


async def test_a_change_that_is_told_again_changes_nothing(store: Store) -> None:
    await store.record_orders([created()])
    change = changed([line("L1", "RED", 1), line("L3", "GREEN", 4)], id="o-1")
    _, first = await store.apply(change)
    await store.apply(changed([line("L1", "RED", 2)], id="o-2", minute=90))
    shipped_since, _ = await store.apply(shipped(("L1", 1), minute=91))

    answered, again = await store.apply(change)

    assert again == first
    assert answered == shipped_since == await the_order(store)


async def test_a_changed_order_is_found_by_its_new_names_and_no_more_by_the_old(store: Store) -> None:
    await store.record_orders([created(order_number="4711", po_reference="PO 1/a")])

    await store.apply(changed([line("L1", "GREEN", 3)], order_number="4712", po_reference="PO 1/b"))

    order = await the_order(store)
    assert (order.details.order_number, order.details.po_reference) == ("4712", "PO 1/b")
    for name in ("GREEN", "4712", "PO 1/b"):
        assert await store.find_orders(name) == [order]
    for name in ("RED", "BLUE", "4711", "PO 1/a"):
        assert await store.find_orders(name) == []


async def test_a_change_leaves_other_orders_alone_and_is_no_newer_record(store: Store) -> None:
    await store.record_orders([created()])
    await store.record_orders([created("retailops:27:PO-2")])
    other = await store.load_order("retailops:27:PO-2")

    await store.apply(changed([line("L3", "GREEN", 1)]))

    assert await store.load_order("retailops:27:PO-2") == other
    newest = [order.order_id for order in await store.newest_orders()]
    assert newest == ["retailops:27:PO-2", "retailops:27:PO-1"]


async def test_a_change_of_an_unknown_order_is_refused(store: Store) -> None:
    with pytest.raises(UnknownOrder):
        await store.apply(changed([line("L1", "RED", 1)]))


# --- effects


async def test_an_effect_is_claimed_by_one_and_done_for_all(store: Store) -> None:
    assert (await store.claim_effect("complete", holder=OTHER, lease=HOUR)).state is ClaimState.GRANTED

    busy = await store.claim_effect("complete", holder=ME, lease=HOUR)
    assert busy.state is ClaimState.BUSY
    assert busy.until is not None
    assert timedelta(0) < busy.until - datetime.now(UTC) <= HOUR

    await store.record_effect("complete", "receipt 7")
    for holder in (ME, OTHER):
        assert await store.claim_effect("complete", holder=holder, lease=HOUR) == Claim(
            ClaimState.DONE, "receipt 7"
        )


async def test_of_many_who_claim_at_once_one_is_granted(store: Store) -> None:
    claims = await asyncio.gather(
        *(
            store.claim_effect("complete", holder=f"elsewhere/0/0:{number}:1", lease=HOUR)
            for number in range(20)
        )
    )

    assert sorted(claim.state for claim in claims) == [ClaimState.BUSY] * 19 + [ClaimState.GRANTED]


async def test_effects_claimed_and_recorded_at_once_are_each_their_own(store: Store) -> None:
    await store.record_effect("done", "receipt 7")
    await store.claim_effect("busy", holder=OTHER, lease=HOUR)
    await store.claim_effect("lapsed", holder=OTHER, lease=LAPSED)
    keys = ["done", "busy", "lapsed", *(f"new {number}" for number in range(40))]

    claims = await asyncio.gather(*(store.claim_effect(key, holder=ME, lease=HOUR) for key in keys))
    await asyncio.gather(*(store.record_effect(key, f"receipt of {key}") for key in (*keys, *keys)))
    after = await asyncio.gather(*(store.claim_effect(key, holder=ME, lease=HOUR) for key in keys))

    states = [claim.state for claim in claims]
    assert states == [ClaimState.DONE, ClaimState.BUSY, *[ClaimState.GRANTED] * 41]
    assert after == [
        Claim(ClaimState.DONE, "receipt 7" if key == "done" else f"receipt of {key}") for key in keys
    ]


async def test_a_claim_belongs_to_one_attempt_and_not_to_its_process(store: Store) -> None:
    await store.claim_effect("complete", holder=OTHER, lease=HOUR)

    assert (await store.claim_effect("complete", holder=OTHER, lease=HOUR)).state is ClaimState.BUSY


async def test_a_lapsed_claim_is_taken_over(store: Store) -> None:
    await store.claim_effect("complete", holder=OTHER, lease=LAPSED)

    assert (await store.claim_effect("complete", holder=ME, lease=HOUR)).state is ClaimState.GRANTED
    assert (await store.claim_effect("complete", holder=OTHER, lease=HOUR)).state is ClaimState.BUSY


async def test_a_claim_of_a_dead_process_is_taken_over_at_once(store: Store, gone: str) -> None:
    await store.claim_effect("complete", holder=gone, lease=HOUR)

    assert (await store.claim_effect("complete", holder=ME, lease=HOUR)).state is ClaimState.GRANTED
    assert (await store.claim_effect("complete", holder=OTHER, lease=HOUR)).state is ClaimState.BUSY


async def test_a_released_claim_is_free_and_only_its_holder_can_release_it(store: Store) -> None:
    await store.claim_effect("complete", holder=OTHER, lease=HOUR)

    await store.release_effect("complete", holder=ME)
    assert (await store.claim_effect("complete", holder=ME, lease=HOUR)).state is ClaimState.BUSY

    await store.release_effect("complete", holder=OTHER)
    assert (await store.claim_effect("complete", holder=ME, lease=HOUR)).state is ClaimState.GRANTED


async def test_a_recorded_effect_stays(store: Store) -> None:
    await store.record_effect("complete", "first")
    await store.record_effect("complete", "second")
    await store.release_effect("complete", holder=ME)

    assert await store.claim_effect("complete", holder=ME, lease=HOUR) == Claim(ClaimState.DONE, "first")


async def test_of_two_effects_that_exclude_each_other_one_is_claimed_at_a_time(store: Store) -> None:
    await store.claim_effect("accept", holder=OTHER, lease=HOUR, apart_from=["complete"])

    busy = await store.claim_effect("complete", holder=ME, lease=HOUR, apart_from=["accept", "another"])
    assert busy.state is ClaimState.BUSY
    assert busy.until is not None
    assert timedelta(0) < busy.until - datetime.now(UTC) <= HOUR

    await store.record_effect("accept")
    complete = partial(
        store.claim_effect, "complete", holder=ME, lease=HOUR, apart_from=["accept", "another"]
    )
    assert (await complete()).state is ClaimState.GRANTED
    await store.release_effect("complete", holder=ME)
    assert (await complete()).state is ClaimState.GRANTED


async def test_of_many_who_exclude_each_other_and_claim_at_once_one_is_granted(store: Store) -> None:
    keys = [f"key {number}" for number in range(20)]
    claims = await asyncio.gather(
        *(
            store.claim_effect(
                key, holder=OTHER, lease=HOUR, apart_from=[other for other in keys if other != key]
            )
            for key in keys
        )
    )

    assert sorted(claim.state for claim in claims) == [ClaimState.BUSY] * 19 + [ClaimState.GRANTED]


async def test_a_claim_that_has_lapsed_or_whose_process_is_dead_excludes_nobody(
    store: Store, gone: str
) -> None:
    await store.claim_effect("lapsed", holder=OTHER, lease=LAPSED)
    await store.claim_effect("orphaned", holder=gone, lease=HOUR)

    claim = await store.claim_effect("complete", holder=ME, lease=HOUR, apart_from=["lapsed", "orphaned"])

    assert claim.state is ClaimState.GRANTED


async def test_what_was_handed_on_is_for_its_stored_copy_alone_until_it_is_done(store: Store) -> None:
    await store.delegate_effect("webhook")
    await store.delegate_effect("webhook")
    handed_on = Claim(ClaimState.TRAVELLING)

    assert await store.claim_effect("webhook", holder=ME, lease=HOUR) == handed_on
    for _ in range(2):
        claim = await store.claim_effect("webhook", holder=ME, lease=HOUR, carried=True)
        assert claim.state is ClaimState.GRANTED
        assert await store.claim_effect("webhook", holder=OTHER, lease=HOUR) == handed_on
        busy = await store.claim_effect("webhook", holder=OTHER, lease=HOUR, carried=True)
        assert busy.state is ClaimState.BUSY
        await store.release_effect("webhook", holder=OTHER)
        await store.release_effect("webhook", holder=ME)
        assert await store.claim_effect("webhook", holder=OTHER, lease=HOUR) == handed_on
    await store.record_effect("webhook", "sent")
    for carried in (True, False):
        claim = await store.claim_effect("webhook", holder=ME, lease=HOUR, carried=carried)
        assert claim == Claim(ClaimState.DONE, "sent")


async def test_a_copy_that_is_back_before_it_is_recorded_keeps_its_claim(store: Store) -> None:
    await store.claim_effect("webhook", holder=OTHER, lease=HOUR, carried=True)

    await store.delegate_effect("webhook")

    busy = await store.claim_effect("webhook", holder=ME, lease=HOUR, carried=True)
    assert busy.state is ClaimState.BUSY
    await store.release_effect("webhook", holder=OTHER)
    assert (await store.claim_effect("webhook", holder=ME, lease=HOUR)).state is ClaimState.TRAVELLING


async def test_a_copy_that_is_done_before_it_is_recorded_stays_done(store: Store) -> None:
    await store.record_effect("webhook", "sent")

    await store.delegate_effect("webhook")

    assert await store.claim_effect("webhook", holder=ME, lease=HOUR) == Claim(ClaimState.DONE, "sent")


async def test_a_lapsed_or_orphaned_claim_of_a_copy_is_for_the_copy_to_take_over(
    store: Store, gone: str
) -> None:
    for key, holder, lease in (("lapsed", OTHER, LAPSED), ("orphaned", gone, HOUR)):
        await store.delegate_effect(key)
        await store.claim_effect(key, holder=holder, lease=lease, carried=True)

        assert (await store.claim_effect(key, holder=ME, lease=HOUR)).state is ClaimState.TRAVELLING
        claim = await store.claim_effect(key, holder=ME, lease=HOUR, carried=True)
        assert claim.state is ClaimState.GRANTED


# --- told


async def test_what_a_partner_was_told_is_kept_for_each_partner_and_order(store: Store) -> None:
    assert await store.told("iqmetrix", "a") is None

    await store.tell("iqmetrix", "a", {"L1": ["Ordered", 1]})
    await store.tell("iqmetrix", "a", {"L1": ["Shipped", 2]})
    await store.tell("retailops", "a", {})

    assert await store.told("iqmetrix", "a") == {"L1": ["Shipped", 2]}
    assert await store.told("retailops", "a") == {}
    assert await store.told("iqmetrix", "b") is None


# --- echoes

ECHOED = "iqmetrix:71204:a"


async def unechoed(store: Store, account: str = "71204", **window: Any) -> tuple[int, tuple[str, ...]]:
    now = datetime.now(UTC)
    window = {"reported_after": now - HOUR, "reported_before": now + HOUR, **window}
    found = await store.unechoed("iqmetrix", account, **window)
    return found.count, found.order_ids


async def test_a_report_that_is_to_be_echoed_waits_from_its_record_on(store: Store) -> None:
    assert await store.awaits_echo_since("iqmetrix", ECHOED) is None
    assert await unechoed(store) == (0, ())

    await store.tell("iqmetrix", ECHOED, {}, awaits_echo=True)

    since = await store.awaits_echo_since("iqmetrix", ECHOED)
    assert since is not None
    assert abs(datetime.now(UTC) - since) < HOUR
    assert await unechoed(store) == (1, (ECHOED,))
    assert await store.awaits_echo_since("retailops", ECHOED) is None


async def test_the_echo_of_a_report_ends_its_wait(store: Store) -> None:
    await store.tell("iqmetrix", ECHOED, {"n": 1}, awaits_echo=True)
    since = await store.awaits_echo_since("iqmetrix", ECHOED)
    assert since is not None

    for _ in range(2):
        await store.end_wait_for_echo("iqmetrix", ECHOED, reported_at=since)

    assert await store.awaits_echo_since("iqmetrix", ECHOED) is None
    assert await unechoed(store) == (0, ())
    assert await store.told("iqmetrix", ECHOED) == {"n": 1}


async def test_the_echo_of_an_earlier_report_leaves_a_later_one_waiting(store: Store) -> None:
    await store.tell("iqmetrix", ECHOED, {"n": 1}, awaits_echo=True)
    since = await store.awaits_echo_since("iqmetrix", ECHOED)
    assert since is not None
    await store.tell("iqmetrix", ECHOED, {"n": 2}, awaits_echo=True)

    await store.end_wait_for_echo("iqmetrix", ECHOED, reported_at=since)

    later = await store.awaits_echo_since("iqmetrix", ECHOED)
    assert later is not None
    assert later > since


async def test_a_report_that_no_feed_shows_does_not_wait(store: Store) -> None:
    await store.tell("iqmetrix", ECHOED, {}, awaits_echo=True)
    await store.tell("iqmetrix", ECHOED, {})
    await store.tell("iqmetrix", "iqmetrix:71204:b", {})

    assert await store.awaits_echo_since("iqmetrix", ECHOED) is None
    assert await unechoed(store) == (0, ())


async def test_unechoed_reports_are_counted_by_account_and_time(store: Store) -> None:
    others = ("iqmetrix:712:x", "iqmetrix:7120%:x", "iqmetrix:71204x:x")
    ours = ("iqmetrix:71204:b", "iqmetrix:71204:a:1", "iqmetrix:71204:c")
    for order_id in (*ours, *others):
        await store.tell("iqmetrix", order_id, {}, awaits_echo=True)
    await store.tell("retailops", "iqmetrix:71204:d", {}, awaits_echo=True)
    first, second = [await store.awaits_echo_since("iqmetrix", order_id) for order_id in ours[:2]]

    assert await unechoed(store) == (3, ours)
    assert await unechoed(store, limit=2) == (3, ours[:2])
    assert await unechoed(store, account="7120%") == (1, ("iqmetrix:7120%:x",))
    assert await unechoed(store, reported_before=second) == (1, ours[:1])
    assert await unechoed(store, reported_after=second) == (2, ours[1:])
    assert await unechoed(store, reported_after=first, reported_before=first) == (0, ())


# --- leases


async def test_a_lease_has_one_holder_who_may_renew_it(store: Store) -> None:
    await store.acquire_lease("feed", holder="web-1/x/1:4711:9", lease=HOUR)
    await store.acquire_lease("feed", holder="web-1/x/1:4711:9", lease=HOUR)

    with pytest.raises(LeaseHeld, match=r"process 4711 on web-1 .*until"):
        await store.acquire_lease("feed", holder=ME, lease=HOUR)

    ((name, (holder, until)),) = (await store.leases()).items()
    assert (name, holder) == ("feed", "web-1/x/1:4711:9")
    assert timedelta(0) < until - datetime.now(UTC) <= HOUR


async def test_a_released_lease_is_free_and_only_its_holder_can_release_it(store: Store) -> None:
    await store.acquire_lease("feed", holder=OTHER, lease=HOUR)

    await store.release_lease("feed", holder=ME)
    with pytest.raises(LeaseHeld):
        await store.acquire_lease("feed", holder=ME, lease=HOUR)

    await store.release_lease("feed", holder=OTHER)
    await store.acquire_lease("feed", holder=ME, lease=HOUR)


async def test_a_lapsed_lease_is_taken_over(store: Store) -> None:
    await store.acquire_lease("feed", holder=OTHER, lease=LAPSED)

    await store.acquire_lease("feed", holder=ME, lease=HOUR)

    assert (await store.leases())["feed"][0] == ME


async def test_a_lease_of_a_dead_process_is_taken_over_at_once(store: Store, gone: str) -> None:
    await store.acquire_lease("feed", holder=gone, lease=HOUR)

    await store.acquire_lease("feed", holder=ME, lease=HOUR)

    assert (await store.leases())["feed"][0] == ME


# --- who is there


async def seen(store: Store, holder: str, *, since: timedelta, silent: timedelta | None = None) -> None:
    """Let a process have been present for so long and, if told so, have been silent since."""
    now = datetime.now(UTC)
    until = now + HOUR if silent is None else now - silent
    if isinstance(store, MemoryStore):
        store._holders[holder] = now - since, until
        return
    assert isinstance(store, SqlStore)
    row = {"holder": holder, "since": now - since, "until": until}
    await store._database.write(partial(Connection.execute, statement=holders.insert().values(row)))


async def claim_state(store: Store, holder: str) -> ClaimState:
    return (await store.claim_effect("complete", holder=f"{holder}#2", lease=HOUR)).state


async def test_what_a_silent_process_holds_is_free_for_one_that_was_there_all_the_time(store: Store) -> None:
    await seen(store, OTHER, since=HOUR, silent=timedelta(seconds=1))
    await seen(store, ME, since=PRESENCE)
    await store.acquire_lease("feed", holder=OTHER, lease=HOUR)
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)
    await store.claim_effect("accept", holder=f"{OTHER}#1", lease=HOUR)

    await store.acquire_lease("feed", holder=ME, lease=HOUR)
    apart = await store.claim_effect("mark", holder=ME, lease=HOUR, apart_from=["accept"])

    assert await claim_state(store, ME) is ClaimState.GRANTED
    assert apart.state is ClaimState.GRANTED
    with pytest.raises(LeaseHeld, match="feed"):
        await store.commit("feed", {}, [], holder=OTHER)


@pytest.mark.parametrize("since", [None, PRESENCE - timedelta(seconds=2)], ids=["not present", "just begun"])
async def test_one_who_did_not_watch_takes_nothing_from_a_silent_process(
    store: Store, since: timedelta | None
) -> None:
    """After the database was away everybody has been silent."""
    await seen(store, OTHER, since=HOUR, silent=timedelta(minutes=5))
    if since is not None:
        await seen(store, ME, since=since)
    await store.acquire_lease("feed", holder=OTHER, lease=HOUR)
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)

    with pytest.raises(LeaseHeld) as held:
        await store.acquire_lease("feed", holder=ME, lease=HOUR)

    assert held.value.holder == OTHER
    assert await claim_state(store, ME) is ClaimState.BUSY


async def test_a_process_that_renews_its_presence_keeps_what_it_holds(store: Store) -> None:
    await seen(store, ME, since=HOUR)
    await seen(store, OTHER, since=HOUR, silent=timedelta(seconds=1))
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)

    await store.renew_presence(OTHER)

    assert await claim_state(store, ME) is ClaimState.BUSY


async def test_presence_begins_anew_after_a_silence_and_goes_on_without_one(store: Store) -> None:
    await seen(store, OTHER, since=HOUR, silent=timedelta(seconds=1))
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)
    await seen(store, ME, since=HOUR, silent=timedelta(seconds=1))

    await store.renew_presence(ME)
    assert await claim_state(store, ME) is ClaimState.BUSY

    await seen(store, "third/0/0:1:1", since=HOUR)
    await store.renew_presence("third/0/0:1:1")
    assert await claim_state(store, "third/0/0:1:1") is ClaimState.GRANTED


async def test_what_an_ended_process_left_is_free_at_once_for_one_that_was_there(store: Store) -> None:
    await seen(store, ME, since=HOUR)
    await store.renew_presence(OTHER)
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)

    await store.end_presence(OTHER)

    assert await claim_state(store, ME) is ClaimState.GRANTED


async def test_a_process_that_never_said_it_is_there_holds_until_its_lease_ends(store: Store) -> None:
    await seen(store, ME, since=HOUR)
    await store.claim_effect("complete", holder=f"{OTHER}#1", lease=HOUR)

    assert await claim_state(store, ME) is ClaimState.BUSY


# --- timeline


async def test_a_timeline_is_told_oldest_first_for_each_order(store: Store) -> None:
    later = NOON + timedelta(minutes=5)
    await store.add_to_timeline(
        [TimelineEntry("a", later, "told", {"status": "Shipped"}), TimelineEntry("b", NOON, "x")]
    )
    await store.add_to_timeline([TimelineEntry("a", NOON, "recorded"), TimelineEntry("a", later, "settled")])
    await store.add_to_timeline([])

    entries = await store.timeline_of("a")

    assert [entry.what for entry in entries] == ["recorded", "told", "settled"]
    assert entries[1] == TimelineEntry("a", later, "told", {"status": "Shipped"})
    assert await store.timeline_of("c") == []


# --- the store as a whole


async def test_a_new_store_is_empty_until_something_is_recorded(store: Store) -> None:
    await store.check()
    assert await store.is_empty()

    await store.acquire_lease("feed", holder=ME, lease=HOUR)
    await store.renew_presence(ME)
    assert await store.is_empty()

    await store.record_effect("complete")
    assert not await store.is_empty()


# --- the installation


async def test_all_processes_sign_with_one_key_from_the_first_day(store: Store) -> None:
    drawn = await asyncio.gather(*(store.signing() for _ in range(5)))

    assert len({signing.key for signing in drawn}) == 1
    assert len(drawn[0].key) == 32
    assert drawn[0].since.year == 1970
    assert await store.is_empty()


async def test_a_store_of_a_release_before_says_since_when_it_signs(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await store.record_effect("done")

    signing = await store.signing()

    assert signing.since >= before
    assert await store.signing() == signing


async def test_it_is_known_since_when_a_stored_copy_carries_an_effect(store: Store) -> None:
    assert await store.handed_on_at("e") is None
    await store.delegate_effect("e")

    first = await store.handed_on_at("e")
    await store.record_effect("e")

    assert first is not None
    assert await store.handed_on_at("e") == first


async def test_only_an_event_that_made_or_changed_its_order_is_recorded(store: Store) -> None:
    first = created()
    await store.record_orders([first])
    second = changed([{"line_id": "1", "sku": "A", "quantity": 1}], id="changed")
    await store.apply(second)

    assert await store.has_recorded(first)
    assert await store.has_recorded(second)
    assert not await store.has_recorded(replace(first, id="other"))
    assert not await store.has_recorded(replace(second, id=first.id))
    assert not await store.has_recorded(replace(second, type="order.status_updated"))


# --- removing what is old


async def age_keys(store: Store, poller: str, by: timedelta) -> None:
    """Make the keys of a poller older than they are."""
    if isinstance(store, MemoryStore):
        store._seen = {
            (name, key): at - by if name == poller else at for (name, key), at in store._seen.items()
        }
        return
    assert isinstance(store, SqlStore)
    await store._database.write(
        partial(
            Connection.execute,
            statement=seen_keys.update()
            .where(seen_keys.c.poller == poller)
            .values(seen_at=datetime.now(UTC) - by),
        )
    )


async def test_old_timeline_entries_are_removed_however_many(store: Store) -> None:
    await store.add_to_timeline([TimelineEntry("a", NOON, "old")] * 12_000)
    await store.add_to_timeline([TimelineEntry("a", NOON + HOUR, "new")])

    removed = await store.prune(NOON + HOUR)

    assert removed == {"timeline": 12_000, "effects": 0, "order_events": 0, "seen_keys": 0}
    assert [entry.what for entry in await store.timeline_of("a")] == ["new"]


async def test_old_effects_are_removed_and_claims_stay(store: Store) -> None:
    await store.record_effect("done")
    await store.delegate_effect("handed on")
    await store.claim_effect("claimed", holder=OTHER, lease=HOUR)

    assert not any((await store.prune(datetime.now(UTC) - HOUR)).values())
    removed = await store.prune(datetime.now(UTC) + HOUR)

    assert removed == {"timeline": 0, "effects": 2, "order_events": 0, "seen_keys": 0}
    for key in ("done", "handed on"):
        assert (await store.claim_effect(key, holder=ME, lease=HOUR)).state is ClaimState.GRANTED
    assert (await store.claim_effect("claimed", holder=ME, lease=HOUR)).state is ClaimState.BUSY


async def test_old_events_of_finished_orders_are_removed(store: Store) -> None:
    await store.record_orders([created(), created("retailops:27:PO-2")])
    await store.apply(shipped(("L1", 3), id="s-1"))
    await store.apply(cancelled(("L2", 2), id="c-1"))
    await store.apply(shipped(("L1", 1), id="s-2", order_id="retailops:27:PO-2"))

    assert not any((await store.prune(datetime.now(UTC) - HOUR)).values())
    removed = await store.prune(datetime.now(UTC) + HOUR)

    assert removed == {"timeline": 0, "effects": 0, "order_events": 2, "seen_keys": 0}
    # That of the open order is known; what comes again about the finished one is refused.
    order, _ = await store.apply(shipped(("L1", 1), id="s-2", order_id="retailops:27:PO-2"))
    assert order.lines[0].shipped == 1
    for again in (shipped(("L1", 3), id="s-1"), cancelled(("L2", 2), id="c-1")):
        with pytest.raises(InvalidMessage):
            await store.apply(again)


async def test_events_stay_as_long_as_something_was_recorded_about_their_order(store: Store) -> None:
    await store.record_orders([created()])
    await store.apply(shipped(("L1", 3), id="s-1"))
    between = datetime.now(UTC)
    await store.apply(cancelled(("L2", 2), id="c-1"))

    removed = await store.prune(between)

    assert removed["order_events"] == 0


async def test_old_keys_are_removed_that_the_cursor_has_left_behind(store: Store) -> None:
    for poller in ("feed", "young"):
        await store.acquire_lease(poller, holder=ME, lease=HOUR)
        await store.commit(poller, {"page": 1}, ["a", "b"], holder=ME)
    await age_keys(store, "feed", 48 * HOUR)
    await store.commit("feed", {"page": 2}, ["c"], holder=ME)

    removed = await store.prune(datetime.now(UTC) - 36 * HOUR)

    assert removed == {"timeline": 0, "effects": 0, "order_events": 0, "seen_keys": 2}
    assert await store.unseen("feed", ["a", "b", "c"]) == {"a", "b"}
    assert await store.unseen("young", ["a", "b"]) == frozenset()
    assert await store.cursor("feed") == {"page": 2}


async def test_keys_of_the_day_before_the_last_commit_stay_however_old_they_are(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)
    await store.commit("feed", {"page": 1}, ["a"], holder=ME)
    await age_keys(store, "feed", 23 * HOUR)

    removed = await store.prune(datetime.now(UTC) + 1000 * HOUR)

    assert removed["seen_keys"] == 0
    assert await store.unseen("feed", ["a"]) == frozenset()


async def test_keys_of_a_poller_that_starts_over_stay(store: Store) -> None:
    await store.acquire_lease("feed", holder=ME, lease=HOUR)
    await store.commit("feed", {"page": 1}, ["a"], holder=ME)
    await age_keys(store, "feed", 1000 * HOUR)
    await store.reset("feed")

    removed = await store.prune(datetime.now(UTC))

    assert removed["seen_keys"] == 0
    assert await store.unseen("feed", ["a"]) == frozenset()


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.record_effect("complete")
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.cursors()


# --- letters that the broker refuses


async def test_a_refused_letter_is_kept_once_with_its_bytes(store: Store) -> None:
    first = RefusedMessage("id-1", "hub.a", "why\0", "403", NOON, '{"type": "t"}', b"\x00\xff")
    second = replace(first, id="id-2", at=NOON + HOUR)

    for message in (second, first, first):
        await store.keep_refused(message)

    kept = await store.refused()
    assert [message.id for message in kept] == ["id-1", "id-2"]
    assert (kept[0].queue, kept[0].refusal, kept[0].at) == ("hub.a", "403", NOON)
    assert (kept[0].body, kept[0].properties) == (b"\x00\xff", '{"type": "t"}')


# --- messages in hand


async def test_a_message_of_a_process_that_is_gone_counts_a_crash(store: Store, gone: str) -> None:
    assert await store.suspect("hub.a", "m", holder=gone) == Suspicion(0)

    assert await store.suspect("hub.a", "m", holder=ME) == Suspicion(1)
    assert await store.suspect("hub.a", "m", holder=ME) == Suspicion(1), "it waits for its turn"
    assert await store.suspect("hub.b", "m", holder=ME) == Suspicion(0), "another queue"

    await store.hold_suspect("hub.a", "m", holder=gone)
    assert await store.suspect("hub.a", "m", holder=ME) == Suspicion(2)


async def test_a_message_that_waits_for_its_turn_is_no_fault_of_it_when_a_process_crashes(
    store: Store, gone: str
) -> None:
    await store.suspect("hub.a", "m", holder=gone)
    await store.suspect("hub.a", "m", holder=ME)

    assert await store.suspect("hub.a", "m", holder=OTHER) == Suspicion(1)


async def test_a_message_of_a_living_process_is_left_to_it_unless_it_is_taken(store: Store) -> None:
    await store.suspect("hub.a", "m", holder=OTHER)

    assert await store.suspect("hub.a", "m", holder=ME) == Suspicion(0, held_elsewhere=True)
    assert await store.suspect("hub.a", "m", holder=ME, take=True) == Suspicion(0)
    assert await store.suspect("hub.a", "m", holder=OTHER) == Suspicion(0, held_elsewhere=True)


async def test_a_settled_message_and_those_of_a_process_that_ended_in_order_are_forgotten(
    store: Store, gone: str
) -> None:
    await store.suspect("hub.a", "settled", holder=gone)
    await store.suspect("hub.a", "left", holder=gone)

    await store.clear_suspect("hub.a", "settled")
    await store.clear_suspects(gone)

    assert await store.suspect("hub.a", "settled", holder=ME) == Suspicion(0)
    assert await store.suspect("hub.a", "left", holder=ME) == Suspicion(0)
