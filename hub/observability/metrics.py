"""What the hub counts about itself: every metric there is, in one list (Prometheus, ``/metrics`` of each process).

Labels are names of the hub's own (queues, pollers, partners, operations, event types): never an order, an address or
anything that a message brought along, so that their number is bounded by settings and code. Ages are counted when they
are read, so that a loop that hangs cannot make one look young. What several processes see alike (the queues) is
aggregated with ``max``; what each does by itself is added up. ``monitoring/alerts.yml`` reads these names.
"""

from __future__ import annotations

import asyncio
import platform
import time
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import prometheus_client
from prometheus_client import Gauge, Info, disable_created_metrics

from hub.models.settlement import SettlementState

# A time of creation beside every counter would double the number of series, and nothing reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Seconds. Partner calls and handling: from a quick answer to the longest time limit of a call.
_CALL_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Seconds. A commit is one wait for the disk; a locked file waits for ``state.busy_timeout``.
_WRITE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Counter(prometheus_client.Counter):
    """A counter that finds its child for the same labels again at once: the library locks and checks each time."""

    @cache  # noqa: B019 (a metric lives as long as the process, and its labels are few)
    def labels(self, *values: str) -> Counter:
        """Return the child for these values."""
        return super().labels(*values)


class Histogram(prometheus_client.Histogram):
    """A histogram that finds its child for the same labels again at once."""

    @cache  # noqa: B019
    def labels(self, *values: str) -> Histogram:
        """Return the child for these values."""
        return super().labels(*values)


class Age:
    """A gauge of seconds since a moment, counted whenever it is read."""

    def __init__(self, name: str, documentation: str, label: str) -> None:
        self._gauge = Gauge(name, documentation, [label])

    def since(self, label: str, moment: datetime) -> None:
        """Count from ``moment`` on."""
        begun = moment.timestamp()
        self._gauge.labels(label).set_function(lambda: max(time.time() - begun, 0.0))

    def forget(self, label: str) -> None:
        """Show no age any more: it is somebody else's now."""
        with suppress(KeyError):
            self._gauge.remove(label)


# --- what this is

BUILD = Info("hub_build", "Version of the hub and of its Python")
try:
    BUILD.info({"version": version("dropship-hub"), "python": platform.python_version()})
except PackageNotFoundError:
    BUILD.info({"version": "unknown", "python": platform.python_version()})

# --- the process


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        # Read where no loop runs, by a test or a command: there are none then.
        return 0.0


TASKS = Gauge("hub_tasks", "Tasks of the event loop, those of deliveries among them; at rest always the same")
TASKS.set_function(_tasks)

# --- events and deliveries

LOG_LINES_DROPPED = Counter(
    "hub_log_lines_dropped", "Log lines that standard error did not take in time, or not at all"
)
PUBLISHED = Counter("hub_events_published", "Events published and confirmed", ["type"])
CONSUMED = Counter("hub_events_consumed", "Events handed to a consumer, first attempts", ["type", "consumer"])
DELIVERIES = Counter("hub_deliveries", "Deliveries settled", ["queue", "outcome"])
RETRIES = Counter("hub_retries", "Messages sent to a wait rung", ["queue"])
LETTERS = Counter("hub_letters", "Messages sent to a dead-letter queue", ["queue"])
INVALID = Counter("hub_invalid_messages", "Messages that break the contract of their type", ["queue"])
BATCHES = Counter(
    "hub_batches", "Batches of deliveries, by why they went (full, late)", ["consumer", "because"]
)
HANDLING = Histogram(
    "hub_handling_seconds", "Time from delivery to settlement", ["queue"], buckets=_CALL_BUCKETS
)
IN_FLIGHT = Gauge("hub_in_flight", "Deliveries being handled", ["queue"])
OLDEST_DELIVERY = Gauge(
    "hub_oldest_delivery_age_seconds", "Age of the oldest delivery that is not settled; 0: none", ["queue"]
)

# --- partner calls

