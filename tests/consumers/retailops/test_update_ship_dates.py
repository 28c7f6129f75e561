"""Telling when purchase orders are expected to leave: each date once, and never an older one over a newer one."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from consumers.retailops.completion import remember_completed
from consumers.retailops.submission import remember_submitted
from consumers.retailops.update_ship_dates import UpdateShipDates
from hub.errors import PartnerUnavailable
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent
from tests.consumers.purchase_orders import RetailopsDouble, about, created, parcel, with_context
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR

MAY, JUNE = "2024-05-20T00:00:00Z", "2024-06-20T00:00:00Z"


@dataclass
class Scene:
    store: MemoryStore
    retailops: RetailopsDouble
    handler: UpdateShipDates

    async def hear(self, *events: AnyEvent) -> Sequence[Outcome]:
        return await self.handler(with_context(*events))

    @property
    def dates(self) -> Sequence[Sequence[tuple[str, str, list[int]]]]:
        return [
            [
                (record["po"], record["estimated_ship_date"], [i["po_item_id"] for i in record["items"]])
                for record in what
            ]
            for _, what in self.retailops.calls
        ]


@pytest.fixture
async def scene() -> Scene:
    store, retailops = MemoryStore(), RetailopsDouble()
    await store.record_orders([created("D1"), created("D2")])
    for po in ("D1", "D2"):
        await remember_submitted(store, await store.load_order(f"retailops:{VENDOR}:{po}"))
    return Scene(store, retailops, UpdateShipDates(store, {VENDOR: retailops}, "host:1:start"))


def dated(
    po: str = "D1", date: str = MAY, *, event_id: str = "", minutes: int = 1, **data: object
) -> AnyEvent:
    event_id = event_id or f"dated-{po}"
    data = {"estimated_ship_date": date, **data}
    return about("ship_date_estimated", po, event_id=event_id, minutes=minutes, **data)


async def test_dates_of_many_pos_are_told_in_one_call(scene: Scene) -> None:
    backordered = about("backordered", "D2", estimated_ship_date=JUNE, lines=[{"sku": "NF-CHG-30"}])

    assert await scene.hear(dated("D1"), backordered) == [Done("marked"), Done("marked")]
    (call,) = scene.dates
    assert sorted(call) == [("D1", MAY, [90311, 90312]), ("D2", JUNE, [90312])]


async def test_a_back_order_without_a_date_is_applied_and_not_told(scene: Scene) -> None:
    assert await scene.hear(about("backordered")) == [Done("no ship date to tell")]
    assert scene.retailops.calls == []
    assert (await scene.store.load_order(f"retailops:{VENDOR}:D1")).lines[0].hold == "BackOrdered"


async def test_a_date_is_told_once_and_another_event_is_told_again(scene: Scene) -> None:
    await scene.hear(dated())

    assert await scene.hear(dated()) == [Done("marked before")]
    assert await scene.hear(dated(event_id="again", minutes=2)) == [Done("marked")]
    assert len(scene.dates) == 2


async def test_an_older_date_does_not_overwrite_a_newer_one(scene: Scene) -> None:
    scene.retailops.errors = [PartnerUnavailable("away")]
    older, newer = dated(), dated(date=JUNE, event_id="newer", minutes=2)

    assert await scene.hear(older) == [Retry("away")]
    assert await scene.hear(newer) == [Done("marked")]
    assert await scene.hear(older) == [Done("superseded")]
    assert scene.dates[-1] == [("D1", JUNE, [90311, 90312])]


async def test_of_two_dates_in_a_batch_the_newer_is_told(scene: Scene) -> None:
    older, newer = dated(), dated(date=JUNE, event_id="newer", minutes=2)

    assert await scene.hear(older, newer) == [Done("superseded"), Done("marked")]
    assert scene.dates == [[("D1", JUNE, [90311, 90312])]]


async def test_what_has_left_gets_no_date(scene: Scene) -> None:
    await scene.store.apply(about("shipped", packages=[parcel("1Z1", {"90311": 2, "90312": 1})]))

    assert await scene.hear(dated()) == [Done("nothing left to ship")]


async def test_an_unknown_line_is_rejected_by_name(scene: Scene) -> None:
    (outcome,) = await scene.hear(dated(lines=[{"sku": "NOPE"}]))

    assert isinstance(outcome, Reject)
    assert "'NOPE'" in outcome.reason
    assert "NF-CHG-30" in outcome.reason


async def test_a_date_waits_for_the_mark_of_its_po_at_no_attempt() -> None:
    store, retailops = MemoryStore(), RetailopsDouble()
    await store.record_orders([created("D1")])
    scene = Scene(store, retailops, UpdateShipDates(store, {VENDOR: retailops}, "host:1:start"))

    (early,) = await scene.hear(dated())
    await remember_submitted(store, await store.load_order(f"retailops:{VENDOR}:D1"))
    (late,) = await scene.hear(dated())

    assert isinstance(early, Retry)
    assert not early.counts
    assert early.reason.startswith("not yet submitted: MarkSubmitted of PO D1")
    assert late == Done("marked")
    assert [action for action, _ in retailops.calls] == ["dated"]


async def test_no_date_is_told_of_a_po_that_was_completed(scene: Scene) -> None:
    await remember_completed(scene.store, await scene.store.load_order(f"retailops:{VENDOR}:D1"))

    (outcome,) = await scene.hear(dated())

    assert outcome == Done("superseded: the PO was completed, a mark would be a step back")
    assert scene.retailops.calls == []
