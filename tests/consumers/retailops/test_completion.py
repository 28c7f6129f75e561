"""Complete and the marks of one purchase order: never at once, never a mark after Complete; what comes after is told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from consumers.retailops.accept_purchase_orders import AcceptPurchaseOrders
from consumers.retailops.complete_purchase_order import CompletePurchaseOrder
from consumers.retailops.completion import accept_key, complete_key
from consumers.retailops.submission import remember_submitted
from consumers.retailops.submit_purchase_orders import SubmitPurchaseOrders
from hub.errors import StoreUnavailable
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent
from hub.state.protocols import Claim
from tests.consumers.purchase_orders import (
    LINES,
    Lines,
    RetailopsDouble,
    about,
    changed,
    context,
    created,
    parcel,
    with_context,
)
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR

ORDER = f"retailops:{VENDOR}:D1"
SHIPPED = about("shipped", packages=[parcel("1Z1")])
ACCEPTED = about("accepted")
COMPLETED = Done("completed with 1 packages")
SUPERSEDED = Done("superseded: the PO was completed, a mark would be a step back")


@dataclass
class Interrupted(MemoryStore):
    """A store where something else happens just before an effect is claimed."""

    before: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    async def claim_effect(self, key: str, **asked: Any) -> Claim:
        interruption = self.before.pop(key, None)
        if interruption is not None:
            await interruption()
        return await super().claim_effect(key, **asked)


class Forgetful(MemoryStore):
    """A store that does not answer what a partner was told."""

    async def told(self, partner: str, order_id: str) -> None:
        raise StoreUnavailable("locked")


class Scene:
    """The three consumers of one account, each as in a process of its own."""

    def __init__(self) -> None:
        self.store = Interrupted()
        self.retailops = RetailopsDouble()
        clients = {VENDOR: self.retailops}
        self._complete = CompletePurchaseOrder(self.store, clients, "one:1:start")
        self._accept = AcceptPurchaseOrders(self.store, clients, "two:1:start")
        self._submit = SubmitPurchaseOrders(self.store, clients, "three:1:start")

    async def complete(self, event: AnyEvent = SHIPPED) -> Outcome:
        return await self._complete(event, context(event))

    async def accept(self, event: AnyEvent = ACCEPTED) -> Outcome:
        (outcome,) = await self._accept(with_context(event))
        return outcome

    async def submit(self, event: AnyEvent) -> Outcome:
        (outcome,) = await self._submit(with_context(event))
        return outcome

    async def was_submitted(self) -> None:
        await remember_submitted(self.store, await self.store.load_order(ORDER))

    @property
    def told(self) -> Sequence[str]:
        return [action for action, _ in self.retailops.calls]


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.store.record_orders([created()])
    await scene.was_submitted()
    return scene


def assert_waits(outcome: Outcome) -> None:
    assert isinstance(outcome, Retry)
    assert not outcome.counts, "waiting for each other costs no attempt"


# --- never at once, never a mark after Complete ---------------------------------------------------------------


async def test_complete_waits_while_the_po_is_being_accepted(scene: Scene) -> None:
    scene.retailops.open.clear()
    accepting = asyncio.create_task(scene.accept())
    await eventually(lambda: accept_key(ORDER) in scene.store._claims)

    assert_waits(await scene.complete())
    scene.retailops.open.set()

    assert await accepting == Done("marked")
    assert await scene.complete() == COMPLETED
    assert scene.told == ["accepted", "completed"]


async def test_an_acceptance_that_looked_before_the_po_was_completed_is_superseded(scene: Scene) -> None:
    scene.store.before[accept_key(ORDER)] = scene.complete

    assert await scene.accept() == SUPERSEDED
    assert scene.told == ["completed"]


async def test_an_acceptance_waits_while_the_po_is_being_completed(scene: Scene) -> None:
    scene.retailops.open.clear()
    completing: list[asyncio.Task[Outcome]] = []

    async def begin_to_complete() -> None:
        completing.append(asyncio.create_task(scene.complete()))
        await eventually(lambda: complete_key(ORDER) in scene.store._claims)

    scene.store.before[accept_key(ORDER)] = begin_to_complete

    assert_waits(await scene.accept())
    scene.retailops.open.set()
    assert await completing[0] == COMPLETED
    assert scene.told == ["completed"]


async def test_an_acceptance_is_made_when_the_completion_failed(scene: Scene) -> None:
    """A completion that fails has claimed and released: it holds nobody up."""
    scene.retailops.bad = frozenset({"D1"})

    async def fail_to_complete() -> None:
        assert isinstance(await scene.complete(), Retry)
        scene.retailops.bad = frozenset()

    scene.store.before[accept_key(ORDER)] = fail_to_complete

    assert await scene.accept() == Done("marked")


async def test_a_mark_as_submitted_that_comes_again_after_completion_is_superseded(scene: Scene) -> None:
    """As after a crash between the record of what was submitted and that of the effect."""
    scene.store.before[f"retailops:{ORDER}:submit:sha256:a"] = scene.complete

    assert await scene.submit(created()) == SUPERSEDED
    assert await scene.submit(created()) == SUPERSEDED
    assert scene.told == ["completed"]


async def test_a_change_waits_while_the_po_is_being_completed_and_is_superseded_then(scene: Scene) -> None:
    change = changed("D1", LINES[:1], state="b")
    scene.retailops.open.clear()
    completing = asyncio.create_task(scene.complete())
    await eventually(lambda: complete_key(ORDER) in scene.store._claims)

    submitting = asyncio.create_task(scene.submit(change))
    await asyncio.wait([submitting], timeout=1)
    scene.retailops.open.set()

    assert_waits(await submitting)
    assert isinstance(await completing, Reject)
    assert await scene.submit(change) == SUPERSEDED
    assert scene.told == ["completed"]


async def test_a_change_is_not_marked_as_submitted_after_completion(scene: Scene) -> None:
    await scene.complete()

    assert await scene.submit(changed("D1", LINES[:1], state="b")) == SUPERSEDED
    assert scene.told == ["completed"]


async def test_complete_waits_for_a_change_that_it_did_not_know_of(scene: Scene) -> None:
    await scene.store.apply(about("shipped", event_id="first", packages=[parcel("1Z1", {"90311": 2})]))
    change = changed("D1", LINES[:1], state="b")
    last = about("cancelled", lines=[{"line_id": "90312"}])
    scene.retailops.open.clear()
    submitting: list[asyncio.Task[Outcome]] = []

    async def begin_to_submit() -> None:
        submitting.append(asyncio.create_task(scene.submit(change)))
        await eventually(lambda: any(":submit:" in key for key in scene.store._claims))

    scene.store.before[complete_key(ORDER)] = begin_to_submit

    assert_waits(await scene.complete(last))
    scene.retailops.open.set()
    assert await submitting[0] == Done("marked")
    assert await scene.complete(last) == COMPLETED
    assert scene.told == ["submitted", "completed"]


async def test_the_marks_of_other_pos_do_not_wait(scene: Scene) -> None:
    await scene.store.record_orders([created("D2")])
    scene.retailops.open.clear()
    completing = asyncio.create_task(scene.complete())
    await eventually(lambda: complete_key(ORDER) in scene.store._claims)
    submitting = asyncio.create_task(scene.submit(created("D2")))
    await eventually(lambda: any(":submit:" in key for key in scene.store._claims))
    scene.retailops.open.set()

    assert await submitting == Done("marked")
    assert await completing == COMPLETED


async def test_a_mark_whose_look_failed_gives_its_claim_back(scene: Scene) -> None:
    store = Forgetful()
    await store.record_orders([created()])
    handler = SubmitPurchaseOrders(store, {VENDOR: scene.retailops}, "three:1:start")

    assert await handler(with_context(created())) == [outcome_of(StoreUnavailable("locked"))]
    assert store._claims == {}
    assert scene.told == []


# --- what comes after completion ------------------------------------------------------------------------------

MORE: Lines = (("90311", "NF-CASE-GRA", 4), ("90312", "NF-CHG-30", 1))


@pytest.mark.parametrize(
    ("lines", "now"),
    [
        (MORE, "4 x NF-CASE-GRA, 1 x NF-CHG-30"),
        ((*LINES, ("90313", "NF-NEW", 1)), "2 x NF-CASE-GRA, 1 x NF-CHG-30, 1 x NF-NEW"),
        (LINES[:1], "2 x NF-CASE-GRA"),
        ((("90311", "OTHER", 2), LINES[1]), "1 x NF-CHG-30, 2 x OTHER"),
    ],
    ids=["more units", "a new line", "fewer than shipped", "another product"],
)
async def test_a_change_of_a_completed_po_is_a_letter_that_says_what_to_do(
    scene: Scene, lines: Lines, now: str
) -> None:
    await scene.complete()

    outcome = await scene.complete(changed("D1", lines, state="b"))

    assert outcome == Reject(
        "RetailOps has no call to change what was completed, so a person must settle it on the RetailOps purchase"
        f" order screen, in PO D1 of vendor {VENDOR}, then discard this letter: it was completed with"
        f" 2 x NF-CASE-GRA, 1 x NF-CHG-30, but RetailOps orders {now} now"
    )
    assert scene.told == ["completed"]


async def test_a_change_to_what_was_completed_asks_for_nothing(scene: Scene) -> None:
    await scene.complete()
    renumbered = (("7", "NF-CHG-30", 1), ("8", "NF-CASE-GRA", 2))

    assert await scene.complete(changed("D1", renumbered, state="b")) == Done("completed before")


async def test_units_that_were_given_up_and_then_taken_off_the_po_ask_for_nothing(scene: Scene) -> None:
    first = about("shipped", event_id="first", packages=[parcel("1Z1", {"90311": 2})])
    await scene.complete(first)
    assert await scene.complete(about("cancelled")) == COMPLETED

    assert await scene.complete(changed("D1", LINES[:1], state="b")) == Done("completed before")
    assert await scene.complete(first) == Done("completed before")


async def test_a_parcel_that_leaves_after_completion_is_a_letter(scene: Scene) -> None:
    await scene.complete()
    await scene.complete(changed("D1", MORE, state="b"))
    extra = about("shipped", event_id="extra", packages=[parcel("1Z9", {"90311": 2})])

    outcome = await scene.complete(extra)

    assert isinstance(outcome, Reject)
    assert outcome.reason.endswith(
        "but RetailOps orders 4 x NF-CASE-GRA, 1 x NF-CHG-30 now and 1 parcel with 2 x NF-CASE-GRA left since"
    )
    assert scene.told == ["completed"]


async def test_a_part_of_what_a_change_added_is_a_letter_too(scene: Scene) -> None:
    await scene.complete()
    await scene.complete(changed("D1", MORE, state="b"))

    outcome = await scene.complete(about("shipped", event_id="extra", packages=[parcel("1Z9", {"90311": 1})]))

    assert isinstance(outcome, Reject)


async def test_a_change_during_the_call_is_told_by_the_completion(scene: Scene) -> None:
    change = changed("D1", MORE, state="b")
    scene.retailops.open.clear()
    completing = asyncio.create_task(scene.complete())
    await eventually(lambda: complete_key(ORDER) in scene.store._claims)

    assert await scene.complete(change) == Done("2 units are left to ship or give up")
    scene.retailops.open.set()

    outcome = await completing
    assert isinstance(outcome, Reject)
    assert "RetailOps orders 4 x NF-CASE-GRA" in outcome.reason


async def test_what_was_completed_is_known_after_its_effect_was_pruned(scene: Scene) -> None:
    await scene.complete()
    scene.store._done.clear()

    assert await scene.complete() == Done("completed before")
    assert isinstance(await scene.complete(changed("D1", MORE, state="b")), Reject)
    assert scene.told == ["completed"]


async def test_a_long_list_of_products_leaves_the_reason_readable(scene: Scene) -> None:
    await scene.complete()
    lines = tuple((str(number), f"NF-PRODUCT-{number:04}", 1) for number in range(300))

    outcome = await scene.complete(changed("D1", lines, state="b"))

    assert isinstance(outcome, Reject)
    assert len(outcome.reason) <= 500
    assert "more products, see hub orders show" in outcome.reason
