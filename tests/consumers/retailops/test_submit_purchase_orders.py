"""Marking purchase orders as submitted: many in a call, each once for each of its states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from consumers.retailops.submission import wait_for_submission
from consumers.retailops.submit_purchase_orders import SubmitPurchaseOrders
from hub.errors import PartnerUnavailable, StoreUnavailable, Throttled
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent
from hub.models.order import Order
from tests.consumers.pauses import Pauses
from tests.consumers.purchase_orders import LINES, RetailopsDouble, changed, created, with_context
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, settings

OTHER = "28"
MARKED, BEFORE = Done("marked"), Done("marked before")
((_, CONTEXT),) = with_context(created())
FEWER = (("90311", "NF-CASE-GRA", 1),)


@dataclass
class Scene:
    store: MemoryStore
    retailops: RetailopsDouble
    other: RetailopsDouble
    handler: SubmitPurchaseOrders

    async def hear(self, *events: AnyEvent) -> Sequence[Outcome]:
        await self.store.record_orders([event for event in events if event.type == "order.created"])
        return await self.handler(with_context(*events))

    async def order(self, po: str) -> Order:
        return await self.store.load_order(f"retailops:{VENDOR}:{po}")


@pytest.fixture
def scene() -> Scene:
    store, ours, other = MemoryStore(), RetailopsDouble(), RetailopsDouble(settings(vendor_id=OTHER))
    handler = SubmitPurchaseOrders(store, {VENDOR: ours, OTHER: other}, "host:1:start", sleep=Pauses(store))
    return Scene(store, ours, other, handler)


# --- batches -------------------------------------------------------------------------------------------------


async def test_many_pos_are_marked_in_one_call_with_all_their_lines(scene: Scene) -> None:
    outcomes = await scene.hear(created("D1"), created("D2", FEWER))

    assert outcomes == [MARKED, MARKED]
    items = [{"po_item_id": 90311, "quantity": 2}, {"po_item_id": 90312, "quantity": 1}]
    second = [{"po_item_id": 90311, "quantity": 1}]
    assert scene.retailops.calls == [
        ("submitted", [{"po": "D1", "items": items}, {"po": "D2", "items": second}])
    ]


async def test_1001_pos_are_marked_in_two_calls(scene: Scene) -> None:
    """Edge case 26: 1001 POs to mark: two calls of at most 1000."""
    outcomes = await scene.hear(*(created(f"D{number}") for number in range(1001)))

    assert outcomes == [MARKED] * 1001
    assert [len(pos) for pos in scene.retailops.batches] == [1000, 1]


async def test_each_account_has_calls_of_its_own(scene: Scene) -> None:
    scene.other.errors = [PartnerUnavailable("away")]

    outcomes = await scene.hear(created("D1", vendor=OTHER), created("D2"), created("D3", vendor="99"))

    assert outcomes[:2] == [Retry("away"), MARKED]
    assert outcomes[2] == Reject("expected an order of a configured retailops account (27, 28), got 99")
    assert (scene.other.batches, scene.retailops.batches) == ([["D1"]], [["D2"]])


async def test_an_event_that_is_in_the_batch_twice_is_marked_once(scene: Scene) -> None:
    assert await scene.hear(created(), created()) == [MARKED, MARKED]
    assert scene.retailops.batches == [["D1"]]


async def test_a_recorded_mark_makes_no_second_call(scene: Scene) -> None:
    await scene.hear(created("D1"))

    assert await scene.hear(created("D1"), created("D2")) == [BEFORE, MARKED]
    assert await scene.hear(created("D1"), created("D2")) == [BEFORE, BEFORE]
    assert scene.retailops.batches == [["D1"], ["D2"]]


# --- what fails ----------------------------------------------------------------------------------------------


async def test_a_mark_that_was_lost_is_made_again(scene: Scene) -> None:
    """Edge case 25: mark fails after publish: it is marked again, and then no more."""
    scene.retailops.errors = [PartnerUnavailable("no answer")]

    assert await scene.hear(created()) == [Retry("no answer")]
    assert await scene.hear(created()) == [MARKED]
    assert await scene.hear(created()) == [BEFORE]
    assert scene.retailops.batches == [["D1"], ["D1"]]


async def test_one_bad_po_does_not_sink_the_rest(scene: Scene) -> None:
    scene.retailops.bad = frozenset({"D2"})

    outcomes = await scene.hear(created("D1"), created("D2"), created("D3"))

    assert outcomes == [MARKED, Retry("retailops answered 200: invalid po"), MARKED]
    assert scene.retailops.batches == [["D1", "D2", "D3"], ["D1"], ["D2"], ["D3"]]


async def test_those_who_wait_for_a_mark_spend_an_attempt_when_it_fails_and_none_before(scene: Scene) -> None:
    scene.retailops.bad = frozenset({"D2"})
    await scene.hear(created("D1"), created("D2"), created("D3"))
    await scene.store.apply(changed("D3", FEWER, state="b"))

    waits = [
        await wait_for_submission(scene.store, await scene.order(po), CONTEXT) for po in ("D1", "D2", "D3")
    ]

    assert [wait.counts if wait else None for wait in waits] == [None, True, False]


async def test_already_done_is_a_success_alone_and_says_nothing_of_a_batch(scene: Scene) -> None:
    scene.retailops.already = frozenset({"D1"})

    assert await scene.hear(created("D1"), created("D2")) == [MARKED, MARKED]
    assert scene.retailops.batches == [["D1", "D2"], ["D1"], ["D2"]]


async def test_no_call_follows_for_those_who_would_meet_the_same_failure(scene: Scene) -> None:
    scene.retailops.errors = [Throttled("later", retry_after=timedelta(seconds=9))]

    outcomes = await scene.hear(*(created(f"D{number}") for number in range(1500)))

    assert set(outcomes) == {Retry("later", after=timedelta(seconds=9))}
    assert len(scene.retailops.calls) == 1


async def test_an_unknown_order_is_rejected_alone(scene: Scene) -> None:
    unknown = changed("D9", LINES, state="b")

    outcomes = await scene.hear(created("D1"), unknown)

    assert outcomes[0] == MARKED
    assert isinstance(outcomes[1], Reject)


async def test_a_mark_that_another_process_is_at_is_looked_at_again(scene: Scene) -> None:
    await scene.store.claim_effect(
        f"retailops:retailops:{VENDOR}:D1:submit:sha256:a", holder="other", lease=timedelta(minutes=1)
    )

    outcomes = await scene.hear(created("D1"), created("D2"))

    assert isinstance(outcomes[0], Retry)
    assert not outcomes[0].counts
    assert outcomes[1] == MARKED


async def test_marks_are_recorded_however_long_the_store_is_away(scene: Scene) -> None:
    scene.retailops.after = lambda: setattr(scene.store, "away", "restarting")

    assert await scene.hear(created()) == [MARKED]

    scene.retailops.after = lambda: None
    assert await scene.hear(created()) == [BEFORE]


async def test_nothing_is_called_while_the_store_is_away(scene: Scene) -> None:
    await scene.store.record_orders([created()])
    scene.store.away = "restarting"

    assert await scene.handler(with_context(created())) == [outcome_of(StoreUnavailable("restarting"))]
    assert scene.retailops.calls == []


# --- changes -------------------------------------------------------------------------------------------------


async def test_a_changed_po_is_marked_again_with_its_new_lines(scene: Scene) -> None:
    await scene.hear(created())

    assert await scene.hear(changed("D1", FEWER, state="b")) == [MARKED]
    assert scene.retailops.calls[-1] == (
        "submitted",
        [{"po": "D1", "items": [{"po_item_id": 90311, "quantity": 1}]}],
    )


async def test_a_change_back_is_marked_again(scene: Scene) -> None:
    await scene.hear(created())
    await scene.hear(changed("D1", FEWER, state="b", minutes=1))

    assert await scene.hear(changed("D1", LINES, state="a", minutes=2)) == [MARKED]
    assert len(scene.retailops.calls) == 3


async def test_a_po_that_changed_before_its_first_mark_is_marked_as_it_is_now_once(scene: Scene) -> None:
    await scene.store.record_orders([created()])
    change = changed("D1", FEWER, state="b")
    await scene.hear(change)

    assert await scene.hear(created(), change) == [BEFORE, BEFORE]
    assert scene.retailops.batches == [["D1"]]
