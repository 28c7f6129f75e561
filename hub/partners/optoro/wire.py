"""The four webhooks as the receivers know them: closed models, in the words of Optoro's documents.

Source: "Optoro Drop Ship webhooks v1.0.0" for the first three, "Optoro Disposition Update" for the last. The objects
of those documents are closed (``additionalProperties: false``), so a key that is not here must never be sent: ids
of the hub travel in headers. ``id`` is the sender's own key, which the documents call unreliable: it is not modeled.

``translate`` fills these models and ``encode`` turns them into bytes, once per webhook. Nothing here knows the
canonical events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from hub.models.events import Condition
from hub.models.types import utc_text

Text = Annotated[str, StringConstraints(min_length=1)]
"""A text that says something and can be written as UTF-8."""

# Beyond 2**53 a receiver that reads JSON numbers as doubles sees another amount.
Cents = Annotated[int, Field(ge=0, le=2**53)]
"""An amount of money in cents."""

Units = Annotated[int, Field(ge=1, le=2**53)]
"""A number of units, at least one."""

Moment = Annotated[datetime, PlainSerializer(utc_text)]
"""A moment, written as ``2024-05-15T14:20:05Z``."""

ShippingMethod = Literal["STANDARD", "EXPRESS", "OVERNIGHT", "FREIGHT", "PICK-UP"]


def zoneless_text(moment: datetime) -> str:
    """Render a moment in UTC as ``YYYY-MM-DDTHH:MM:SS``, without a zone, as the Disposition Update wants it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[: len("YYYY-MM-DDTHH:MM:SS")]


ZonelessMoment = Annotated[datetime, PlainSerializer(zoneless_text)]
"""A moment in UTC, written as ``2024-05-16T11:03:27``."""


class Closed(BaseModel):
    """An object that takes no other keys than its own; an optional value that is unknown is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShipmentItem(Closed):
    """Units of one order line in the parcel; ``client_identifier`` is the line's."""

    client_identifier: Text
    quantity: Units
    created_at: Moment | None = None
    updated_at: Moment | None = None


class Shipment(Closed):
    """One parcel; ``client_identifier`` is the order's, the weight is in pounds, ``shipping_method`` is free text."""

    client_identifier: Text
    channel: Text
    carrier: Text
    shipping_method: Text
    tracking_number: Text
    billed_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    shipping_cost_cents: Cents
    packing_slip_identifier: Text | None = None
    shipment_items: tuple[ShipmentItem, ...]
    created_at: Moment | None = None
    updated_at: Moment | None = None


class DropShipmentConfirmation(Closed):
    """A parcel left the warehouse: one message per parcel, since it holds one tracking number."""

    shipment: Shipment


class Address(Closed):
    """A postal address; every field may be unknown, and so the whole address may be ``{}``."""

    name: Text | None = None
    company: Text | None = None
    telephone_number: Text | None = None
    street: Text | None = None
    street2: Text | None = None
    city: Text | None = None
    state: Text | None = None
    zip_code: Text | None = None
    country: Text | None = None


class CancelledItem(Closed):
    """One line of a cancelled order; the amounts are for its whole quantity. It has no timestamps."""

    client_identifier: Text
    sku: Text
    brand: Text
    condition: Text
    quantity: Units
    price_cents: Cents
    tax_cents: Cents
    shipping_cost_cents: Cents
    shipping_tax_cents: Cents
    status: Text
    comments: Text | None = None


class CancelledOrder(Closed):
    """An order that was cancelled as a whole; ``shipping_method`` is one of five words."""

    client_identifier: Text
    billing_address: Address
    shipping_address: Address
    brand: Text
    shipping_method: ShippingMethod
    status: Text
    price_cents: Cents
    tax_cents: Cents
    processing_fee_cents: Cents | None = None
    shipping_cost_cents: Cents
    shipping_tax_cents: Cents
    comments: Text | None = None
    packing_slip_identifier: Text | None = None
    reject_reason: Text | None = None
    order_items: tuple[CancelledItem, ...]
    created_at: Moment | None = None
    updated_at: Moment | None = None


class DropShipmentCancellation(Closed):
    """Every unit of the order was rejected or cancelled."""

    order: CancelledOrder


class PartlyCancelledItem(Closed):
    """One line with units that will not come; ``quantity`` is what was ordered."""

    client_identifier: Text
    status: Text
    quantity: Units
    cancelled_quantity: Units


class PartlyCancelledOrder(Closed):
    """The lines with something cancelled, and the state of the rest of the order."""

    client_identifier: Text
    status: Text
    order_items: tuple[PartlyCancelledItem, ...]


class DropShipmentPartialCancellation(Closed):
    """Some units of the order were cancelled.

    The published schema asks for the three fields beside ``order`` and forbids them there at once, which no document
    can satisfy. They are sent inside ``order``, as the document's own rendering shows them.
    """

    order: PartlyCancelledOrder


class DispositionUpdate(Closed):
    """A unit moved from one disposition to another: a flat object.

    Conditions are a declared enum. Dispositions are an open list: the document's own sample has one that its list
    lacks.
    """

    from_disposition: Text
    to_disposition: Text
    timestamp: ZonelessMoment
    location_identifier: Text
    warehouse_identifier: Text
    optiturn_lp: Text
    program_identifier: Text
    from_sku: Text | None = None
    to_sku: Text | None = None
    upc: Text
    from_condition: Condition
    to_condition: Condition
    reference_unit_identifier: Text | None = None
    store_identifier: Text | None = None
    user_login: Text | None = None


def encode(webhook: Closed) -> bytes:
    """Return the bytes to send: JSON in the order of the fields, unknown values left out, never ``null``."""
    return webhook.model_dump_json(exclude_none=True).encode()


def _names_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _names_of(part)


FIELD_NAMES = frozenset(
    name
    for model in (
        DropShipmentConfirmation,
        DropShipmentCancellation,
        DropShipmentPartialCancellation,
        DispositionUpdate,
    )
    for name in _names_of(model)
)
"""Every field of the four webhooks: what a receiver may name in an answer."""
