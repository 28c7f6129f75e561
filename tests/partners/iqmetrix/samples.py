"""Pages, entries, settings and orders, as the iQmetrix references show them; all values invented."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hub.config.settings import Iqmetrix
from hub.models.events import (
    AnyEvent,
    Event,
    OrderAccepted,
    OrderBackordered,
    OrderCancelled,
    OrderCreated,
    OrderFailed,
    OrderLine,
    OrderShipped,
)

SUPPLIER = "71204"
BASE = "https://dropshipdemo.iqmetrix.net/v1"
TOKEN_URL = "https://accountsdemo.iqmetrix.net/v1/oauth2/token"
NOTIFICATIONS = f"Suppliers({SUPPLIER})/Notifications"
PRODUCTION = "https://dropship.iqmetrix.net/v1"
SOURCE_ORDER_ID = "7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"
ORDER_ID = f"iqmetrix:{SUPPLIER}:{SOURCE_ORDER_ID}"
NOW = datetime(2024, 5, 14, 16, 2, 9, tzinfo=UTC)

ORDER_CREATED = """<order-created xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="urn:iQmetrix:dropship">
<items>{items}</items>
<order-id>{order_id}</order-id>
<reference-name i:nil="true" /><unknown-element><deep>x</deep></unknown-element>
<seller><company-id>41870</company-id><location-id>41902</location-id>
<po-reference>KW88IN1042</po-reference><printable-id>KW88IN1042</printable-id></seller>
<ship-to-store>{ship_to_store}</ship-to-store>
<shipping-address>{address}</shipping-address>
<shipping-customer>{customer}</shipping-customer>
<shipping-method>350</shipping-method>
<supplier-id>{supplier}</supplier-id></order-created>"""

ITEM = (
    "<order-item><catalog-id>{catalog_id}</catalog-id><description>Rugged Case</description>"
    "<quantity>{quantity}</quantity><selling-price>{price}</selling-price><sku>{sku}</sku></order-item>"
)
ADDRESS = (
    "<address-id>3e2f1a90-55f0-4d5e-8d6b-6f2f1d9c7b42</address-id><attention-to>Dana Whitfield</attention-to>"
    "<country>United States</country><country-code>US</country-code><locality>Boise</locality>"
    '<notes i:nil="true" /><phone>208-555-0143</phone><post-office-box-number i:nil="true" />'
    "<postal-code>83702</postal-code><region>Idaho</region><region-code>ID</region-code>"
    '<street-address-1>914 W Fort St</street-address-1><street-address-2 i:nil="true" /><type>Home</type>'
)
CUSTOMER = (
    '<alternate-name i:nil="true" /><customer-id>b7f2c9d4-1c33-4a5b-9f0e-7e6d5c4b3a21</customer-id>'
    '<family-name>Whitfield</family-name><middle-name i:nil="true" /><notes>ring twice</notes>'
    '<primary-name>Dana</primary-name><title i:nil="true" /><type>Person</type>'
)
STATUS_UPDATED = """<order-status-updated xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="urn:iQmetrix:dropship">
<company-id>41870</company-id><items><item-information>
<catalog-id>c1d5a1b7-2f5e-4c0a-8a66-11d2d4f0ab21</catalog-id><info i:nil="true" /><message i:nil="true" />
<quantity>1</quantity><shipping-provider>UPS</shipping-provider><sku>NF-CHG-30</sku>
<status>{status}</status><tracking-info>1Z2E07A20302245707</tracking-info></item-information></items>
<order-id>{order_id}</order-id><supplier-id>71204</supplier-id></order-status-updated>"""


def an_item(**values: Any) -> str:
    """An order-item."""
    return ITEM.format(
        **{"catalog_id": "8f0f6c0a", "quantity": 2, "price": "39.99", "sku": "NF-CASE-GRA", **values}
    )


def created(**values: Any) -> str:
    """An order-created element."""
    return ORDER_CREATED.format(
        **{
            "items": an_item(),
            "order_id": SOURCE_ORDER_ID,
            "ship_to_store": "false",
            "address": ADDRESS,
            "customer": CUSTOMER,
            "supplier": SUPPLIER,
            **values,
        }
    )


def status_updated(status: str = "Shipped", order_id: str = SOURCE_ORDER_ID) -> str:
    """An order-status-updated element."""
    return STATUS_UPDATED.format(status=status, order_id=order_id)


def an_entry(entry_id: str, content: str | None = None, *, updated: str = "2024-05-14T16:02:09Z") -> str:
    """An entry with its own order, unless a content is given."""
    content = created(order_id=f"order-of-{entry_id}") if content is None else content
    return (
        f'<entry><id>{entry_id}</id><title type="text">Dropship Order Created</title>'
        f"<published>{updated}</published><updated>{updated}</updated>"
        f'<content type="application/xml">{content}</content></entry>'
    )


def a_page(
    entries: Sequence[str] = (),
    *,
    page_id: str | None = "current",
    prev: str | None = None,
    base: str = PRODUCTION,
) -> bytes:
    """A page with its entries in document order, newest first; its links name production, as in the samples."""
    links = {"current": NOTIFICATIONS}
    if page_id is not None:
        links["self"] = f"{NOTIFICATIONS}/Pages({page_id})"
    if prev is not None:
        links["prev-archive"] = f"{NOTIFICATIONS}/Pages({prev})"
    written = "".join(f'<link rel="{rel}" href="{base}/{path}" />' for rel, path in links.items())
    return (
        '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        f'<title type="text">Dropship Order Event Feed</title><id>urn:uuid:5d0c</id>'
        f"<updated>2024-05-14T16:02:11Z</updated><author><name>iQmetrix</name></author>{written}"
        f"{''.join(entries)}</feed>"
    ).encode()


def settings(**values: Any) -> Iqmetrix:
    """The settings of the account."""
    return Iqmetrix.model_validate(
        {
            "base_url": BASE,
            "token_url": TOKEN_URL,
            "supplier_id": int(SUPPLIER),
            "username": "ops@northfork.example",
            "password": "s3cret-password",
            "client_id": "northfork",
            "client_secret": "s3cret-client",
            "currency": "USD",
            "tracking_sites": {"UPS": "www.ups.com"},
            **values,
        }
    )


def details(*quantities: int) -> OrderCreated:
    """An order of lines A, B, … with these quantities."""
    return OrderCreated(
        order_id=ORDER_ID,
        source="iqmetrix",
        source_account=SUPPLIER,
        source_order_id=SOURCE_ORDER_ID,
        source_event_id="urn:uuid:1",
        created_at=NOW,
        lines=tuple(
            OrderLine(line_id=letter, sku=f"SKU-{letter}", catalog_id=f"cat-{letter}", quantity=quantity)
            for letter, quantity in zip("ABCDEF", quantities, strict=False)
        ),
    )


_TYPES: dict[type[Any], str] = {
    OrderCreated: "order.created",
    OrderAccepted: "order.accepted",
    OrderShipped: "order.shipped",
    OrderCancelled: "order.cancelled",
    OrderBackordered: "order.backordered",
    OrderFailed: "order.failed",
}


def an_event(data: Any, event_id: str = "event-1") -> AnyEvent:
    """An event about the order."""
    return Event(
        id=event_id, type=_TYPES[type(data)], source="/tests", subject=data.order_id, time=NOW, data=data
    )


def shipped(*packages: dict[str, Any], event_id: str = "ship-1") -> AnyEvent:
    """Parcels left; a package is UPS unless it says otherwise."""
    written = [{"carrier": "UPS", **package} for package in packages]
    return an_event(OrderShipped.model_validate({"order_id": ORDER_ID, "packages": written}), event_id)


def cancelled(*lines: dict[str, Any], event_id: str = "cancel-1", reason: str | None = None) -> AnyEvent:
    """Lines are given up; none: all that is left."""
    data = OrderCancelled.model_validate({"order_id": ORDER_ID, "lines": lines or None, "reason": reason})
    return an_event(data, event_id)


def backordered(*line_ids: str, message: str | None = None, event_id: str = "back-1") -> AnyEvent:
    """Lines are out of stock."""
    lines = [{"line_id": line_id} for line_id in line_ids] or None
    data = OrderBackordered.model_validate({"order_id": ORDER_ID, "lines": lines, "message": message})
    return an_event(data, event_id)


def failed(status: str, *line_ids: str, message: str | None = None, event_id: str = "fail-1") -> AnyEvent:
    """Something is wrong with lines."""
    lines = [{"line_id": line_id} for line_id in line_ids] or None
    data = OrderFailed.model_validate(
        {"order_id": ORDER_ID, "lines": lines, "status": status, "message": message}
    )
    return an_event(data, event_id)


def accepted(event_id: str = "accept-1") -> AnyEvent:
    """The supplier commits to the order."""
    return an_event(OrderAccepted(order_id=ORDER_ID), event_id)
