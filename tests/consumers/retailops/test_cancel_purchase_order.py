"""What RetailOps cannot be told: a sentence that says what a person must do."""

import pytest

from consumers.retailops.cancel_purchase_order import CancelPurchaseOrder
from hub.messaging.outcome import Done, Reject
from hub.models.events import AnyEvent
from tests.consumers.purchase_orders import about, context, created
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.record_orders([created()])
    return store


async def hear(store: MemoryStore, event: AnyEvent) -> object:
    return await CancelPurchaseOrder(store)(event, context(event))


async def test_a_person_is_told_which_po_which_lines_and_where(store: MemoryStore) -> None:
    outcome = await hear(store, about("cancelled", lines=[{"sku": "NF-CASE-GRA", "quantity": 1}]))

    assert outcome == Reject(
        "RetailOps has no call to cancel, so a person must: on the RetailOps purchase order screen, in PO D1 of"
        " vendor 27, cancel 1 of 2 x NF-CASE-GRA (line 90311); then discard this letter"
    )
    assert (await store.load_order(f"retailops:{VENDOR}:D1")).lines[0].cancelled == 1


async def test_a_whole_po_is_called_so_and_a_replay_says_the_same(store: MemoryStore) -> None:
    outcome = await hear(store, about("cancelled"))

    assert isinstance(outcome, Reject)
    assert (
        "the whole PO, 2 of 2 x NF-CASE-GRA (line 90311), 1 of 1 x NF-CHG-30 (line 90312)" in outcome.reason
    )
    assert await hear(store, about("cancelled")) == outcome


async def test_a_long_list_fits_in_a_header(store: MemoryStore) -> None:
    await store.record_orders([created("D2", [(str(n), f"SKU-{n}", 1) for n in range(100)])])

    outcome = await hear(store, about("cancelled", "D2"))

    assert isinstance(outcome, Reject)
    assert len(outcome.reason) <= 500
    assert "more lines, see hub orders show" in outcome.reason


async def test_orders_of_other_partners_are_ignored(store: MemoryStore) -> None:
    assert await hear(store, about("cancelled", order_id="iqmetrix:1:2")) == Done("not a retailops order")
