"""What each webhook says: one function per object of the documents, giving its values before they are checked.

Called by ``translate``, which checks and encodes them. None stands for a value that nobody knows: neither the event,
nor the order, nor the client's ``defaults``. Amounts are in cents, weights in pounds.

Sources: "Optoro Drop Ship webhooks v1.0.0" and "Optoro Disposition Update".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hub.config.webhooks import WebhookClient
from hub.models.events import (
    Address,
    Charges,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    UnitDispositionChanged,
)
from hub.models.order import Applied, Package

CANCELLED = "cancelled"
Values = dict[str, Any]
# Partners whose orders carry no price: RetailOps names none in a PO.
_WITHOUT_PRICES = frozenset({"retailops"})

# --- confirmation ------------------------------------------------------------------------------------------


def shipment(details: OrderCreated, package: Package, client: WebhookClient) -> Values:
    """Return one parcel as shipped."""
    at = {"created_at": package.shipped_at, "updated_at": package.shipped_at}
    return {
        "client_identifier": _order_identifier(details, client),
        "channel": client.defaults.channel,
        "carrier": package.carrier,
        "shipping_method": _service(package) or _shipping_method(details, client),
        "tracking_number": package.tracking_number,
        "billed_weight": client.defaults.weight_lb if package.weight_lb is None else package.weight_lb,
        "shipping_cost_cents": _first(package.shipping_cost_cents, client.defaults.package_cost_cents),
        "packing_slip_identifier": details.order_number,
        "shipment_items": [
            {"client_identifier": item.line_id, "quantity": item.quantity, **at} for item in package.items
        ],
        **at,
    }


def _service(package: Package) -> str | None:
    """``UPS`` and ``Ground`` are ``UPS Ground``; a service that names its carrier already stands alone."""
    if not package.service or package.service.casefold().startswith(f"{package.carrier} ".casefold()):
        return package.service
    return f"{package.carrier} {package.service}"


# --- cancellations -----------------------------------------------------------------------------------------


def cancelled_order(
    details: OrderCreated, applied: Applied, cancelled: OrderCancelled, client: WebhookClient, *, at: datetime
) -> Values:
    """Return a whole order that was cancelled ``at`` this moment: all lines, amounts for their whole quantities."""
    charges = cancelled.charges or Charges()
    said = {each.line_id: each.reason for each in applied.cancellations}
    items = [_cancelled_item(line, details.source, said, charges, client) for line in details.lines]
    prices = [item["price_cents"] for item in items]
    address = _address(details.ship_to)
    reasons = dict.fromkeys(each.reason for each in applied.cancellations if each.reason)
    reason = cancelled.reason or "; ".join(reasons)
    return {
        "client_identifier": _order_identifier(details, client),
        # No partner tells a billing address.
        "billing_address": address,
        "shipping_address": address,
        "brand": client.defaults.brand,
        "shipping_method": _shipping_method(details, client),
        "status": CANCELLED,
        "price_cents": None if None in prices else sum(prices),
        "tax_cents": _order_charge("tax_cents", charges, items, client),
        "processing_fee_cents": charges.processing_fee_cents,
        "shipping_cost_cents": _order_charge("shipping_cost_cents", charges, items, client),
        "shipping_tax_cents": _order_charge("shipping_tax_cents", charges, items, client),
        "comments": reason,
        "packing_slip_identifier": details.order_number,
        "reject_reason": reason,
        "order_items": items,
        "created_at": details.created_at,
        "updated_at": at,
    }


def _cancelled_item(
    line: OrderLine, source: str, reasons: Mapping[str, str | None], charges: Charges, client: WebhookClient
) -> Values:
    own, defaults = (charges.lines or {}).get(line.line_id, Charges()), client.defaults
    return {
        "client_identifier": line.line_id,
        "sku": line.sku,
        "brand": defaults.brand,
        "condition": defaults.condition,
        "quantity": line.quantity,
        "price_cents": _price(line, source, client),
        "tax_cents": _first(own.tax_cents, defaults.tax_cents),
        "shipping_cost_cents": _first(own.shipping_cost_cents, defaults.shipping_cost_cents),
        "shipping_tax_cents": _first(own.shipping_tax_cents, defaults.shipping_tax_cents),
        "status": CANCELLED,
        "comments": reasons.get(line.line_id),
    }


def _price(line: OrderLine, source: str, client: WebhookClient) -> int | None:
    """Return what the whole quantity of a line costs, in cents; 0 where its partner never tells a price."""
    if line.unit_price_cents is not None:
        return line.unit_price_cents * line.quantity
    unpriced = 0 if source in _WITHOUT_PRICES else None
    return _first(line.line_total_cents, _first(client.defaults.price_cents, unpriced))


def _order_charge(
    name: str, charges: Charges, items: Sequence[Mapping[str, Any]], client: WebhookClient
) -> int | None:
    """A charge of the whole order in cents: as told, else the sum of its lines if those were told."""
    told: int | None = getattr(charges, name)
    if told is None and any(getattr(own, name) is not None for own in (charges.lines or {}).values()):
        of_lines = [item[name] for item in items]
        return None if None in of_lines else sum(of_lines)
    default: int | None = getattr(client.defaults, name)
    return _first(told, default)


def partly_cancelled_order(details: OrderCreated, applied: Applied, client: WebhookClient) -> Values:
    """Return the lines of which an event cancelled something, each with its cancelled units so far."""
    return {
        "client_identifier": _order_identifier(details, client),
        "status": applied.rest,
        "order_items": [
            {
                "client_identifier": each.line_id,
                "status": CANCELLED,
                "quantity": each.ordered,
                "cancelled_quantity": each.cumulative,
            }
            for each in applied.cancellations
        ],
    }


# --- disposition -------------------------------------------------------------------------------------------


# Iterating over a model takes as long as validating two.
_OF_THE_UNIT = tuple(name for name in UnitDispositionChanged.model_fields if name != "clients")


def disposition_update(unit: UnitDispositionChanged, client: WebhookClient, *, at: datetime) -> Values:
    """Return the move of one unit; where it is may come from the client's defaults."""
    return {
        **{name: getattr(unit, name) for name in _OF_THE_UNIT},
        "timestamp": unit.timestamp or at,
        "location_identifier": unit.location_identifier or client.defaults.location_identifier,
        "warehouse_identifier": unit.warehouse_identifier or client.defaults.warehouse_identifier,
        "program_identifier": unit.program_identifier or client.defaults.program_identifier,
    }


# --- what several webhooks have in them --------------------------------------------------------------------


def _order_identifier(details: OrderCreated, client: WebhookClient) -> str | None:
    return details.order_number if client.identify_orders_by == "order_number" else details.source_order_id


def _shipping_method(details: OrderCreated, client: WebhookClient) -> str | None:
    return client.shipping_methods.get(details.shipping_method_code or "", client.defaults.shipping_method)


def _address(address: Address | None) -> Values:
    """The examples of the document have two-letter states and countries, so codes go first."""
    if address is None:
        return {}
    return {
        "name": address.name,
        "company": address.company,
        "telephone_number": address.phone,
        "street": address.street1,
        "street2": address.street2,
        "city": address.city,
        "state": address.region_code or address.region,
        "zip_code": address.postal_code,
        "country": address.country_code or address.country,
    }


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