PARTNER_CALLS = Counter(
    "hub_partner_calls",
    "Partner calls by how they ended; operation=token: tokens asked for",
    ["partner", "operation", "outcome"],
)
PARTNER_SECONDS = Histogram(
    "hub_partner_call_seconds",
    "Time of partner calls, with the wait for a connection and for a token",
    ["partner", "operation"],
    buckets=_CALL_BUCKETS,
)
REPEATED = Counter("hub_repeated_effects", "Partner calls not made, since the ledger has them")

DESTINATION_UP = Gauge(
    "hub_destination_up", "0 while an account or client is away, and its work waits", ["destination"]
)
OUTAGES = Counter("hub_outages", "Times an account or client was found away", ["destination"])
QUEUE_HELD = Gauge(
    "hub_queue_held",
    "1 while a work queue waits, since all whom its work is for, or the state store, are away",
    ["queue"],
)

# --- polling

POLLS = Counter("hub_polls", "Polls by result", ["poller", "result"])
POLL_RESULTS = ("ok", "failed", "held")
TAKEN_IN = Counter("hub_taken_in", "Items that polls brought, by what became of them", ["poller", "fate"])
INGEST_OUTCOMES = ("published", "duplicates", "set_aside", "skipped")
LAST_POLL = Gauge("hub_last_poll_timestamp_seconds", "When the poller last ended a poll well", ["poller"])
CURSOR_AGE = Age("hub_cursor_age_seconds", "Since the poller last committed its cursor", "poller")
POLL_LAG = Age("hub_poll_lag_seconds", "Since the newest entry was made; grows while nobody orders", "poller")
POLLER_SILENT = Gauge(
    "hub_poller_silent",
    "1 while polls end well and bring nothing for longer than this poller's habit",
    ["poller"],
)
VALIDATOR_MISMATCH = Counter(
    "hub_feed_validator_mismatch", "Times that a feed was called unchanged and was not", ["poller"]
)
FEED_ALARM = Gauge("hub_feed_held", "1 while a broken archive chain holds the cursor", ["poller"])
UPDATES_UNECHOED = Gauge(
    "hub_updates_unechoed",
    "Orders whose last status update iQmetrix accepted, and its feed has not shown in time",
    ["account"],
)
PURCHASE_ORDER_STATES = ("due", "not_due", "undated", "overdue")
PURCHASE_ORDERS = Gauge(
    "hub_purchase_orders",
    f"Purchase orders in the last pass ({', '.join(PURCHASE_ORDER_STATES)})",
    ["poller", "state"],
)

# --- broker

BROKER_UP = Gauge("hub_broker_up", "1 while the broker is connected and all consumers run")
RECONNECTS = Counter("hub_broker_reconnects", "Times the broker connection was rebuilt")
QUEUE_MESSAGES = Gauge(
    "hub_queue_messages",
    "Messages ready in a queue (kind: work, dead, wait, unroutable; orphan: it is not in the topology any more);"
    " the same in every process",
    ["queue", "kind", "orphan"],
)
QUEUE_CONSUMERS = Gauge(
    "hub_queue_consumers",
    "Consumers that the broker lists for a work queue; the same in every process",
    ["queue"],
)

# --- state store

STORE_WRITES = Histogram(
    "hub_store_write_seconds", "Time of a transaction of the state store", buckets=_WRITE_BUCKETS
)
STORE_FAILURES = Counter(
    "hub_store_failures", "Times that the state store did not answer or refused to write"
)


def expect_queue(queue: str) -> None:
    """Begin the counters of a work queue at zero, so that the first letter is a rise from something."""
    for outcome in SettlementState:
        DELIVERIES.labels(queue, outcome)
    for counter in (RETRIES, LETTERS, INVALID):
        counter.labels(queue)


def expect_poller(poller: str) -> None:
    """Begin the counters of a poller at zero."""
    for result in POLL_RESULTS:
        POLLS.labels(poller, result)
    for outcome in INGEST_OUTCOMES:
        TAKEN_IN.labels(poller, outcome)
    VALIDATOR_MISMATCH.labels(poller)
    POLLER_SILENT.labels(poller)
    FEED_ALARM.labels(poller)
