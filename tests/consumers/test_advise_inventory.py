"""Telling RetailOps stock counts: to every account, each once, and never an older one over a newer one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from consumers.advise_inventory import AdviseInventory
from hub.errors import PartnerUnavailable
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent
from hub.partners.retailops.client import Refused
from tests.consumers.pauses import Pauses
from tests.consumers.purchase_orders import RetailopsDouble, an_event, context
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, settings


@dataclass
class Scene:
    store: MemoryStore
    ours: RetailopsDouble
    other: RetailopsDouble
    handler: AdviseInventory

    async def hear(self, event: AnyEvent) -> Outcome:
        return await self.handler(event, context(event))


@pytest.fixture
def scene() -> Scene:
    store, ours, other = MemoryStore(), RetailopsDouble(), RetailopsDouble(settings(vendor_id="28"))
    clients = {VENDOR: ours, "28": other}
    return Scene(store, ours, other, AdviseInventory(store, clients, "host:1:start", sleep=Pauses(store)))


def counted(
    counts: Mapping[str, int] | Sequence[tuple[str, int]],
    *,
    event_id: str = "count-1",
    minutes: int = -60,
    sources: Sequence[str] | None = None,
) -> AnyEvent:
    pairs = counts.items() if isinstance(counts, Mapping) else counts
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in pairs]
    data = {"items": items, "sources": sources}
    return an_event("inventory.counted", data, event_id, later=timedelta(minutes=minutes))


async def test_counts_are_told_to_every_account_the_last_of_a_sku_and_none_below_zero(scene: Scene) -> None:
    assert await scene.hear(counted([("A", 1), ("B", -3), ("A", 118)])) == Done("2 told")
    assert scene.ours.calls == scene.other.calls == [("advised", {"A": 118, "B": 0})]


async def test_a_long_count_is_told_in_calls_of_at_most_1000(scene: Scene) -> None:
    await scene.hear(counted({f"SKU-{number}": number for number in range(2001)}))

    assert [len(what) for _, what in scene.ours.calls] == [1000, 1000, 1]


async def test_a_repeated_event_is_not_told_again(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}))

    assert await scene.hear(counted({"A": 5})) == Done("2 told before")
    assert len(scene.ours.calls) == 1


async def test_counts_for_other_sources_are_ignored(scene: Scene) -> None:
    assert await scene.hear(counted({"A": 5}, sources=["iqmetrix"])) == Done("not for retailops")
    assert scene.ours.calls == []


async def test_an_older_count_does_not_overwrite_a_newer_one(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}, event_id="newer", minutes=-10))

    assert await scene.hear(counted({"A": 9})) == Done("superseded")
    await scene.hear(counted({"A": 9, "B": 2}, event_id="older-too"))
    assert scene.ours.calls == [("advised", {"A": 5}), ("advised", {"B": 2})]


async def test_one_account_that_fails_does_not_keep_the_other_from_its_counts(scene: Scene) -> None:
    scene.ours.errors = [PartnerUnavailable("away")]

    with pytest.raises(PartnerUnavailable):
        await scene.hear(counted({"A": 5}))

    assert await scene.hear(counted({"A": 5})) == Done("1 told, 1 told before")
    assert (len(scene.ours.calls), len(scene.other.calls)) == (2, 1)


async def test_a_refused_part_does_not_keep_back_the_others(scene: Scene) -> None:
    scene.ours.errors = [Refused("no")]
    event = counted({f"SKU-{number}": number for number in range(1001)})

    with pytest.raises(Refused):
        await scene.hear(event)

    assert [len(what) for _, what in scene.ours.calls] == [1000, 1]
    assert await scene.hear(event) == Done("1 told, 3 told before")


async def test_what_was_told_is_recorded_however_long_the_store_is_away(scene: Scene) -> None:
    pauses = Pauses(scene.store)
    handler = AdviseInventory(scene.store, {VENDOR: scene.ours}, "host:1:start", sleep=pauses)
    event = counted({"A": 5})
    scene.ours.after = lambda: setattr(scene.store, "away", "restarting")

    assert await handler(event, context(event)) == Done("1 told")

    assert len(pauses.seconds) == 1
    assert await handler(event, context(event)) == Done("1 told before")
