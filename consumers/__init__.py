"""The table of contents of what the hub does when something happened: one row per consumer.

A row says which work queues a consumer has under given settings, and how its route is built. A new consumer is a file
in this folder and a row here.
"""

from __future__ import annotations

from consumers.iqmetrix import update_availability, update_order_status
from consumers.registration import ConsumerFlow
from consumers.retailops import (
    accept_purchase_orders,
    advise_inventory,
    cancel_purchase_order,
    complete_purchase_order,
    submit_purchase_orders,
    update_ship_dates,
)
from consumers.webhooks import deliver_webhooks

CONSUMERS: tuple[ConsumerFlow, ...] = (
    update_order_status.FLOW,
    update_availability.FLOW,
    submit_purchase_orders.FLOW,
    accept_purchase_orders.FLOW,
    update_ship_dates.FLOW,
    complete_purchase_order.FLOW,
    cancel_purchase_order.FLOW,
    advise_inventory.FLOW,
    deliver_webhooks.FLOW,
)
