"""Orders and letters as large as they may be: what is made of them is computed beside the event loop."""

from consumers.iqmetrix.update_order_status import UpdateOrderStatus
from consumers.retailops.complete_purchase_order import CompletePurchaseOrder
from consumers.retailops.submission import remember_submitted
from consumers.webhooks.deliver_webhooks import DeliverWebhooks
from hub.config.settings import Settings
from hub.messaging.handler import Context, Handler
from hub.messaging.message import Message
from hub.models.events import AnyEvent
from producers.iqmetrix import iqmetrix_orders
from producers.retailops import retailops_purchase_orders
from tests.consumers import purchase_orders as retailops
from tests.consumers.iqmetrix.test_update_order_status import Updates
from tests.consumers.webhooks.test_deliver_webhooks import Endpoint
from tests.fakes import MemoryStore
from tests.partners.iqmetrix import samples as iqmetrix
from tests.partners.optoro.samples import a_client_with_defaults
from tests.partners.retailops.samples import VENDOR, settings
from tests.turns import turns_during

MANY = 5000
# What is waited for on the way gives some turns; a thread of some ten milliseconds gives thousands.
FEW = 60


def large_order() -> AnyEvent:
    line = iqmetrix.details(1).lines[0]
    lines = tuple(line.model_copy(update={"line_id": f"{each}", "sku": f"s{each}"}) for each in range(MANY))
    return iqmetrix.an_event(iqmetrix.details(1).model_copy(update={"lines": lines}), "created-1")


PARCEL = {
    "tracking_number": "1Z",
    "carrier": "UPS",
    "service": "Ground",
    "weight_lb": 1,
    "shipping_cost_cents": 1,
}


async def turns_of(handler: Handler, event: AnyEvent) -> int:
    context = Context("consumer", "hub.queue", 1, Message(b"{}", type=event.type, message_id=event.id))
    return await turns_during(handler(event, context))


async def test_an_update_of_a_large_order_lets_other_work_go_on() -> None:
    store, partner = MemoryStore(), Updates()
    await store.record_orders([large_order()])
    handler = UpdateOrderStatus(store, {iqmetrix.SUPPLIER: partner}, "host:1:start")

    turns = await turns_of(handler, iqmetrix.shipped(PARCEL))

    assert partner.statuses == ["Shipped"]
    assert turns > FEW


async def test_a_webhook_of_a_large_order_lets_other_work_go_on() -> None:
    store, endpoint = MemoryStore(), Endpoint()
    await store.record_orders([large_order()])
    client = a_client_with_defaults()
    handler = DeliverWebhooks(store, endpoint, client, "host:1:test")

    turns = await turns_of(handler, iqmetrix.shipped(PARCEL))

    assert len(endpoint.posts) == 1
    assert turns > FEW


async def test_the_completion_of_a_large_po_lets_other_work_go_on() -> None:
    store, partner = MemoryStore(), retailops.RetailopsDouble()
    lines = [(f"{each}", f"s{each}", 1) for each in range(MANY)]
    await store.record_orders([retailops.created(lines=lines)])
    await remember_submitted(store, await store.load_order(f"retailops:{VENDOR}:D1"))
    handler = CompletePurchaseOrder(store, {VENDOR: partner}, "host:1:start")

    turns = await turns_of(handler, retailops.about("shipped", packages=[retailops.parcel("1Z1")]))

    ((_, body),) = partner.calls
    assert len(body["packages"][0]["items"]) == MANY
    assert turns > FEW


async def test_a_large_raw_entry_that_is_replayed_lets_other_work_go_on() -> None:
    item = "<order-item><sku>s</sku><quantity>1</quantity></order-item>"
    entry = (
        '<entry xmlns="http://www.w3.org/2005/Atom"><id>e</id><updated>2024-05-14T16:02:09Z</updated><content>'
        '<order-created xmlns="urn:iQmetrix:dropship"><order-id>o</order-id><supplier-id>71204</supplier-id>'
        f"<items>{item * 4000}</items></order-created></content></entry>"
    )
    letter = Message(entry.encode(), headers={"x-hub-account": iqmetrix.SUPPLIER})

    assert (
        await turns_during(iqmetrix_orders.parse_letter(letter, Settings(iqmetrix=(iqmetrix.settings(),))))
        > FEW
    )


async def test_a_large_raw_po_that_is_replayed_lets_other_work_go_on() -> None:
    item = b'{"po_item_id":%d,"vpc":"A","quantity":"1.0","note":"%b"}'
    items = b",".join(item % (each, b"x" * 200) for each in range(1000))
    record = b'{"po":"D1","date_submit":"2024-05-14","items":[%b]}' % items
    letter = Message(record, headers={"x-hub-account": VENDOR})

    assert (
        await turns_during(retailops_purchase_orders.parse_letter(letter, Settings(retailops=(settings(),))))
        > FEW
    )
