"""What the world tells the hub: the payloads of ``hub.fulfillment``.

What was valid once stays valid: fields are added, optional ones; none is removed or narrowed. One exception was made: an
empty list, which once stood for "all that is left", is refused.
A rule over several fields stands twice, as a validator and as the same rule in JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from hub.models.payload import Cents, Count, Items, Measured, OrderPayload, Payload, Quantity, SomeItems
from hub.models.types import AnyText, Remark, Reported, Text

_SENTENCE = "free text for people; may have several lines"


def _given(name: str) -> dict[str, Any]:
    """In JSON Schema: the field is there, and not null."""
    return {"required": [name], "properties": {name: {"type": "string"}}}


class LineRef(Payload):
    """Names a line by ``line_id``, or by a ``sku`` that only one line of the order has."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_given("line_id"), _given("sku")]})

    line_id: Text | None = Field(default=None, description="the line's id from order.created")
    sku: Text | None = Field(
        default=None, description="instead of line_id, where one line alone has this SKU"
    )

    @model_validator(mode="after")
    def _names_a_line(self) -> LineRef:
        if self.line_id is None and self.sku is None:
            raise ValueError("expected line_id or sku, got neither")
        return self


class LineQuantity(LineRef):
    """A line and how many units of it."""

    quantity: Quantity = Field(description="units of the line")


class ShippedPackage(Payload):
    """One parcel. Without ``items`` in the only parcel: all that is left of the order."""

    package_id: Text | None = Field(
        default=None, description="your id of the parcel, new for each; absent: made from the event's id"
    )
    carrier: Text = Field(description="carrier by the name that partners know: UPS")
    service: Text | None = Field(default=None, description="the carrier's service: Ground")
    tracking_number: Text = Field(description="one tracking number")
    weight_lb: Annotated[float, Field(ge=0, allow_inf_nan=False), Measured] | None = Field(
        default=None,
        description="billed weight in pounds; a webhook client needs it, or weight_lb in its defaults",
    )
    shipping_cost_cents: Cents | None = Field(
        default=None,
        description="what shipping this package cost; a webhook client needs it, or package_cost_cents in its defaults",
    )
    items: SomeItems[LineQuantity] | None = Field(
        default=None, description="what is in it; required as soon as the event has several packages"
    )


class OrderAccepted(OrderPayload):
    """The supplier commits to the order."""


# The same as the validator below it, in JSON Schema.
_ITEMS_IN_EACH_OF_SEVERAL: dict[str, Any] = {
    "if": {"properties": {"packages": {"type": "array", "minItems": 2}}},
    "then": {
        "properties": {
            "packages": {
                "items": {"required": ["items"], "properties": {"items": {"type": "array", "minItems": 1}}}
            }
        }
    },
}


class OrderShipped(OrderPayload):
    """One or more parcels left the warehouse. Parcels of one order may come in several events, in any order."""

    model_config = ConfigDict(json_schema_extra=_ITEMS_IN_EACH_OF_SEVERAL)

    shipped_at: Reported | None = Field(
        default=None, description="when they left; absent: the time of the event"
    )
    packages: SomeItems[ShippedPackage] = Field(description="the parcels that left")

    @model_validator(mode="after")
    def _items_may_be_absent_in_the_only_package(self) -> OrderShipped:
        if len(self.packages) > 1:
            for position, package in enumerate(self.packages):
                if not package.items:
                    raise ValueError(
                        f"packages.{position}.items: expected items, since there is more than one package"
                    )
        return self


class CancelledLine(LineRef):
    """A line and how many units of it will not come."""

    quantity: Quantity | None = Field(
        default=None, description="units that will not come; absent: all that is left of the line"
    )
    reason: Remark | None = Field(default=None, description=f"why; {_SENTENCE}")


class Charges(Payload):
    """What was charged for a cancelled order, in cents; webhook clients hear of it."""

    tax_cents: Cents | None = Field(default=None, description="tax on the articles")
    shipping_cost_cents: Cents | None = Field(default=None, description="shipping")
    shipping_tax_cents: Cents | None = Field(default=None, description="tax on shipping")
    processing_fee_cents: Cents | None = Field(default=None, description="fee of the whole order")
    lines: Mapping[AnyText, Charges] | None = Field(
        default=None, description="the same by line_id, where it is known for each line"
    )


class OrderCancelled(OrderPayload):
    """Lines, parts of lines or (without ``lines``) all that is left will not be shipped."""

    reason: Remark | None = Field(
        default=None, description=f"why, for lines without a reason of their own; {_SENTENCE}"
    )
    lines: SomeItems[CancelledLine] | None = Field(
        default=None, description="what will not come; absent: all that is left of the order"
    )
    charges: Charges | None = Field(default=None, description="what was charged")


class OrderBackordered(OrderPayload):
    """Lines (without ``lines``: all) are temporarily out of stock."""

    lines: SomeItems[LineRef] | None = Field(default=None, description="which lines; absent: all")
    message: Remark | None = Field(default=None, description=_SENTENCE)
    estimated_ship_date: Reported | None = Field(default=None, description="when they are expected to leave")


class OrderShipDateEstimated(OrderPayload):
    """When lines (without ``lines``: all) are expected to leave."""

    estimated_ship_date: Reported = Field(description="when they are expected to leave")
    lines: SomeItems[LineRef] | None = Field(default=None, description="which lines; absent: all")


class OrderFailed(OrderPayload):
    """Something is wrong with lines (without ``lines``: all) that a person must sort out."""

    status: Literal["Error", "NotAvailable", "Other"] = Field(description="what iQmetrix is told")
    lines: SomeItems[LineRef] | None = Field(default=None, description="which lines; absent: all")
    message: Remark | None = Field(default=None, description=_SENTENCE)


class StockCount(Payload):
    """How many units of one SKU can be sold."""

    sku: Text = Field(description="the supplier's SKU")
    quantity: Count = Field(description="units that can be sold; a negative count is read as none")


class InventoryCounted(Payload):
    """New stock counts, for all partners or those listed. An older count never overwrites a newer one."""

    items: SomeItems[StockCount] = Field(description="counts; SKUs that are not named stay as they are")
    sources: Items[AnyText] | None = Field(
        default=None, description="the partners to tell: iqmetrix, retailops; absent: all"
    )


Condition = Literal["N", "TT", "R", "A", "B", "C", "X"]


class UnitDispositionChanged(Payload):
    """One unit moved from one disposition to another (Optoro Disposition Update)."""

    from_disposition: Text = Field(description="name of the disposition it had")
    to_disposition: Text = Field(description="name of the disposition it has now")
    timestamp: Reported | None = Field(default=None, description="when; absent: the time of the event")
    location_identifier: Text | None = Field(default=None, description="where; absent: the client's default")
    warehouse_identifier: Text | None = Field(default=None, description="likewise")
    optiturn_lp: Text = Field(description="license plate of the unit")
    program_identifier: Text | None = Field(default=None, description="absent: the client's default")
    upc: Text = Field(description="UPC of the unit")
    from_condition: Condition = Field(description="condition it had, by Optoro's codes")
    to_condition: Condition = Field(description="condition it has now, by Optoro's codes")
    from_sku: Text | None = Field(default=None, description="SKU it had")
    to_sku: Text | None = Field(default=None, description="SKU it has now")
    reference_unit_identifier: Text | None = Field(
        default=None, description="the client's own id of the unit"
    )
    store_identifier: Text | None = Field(default=None, description="store it came from")
    user_login: Text | None = Field(default=None, description="who moved it")
    clients: Items[AnyText] | None = Field(
        default=None, description="names of the webhook clients to tell; absent: all"
    )
