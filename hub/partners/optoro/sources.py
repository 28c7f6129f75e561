"""Where each required value of a webhook could come from, in the words of whoever has to give it.

Read only when a value is missing, for the text of the error. A field that is not in the table is always known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DEFAULTS = "[webhooks.defaults]"

_ORDER_NUMBER = 'order_number of order.created, or set identify_orders_by = "source_order_id"'
_SHIPPING_METHOD = (
    f"shipping_method_code of order.created in [webhooks.shipping_methods], or shipping_method in {DEFAULTS}"
)
_PRICE = f"unit_price_cents of order.created, or price_cents in {DEFAULTS}"

# By the path in the body, without positions; {n} is the position of the package in the event.
WHERE_FROM: Mapping[str, str] = {
    "shipment.client_identifier": _ORDER_NUMBER,
    "shipment.channel": f"channel in {DEFAULTS}",
    "shipment.shipping_method": f"packages.{{n}}.service of order.shipped, or {_SHIPPING_METHOD}",
    "shipment.billed_weight": f"packages.{{n}}.weight_lb of order.shipped, or weight_lb in {DEFAULTS}",
    "shipment.shipping_cost_cents": (
        f"packages.{{n}}.shipping_cost_cents of order.shipped, or package_cost_cents in {DEFAULTS}"
    ),
    "order.client_identifier": _ORDER_NUMBER,
    "order.brand": f"brand in {DEFAULTS}",
    "order.shipping_method": _SHIPPING_METHOD,
    "order.price_cents": _PRICE,
    "order.tax_cents": f"charges.tax_cents of order.cancelled, or tax_cents in {DEFAULTS}",
    "order.shipping_cost_cents": (
        f"charges.shipping_cost_cents of order.cancelled, or shipping_cost_cents in {DEFAULTS}"
    ),
    "order.shipping_tax_cents": f"charges.shipping_tax_cents of order.cancelled, or shipping_tax_cents in {DEFAULTS}",
    "order.order_items.brand": f"brand in {DEFAULTS}",
    "order.order_items.condition": f"condition in {DEFAULTS}",
    "order.order_items.price_cents": _PRICE,
    "order.order_items.tax_cents": (
        f"charges.lines.<line_id>.tax_cents of order.cancelled, or tax_cents in {DEFAULTS}"
    ),
    "order.order_items.shipping_cost_cents": (
        f"charges.lines.<line_id>.shipping_cost_cents of order.cancelled, or shipping_cost_cents in {DEFAULTS}"
    ),
    "order.order_items.shipping_tax_cents": (
        f"charges.lines.<line_id>.shipping_tax_cents of order.cancelled, or shipping_tax_cents in {DEFAULTS}"
    ),
    "location_identifier": f"location_identifier of unit.disposition_changed, or in {DEFAULTS}",
    "warehouse_identifier": f"warehouse_identifier of unit.disposition_changed, or in {DEFAULTS}",
    "program_identifier": f"program_identifier of unit.disposition_changed, or in {DEFAULTS}",
}


def where_from(path: Iterable[int | str], package: int) -> str:
    """Say where the value of a field could come from; ``package`` is the package's position, counted from 0."""
    names = [part for part in path if isinstance(part, str)]
    return WHERE_FROM.get(".".join(names), names[-1]).replace("{n}", str(package))
