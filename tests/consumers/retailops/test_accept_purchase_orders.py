"""Marking purchase orders as accepted: once, after they are submitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from consumers.retailops.accept_purchase_orders import AcceptPurchaseOrders
from consumers.retailops.submission import remember_submitted
from hub.config.settings import Retailops
from hub.messaging.outcome import Done, Outcome, Retry
from hub.models.events import AnyEvent
from tests.consumers.purchase_orders import LINES, RetailopsDouble, about, changed, created, with_context
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, settings

MARKED, BEFORE = Done("marked"), Done("marked before")


@dataclass
class Scene:
    store: MemoryStore
    retailops: RetailopsDouble

    async def hear(self, *events: AnyEvent) -> Sequence[Outcome]:
        handler = AcceptPurchaseOrders(self.store, {VENDOR: self.retailops}, "host:1:start")
        return await handler(with_context(*events))

    async def submit(self, po: str = "D1") -> None:
        await remember_submitted(self.store, await self.store.load_order(f"retailops:{VENDOR}:{po}"))

    def accept_all(self) -> None:
        self.retailops.settings = Retailops(
            **{**settings().model_dump(), "api_key": "k", "accept_purchase_orders": True}
        )


@pytest.fixture
async def scene() -> Scene:
    store = MemoryStore()
    await store.record_orders([created("D1"), created("D2")])
    return Scene(store, RetailopsDouble())


async def test_accepted_pos_are_marked_in_one_call(scene: Scene) -> None:
    await scene.submit("D1")
    await scene.submit("D2")

    assert await scene.hear(about("accepted", "D1"), about("accepted", "D2")) == [MARKED, MARKED]
    assert scene.retailops.batches == [["D1", "D2"]]


async def test_a_new_po_is_accepted_only_where_the_setting_says_so(scene: Scene) -> None:
    await scene.submit()

    assert await scene.hear(created()) == [Done("accepted when order.accepted says so")]

    scene.accept_all()
    assert await scene.hear(created()) == [MARKED]
    assert scene.retailops.batches == [["D1"]]


async def test_a_po_is_accepted_once_whatever_asks_for_it(scene: Scene) -> None:
    scene.accept_all()
    await scene.submit()

    assert await scene.hear(created(), about("accepted")) == [MARKED, MARKED]
    assert await scene.hear(about("accepted", event_id="again")) == [BEFORE]
    assert len(scene.retailops.calls) == 1


@pytest.mark.parametrize("event", [created(), about("accepted")], ids=["created", "accepted"])
async def test_a_po_that_is_not_submitted_waits(scene: Scene, event: AnyEvent) -> None:
    scene.accept_all()

    (outcome,) = await scene.hear(event)

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("not yet submitted: MarkSubmitted of PO D1")
    assert scene.retailops.calls == []


async def test_a_change_that_is_not_submitted_waits_too(scene: Scene) -> None:
    await scene.submit()
    await scene.store.apply(changed("D1", LINES[:1], state="b"))

    (outcome,) = await scene.hear(about("accepted"))

    assert isinstance(outcome, Retry)


async def test_orders_of_other_partners_are_ignored(scene: Scene) -> None:
    event = about("accepted", order_id="iqmetrix:1:2")

    assert await scene.hear(event) == [Done("not a retailops order")]
