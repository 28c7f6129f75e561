"""Completing purchase orders: once, with all parcels, when nothing is left and they are submitted."""

import asyncio
from dataclasses import dataclass

import pytest

from consumers.retailops.complete_purchase_order import CompletePurchaseOrder
from consumers.retailops.submission import remember_submitted
from hub.errors import PartnerUnavailable
from hub.messaging.outcome import Done, Outcome, Retry
from hub.models.events import AnyEvent
from hub.partners.retailops.client import UnknownCarrierClass
from tests.consumers.purchase_orders import RetailopsDouble, about, changed, context, created, parcel
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, settings

ORDER = f"retailops:{VENDOR}:D1"
ALL = about("shipped", packages=[parcel("1Z1")])
FIRST = about("shipped", event_id="first", packages=[parcel("1Z1", {"90311": 2})])
SECOND = about("shipped", event_id="second", packages=[parcel("1Z2", {"90312": 1})])
COMPLETED = Done("completed with 1 packages")


@dataclass
class Scene:
    store: MemoryStore
    retailops: RetailopsDouble
    handler: CompletePurchaseOrder

    async def hear(self, event: AnyEvent) -> Outcome:
        return await self.handler(event, context(event))

    async def submit(self) -> None:
        await remember_submitted(self.store, await self.store.load_order(ORDER))


@pytest.fixture
async def scene() -> Scene:
    store, retailops = MemoryStore(), RetailopsDouble()
    await store.record_orders([created()])
    scene = Scene(store, retailops, CompletePurchaseOrder(store, {VENDOR: retailops}, "host:1:start"))
    await scene.submit()
    return scene


async def test_a_po_is_completed_once_with_all_its_parcels(scene: Scene) -> None:
    assert await scene.hear(FIRST) == Done("1 units are left to ship or give up")
    assert scene.retailops.calls == []
    assert await scene.hear(SECOND) == Done("completed with 2 packages")
    assert await scene.hear(SECOND) == await scene.hear(FIRST) == Done("completed before")

    ((_, body),) = scene.retailops.calls
    assert body == {
        "po": "D1",
        "packages": [
            {
                "ship_class_id": 62,
                "tracking_number": "1Z1",
                "unit_count": 2,
                "items": [{"vpc": "NF-CASE-GRA", "quantity": 2}],
            },
            {
                "ship_class_id": 62,
                "tracking_number": "1Z2",
                "unit_count": 1,
                "items": [{"vpc": "NF-CHG-30", "quantity": 1}],
            },
        ],
    }


async def test_lines_of_one_product_code_are_summed(scene: Scene) -> None:
    """Edge case 28: package with two lines of the same vpc: one summed item, right unit_count."""
    await scene.store.apply(changed("D1", (("1", "SAME", 2), ("2", "SAME", 3), ("3", "X", 1)), state="b"))
    await scene.submit()

    await scene.hear(ALL)

    (package,) = scene.retailops.calls[0][1]["packages"]
    assert package["items"] == [{"vpc": "SAME", "quantity": 5}, {"vpc": "X", "quantity": 1}]
    assert package["unit_count"] == 6


async def test_a_po_is_completed_with_what_was_shipped_of_it(scene: Scene) -> None:
    await scene.hear(FIRST)

    assert await scene.hear(about("cancelled")) == COMPLETED
    assert [package["unit_count"] for package in scene.retailops.calls[0][1]["packages"]] == [2]


async def test_a_change_that_takes_the_rest_away_completes_a_po(scene: Scene) -> None:
    await scene.hear(FIRST)
    change = changed("D1", (("90311", "NF-CASE-GRA", 2),), state="b")

    assert isinstance(await scene.hear(change), Retry)
    await scene.submit()
    assert await scene.hear(change) == COMPLETED


async def test_a_cancelled_po_has_nothing_to_complete(scene: Scene) -> None:
    assert await scene.hear(about("cancelled")) == Done("nothing shipped, nothing to complete")
    assert scene.retailops.calls == []


async def test_a_po_that_is_not_submitted_waits() -> None:
    store, retailops = MemoryStore(), RetailopsDouble()
    await store.record_orders([created()])
    scene = Scene(store, retailops, CompletePurchaseOrder(store, {VENDOR: retailops}, "host:1:start"))

    outcome = await scene.hear(ALL)

    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("not yet submitted: MarkSubmitted of PO D1")
    await scene.submit()
    assert await scene.hear(ALL) == COMPLETED


# --- carrier classes -----------------------------------------------------------------------------------------


async def test_an_unknown_carrier_class_is_an_error_that_names_the_known_ones(scene: Scene) -> None:
    """Edge case 27: carrier class not in the list: error to the dead-letter queue, not a default id."""
    unknown = about("shipped", packages=[parcel("1Z1", carrier="DHL", service="Express")])

    with pytest.raises(UnknownCarrierClass, match=r"ups ground.*DHL Express"):
        await scene.hear(unknown)

    assert scene.retailops.calls == []
    assert scene.retailops.refreshes == ["DHL Express"]
    scene.retailops.classes = {"dhl express": 7}
    assert await scene.hear(unknown) == COMPLETED


@pytest.mark.parametrize(
    ("carrier", "service", "found"),
    [
        ("UPS", "Ground", 1),
        ("ups", " GROUND ", 1),
        ("FedEx", "FedEx 2Day", 2),
        ("LTL", None, 3),
        ("Own", "Truck", 3),
    ],
)
async def test_a_class_is_found_by_setting_or_name(
    scene: Scene, carrier: str, service: str | None, found: int
) -> None:
    scene.retailops.settings = settings(ship_classes={"own truck": "LTL"})
    scene.retailops.classes = {"ups ground": 1, "fedex 2day": 2, "ltl": 3}

    await scene.hear(about("shipped", packages=[parcel("1Z1", carrier=carrier, service=service)]))

    assert scene.retailops.calls[0][1]["packages"][0]["ship_class_id"] == found
    assert scene.retailops.refreshes == []


async def test_a_carrier_alone_is_no_class_for_a_service(scene: Scene) -> None:
    scene.retailops.classes = {"ups": 1}

    with pytest.raises(UnknownCarrierClass):
        await scene.hear(ALL)


# --- what fails ----------------------------------------------------------------------------------------------


async def test_a_failed_call_is_made_again(scene: Scene) -> None:
    scene.retailops.errors = [PartnerUnavailable("away")]

    with pytest.raises(PartnerUnavailable):
        await scene.hear(ALL)

    assert await scene.hear(ALL) == COMPLETED


async def test_a_refusal_is_retried_and_already_done_is_a_success(scene: Scene) -> None:
    scene.retailops.bad = frozenset({"D1"})
    assert await scene.hear(ALL) == Retry("retailops answered 200: invalid po")

    scene.retailops.bad, scene.retailops.already = frozenset(), frozenset({"D1"})
    assert await scene.hear(ALL) == COMPLETED


async def test_the_same_event_twice_at_once_makes_one_call(scene: Scene) -> None:
    outcomes = await asyncio.gather(scene.hear(ALL), scene.hear(ALL))

    assert list(outcomes) == [COMPLETED, Done("completed before")]
    assert len(scene.retailops.calls) == 1
