"""What producers tell the world: the payloads of ``hub.orders``.

Others read them, and so does the hub, also from letters that are months old. So fields are added, and nothing else.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hub.models.payload import Cents, Count, Items, OrderPayload, Payload, Quantity
from hub.models.types import AnyText, Text, Timestamp


class Address(Payload):
    """Where an order goes. Personal data: keep it out of logs."""

    name: AnyText | None = Field(default=None, description="who receives the parcel")
    company: AnyText | None = Field(default=None, description="company, if the customer is one")
    phone: AnyText | None = Field(default=None, description="as the partner writes it")
    street1: AnyText | None = Field(default=None, description="street and number")
    street2: AnyText | None = Field(default=None, description="second line; a P.O. box stands behind it")
    city: AnyText | None = Field(default=None, description="city or locality")
    region: AnyText | None = Field(default=None, description="state or province in full: Idaho")
    region_code: AnyText | None = Field(default=None, description="its code: ID")
    postal_code: AnyText | None = Field(default=None, description="postal code, as the partner writes it")
    country: AnyText | None = Field(default=None, description="country in full: United States")
    country_code: AnyText | None = Field(default=None, description="its code: US")
    address_type: AnyText | None = Field(
        default=None, description="the partner's own word: Home, Business, Store …"
    )


class Customer(Payload):
    """Who receives an order. Personal data: keep it out of logs."""

    id: AnyText | None = Field(default=None, description="the partner's id of the customer")
    first_name: AnyText | None = Field(default=None, description="first name; of a company its name")
    middle_name: AnyText | None = Field(default=None, description="middle name")
    last_name: AnyText | None = Field(default=None, description="family name")
    title: AnyText | None = Field(default=None, description="form of address: Dr.")
    alternate_name: AnyText | None = Field(default=None, description="another name of the customer")


class Seller(Payload):
    """The retailer's company and store."""

    company_id: AnyText | None = Field(default=None, description="the partner's id of the company")
    location_id: AnyText | None = Field(default=None, description="the partner's id of the store")


class OrderLine(Payload):
    """One ordered article; prices are in cents of the order's currency."""

    line_id: Text = Field(
        description="names the line within its order; what shipments and cancellations refer to"
    )
    sku: Text = Field(description="the supplier's SKU; several lines may have the same")
    catalog_id: AnyText | None = Field(default=None, description="iQmetrix catalog id")
    source_item_id: AnyText | None = Field(default=None, description="the partner's own id of the line")
    description: AnyText | None = Field(default=None, description="name of the article")
    quantity: Quantity = Field(description="units ordered")
    unit_price_cents: Cents | None = Field(default=None, description="price of one unit")
    line_total_cents: Cents | None = Field(default=None, description="price of all units")


class OrderCreated(OrderPayload):
    """A new order from a partner. Published once for each order; the same event id if a crash repeats it."""

    source: AnyText = Field(
        description="the partner: iqmetrix or retailops today, more as partners are added",
        examples=["iqmetrix", "retailops"],
    )
    source_account: Text = Field(
        description="the supplier's account with the partner: supplier id or vendor id"
    )
    source_order_id: Text = Field(description="the partner's order id or PO")
    source_event_id: Text = Field(description="the partner's id of what the event was made from")
    order_number: AnyText | None = Field(default=None, description="the printable number that people use")
    po_reference: AnyText | None = Field(default=None, description="the retailer's purchase order")
    seller: Seller | None = Field(default=None, description="the retailer's company and store")
    created_at: Timestamp = Field(description="when the partner created the order")
    submit_after: Timestamp | None = Field(
        default=None, description="the partner's date_submit; it has passed when the event is published"
    )
    ship_to_store: bool = Field(
        default=False, description="true: to the retailer's store, not to the customer"
    )
    shipping_method_code: AnyText | None = Field(default=None, description="the partner's code: 350")
    ship_to: Address | None = Field(default=None, description="where the order goes; personal")
    customer: Customer | None = Field(default=None, description="who ordered; personal")
    notes: Items[AnyText] = Field(default=(), description="remarks of the customer; may be personal")
    currency: AnyText | None = Field(default=None, description="currency of all prices: USD")
    lines: Annotated[Items[OrderLine], Field(min_length=1)] = Field(description="what was ordered")


class OrderChanged(OrderCreated):
    """The lines of a known order differ from what was seen before: all of its lines, as they are now."""


class StatusLine(Payload):
    """One line of an ``order.status_updated`` event, in the partner's own status names."""

    sku: AnyText | None = Field(default=None, description="the supplier's SKU")
    catalog_id: AnyText | None = Field(default=None, description="iQmetrix catalog id")
    status: AnyText = Field(
        description="the partner's name of the status: Ordered, Shipped, Cancelled …",
        examples=["Ordered", "PartiallyShipped", "Shipped"],
    )
    quantity: Count | None = Field(default=None, description="units that it is about")
    tracking_number: AnyText | None = Field(default=None, description="tracking numbers, joined by commas")
    carrier: AnyText | None = Field(default=None, description="shipping provider")
    message: AnyText | None = Field(default=None, description="free text")


class OrderStatusUpdated(OrderPayload):
    """The partner's feed shows that a status update was applied to an order: ours, or somebody else's."""

    lines: Items[StatusLine] = Field(default=(), description="the lines that the update names")
