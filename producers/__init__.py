"""The table of contents of what the hub asks its partners: one row per polling producer.

A row says which work queue a producer has (for raw entries that come back after a replay), and which pollers run under
given settings, one for each partner account. A new producer is a file in this folder and a row here.
"""

from __future__ import annotations

from producers.iqmetrix import iqmetrix_orders
from producers.registration import ProducerFlow
from producers.retailops import retailops_purchase_orders

PRODUCERS: tuple[ProducerFlow, ...] = (
    iqmetrix_orders.FLOW,
    retailops_purchase_orders.FLOW,
)
