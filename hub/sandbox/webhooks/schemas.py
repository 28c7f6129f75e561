"""The four webhook bodies as a strict receiver validates them.

Optoro Drop Ship webhooks, field reference, v1.0.0, and the OpenAPI documents of the drop ship webhooks and of the disposition update.
Objects are closed everywhere, also where the documents leave a root open, because a sender has nothing to put there. The published
schema of the partial cancellation cannot be satisfied (its required names stand outside the object that holds them); here they are
required inside `order`, and nothing else may stand at the root.
"""

import re
from datetime import date, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["SCHEMAS", "Webhook", "faults_of"]

Webhook = Literal["confirmation", "cancellation", "partial_cancellation", "disposition"]

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _utc(value: str) -> str:
    if not _UTC.fullmatch(value):
        raise ValueError("expected a date-time in UTC")
    datetime.fromisoformat(value)
    return value


def _without_zone(value: str) -> str:
    if not _LOCAL.fullmatch(value):
        raise ValueError("expected YYYY-MM-DDTHH:MM:SS without a zone")
    datetime.fromisoformat(value)
    return value


def _day(value: str) -> str:
    if not _DATE.fullmatch(value):
        raise ValueError("expected YYYY-MM-DD")
    date.fromisoformat(value)
    return value


UtcText = Annotated[str, AfterValidator(_utc)]
ZonelessText = Annotated[str, AfterValidator(_without_zone)]
DayText = Annotated[str, AfterValidator(_day)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
ShippingMethod = Literal["STANDARD", "EXPRESS", "OVERNIGHT", "FREIGHT", "PICK-UP"]
Condition = Literal["N", "TT", "R", "A", "B", "C", "X"]


class Closed(BaseModel):
    """An object that allows its documented fields only, in their documented JSON types; null is no string."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ShipmentItem(Closed):
    """One shipped line; `client_identifier` is the order line's."""

    id: Count = 1
    client_identifier: str
    quantity: Count
    created_at: UtcText = "1970-01-01T00:00:00Z"
    updated_at: UtcText = "1970-01-01T00:00:00Z"


class Shipment(Closed):
    """One parcel; `client_identifier` is the order's, `billed_weight` in pounds."""

    id: int = 0
    client_identifier: str
    channel: str
    carrier: str
    shipping_method: str
    tracking_number: str
    billed_weight: float
    shipping_cost_cents: int
    packing_slip_identifier: str = ""
    shipment_items: list[ShipmentItem]
    created_at: UtcText = "1970-01-01T00:00:00Z"
    updated_at: UtcText = "1970-01-01T00:00:00Z"


class Confirmation(Closed):
    """Body of `drop_shipment_confirmation`."""

    shipment: Shipment


class Address(Closed):
    """Billing or shipping address; every field may be left out."""

    id: int = 0
    name: str = ""
    company: str = ""
    telephone_number: str = ""
    street: str = ""
    street2: str = ""
    city: str = ""
    state: str = ""
    zip_code: str = ""
    country: str = ""
    created_at: UtcText = "1970-01-01T00:00:00Z"
    updated_at: UtcText = "1970-01-01T00:00:00Z"


class CancelledItem(Closed):
    """One line of a cancelled order; prices and taxes for the whole quantity."""

    id: int = 0
    client_identifier: str
    sku: str
    brand: str
    condition: str
    quantity: int
    price_cents: int
    tax_cents: int
    shipping_cost_cents: int
    shipping_tax_cents: int
    status: str
    comments: str = ""


class CancelledOrder(Closed):
    """A whole order that was rejected or cancelled."""

    id: int = 0
    client_identifier: str
    billing_address: Address
    shipping_address: Address
    brand: str
    shipping_method: ShippingMethod
    status: str
    price_cents: int
    tax_cents: int
    processing_fee_cents: int = 0
    shipping_cost_cents: int
    shipping_tax_cents: int
    comments: str = ""
    expected_delivery_date: DayText = "1970-01-01"
    signature_required: bool = False
    packing_slip_identifier: str = ""
    reject_reason: str = ""
    order_items: list[CancelledItem]
    created_at: UtcText = "1970-01-01T00:00:00Z"
    updated_at: UtcText = "1970-01-01T00:00:00Z"


class Cancellation(Closed):
    """Body of `drop_shipment_cancellation`."""

    order: CancelledOrder


class PartlyCancelledItem(Closed):
    """One line with something cancelled; `quantity` is what was ordered."""

    id: int = 0
    client_identifier: str
    status: str
    quantity: int
    cancelled_quantity: Count

    @model_validator(mode="after")
    def _no_more_than_ordered(self) -> Self:
        if self.cancelled_quantity > self.quantity:
            raise ValueError("cancelled_quantity must not exceed quantity")
        return self


class PartlyCancelledOrder(Closed):
    """An order of which one or more lines, or part of a line, were cancelled."""

    id: int = 0
    client_identifier: str
    status: str
    order_items: list[PartlyCancelledItem]


class PartialCancellation(Closed):
    """Body of `drop_shipment_partial_cancellation`."""

    order: PartlyCancelledOrder


class Disposition(Closed):
    """Body of `dispositions`: a unit moved from one disposition to another; names of dispositions are an open list."""

    from_disposition: Name
    to_disposition: Name
    timestamp: ZonelessText
    location_identifier: str
    warehouse_identifier: str
    optiturn_lp: str
    program_identifier: str
    upc: str
    from_condition: Condition
    to_condition: Condition
    from_sku: str = ""
    to_sku: str = ""
    sku: str = ""
    reference_unit_identifier: str = ""
    store_identifier: str = ""
    user_login: str = ""


SCHEMAS: Final[dict[Webhook, type[Closed]]] = {
    "confirmation": Confirmation,
    "cancellation": Cancellation,
    "partial_cancellation": PartialCancellation,
    "disposition": Disposition,
}


def faults_of(webhook: Webhook, body: bytes) -> list[dict[str, str]]:
    """Validate a body and return its faults as the documented `errors` list: `field` (JSON path) and `code`."""
    try:
        SCHEMAS[webhook].model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return [{"field": _path(fault["loc"]), "code": _code(fault["type"])} for fault in faults]
    return []


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def _code(kind: str) -> str:
    if kind == "missing":
        return "missing_field"
    return "invalid_type" if kind.endswith(("_type", "_from_float")) else "invalid"
