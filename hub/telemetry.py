"""What the hub says about itself: log set-up, the fixed list of event names, redaction, metrics.

One line per settled delivery with all the facts; names from ``LogEvent`` only. Secrets and personal data are kept
out by construction (nothing logs bodies or settings) and, should that fail, by a processor that masks by key.
Order ids are in log lines, never in metric labels.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from enum import StrEnum
from typing import Any, Literal

import orjson
import structlog
from prometheus_client import Counter, Gauge, Histogram


class LogEvent(StrEnum):
    """Every event name that may stand in a log line."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    WAITING_FOR = "waiting_for"
    BROKER_CONNECTED = "broker_connected"
    BROKER_LOST = "broker_lost"
    TOPOLOGY_DECLARED = "topology_declared"
    POLLED = "polled"
    POLL_FAILED = "poll_failed"
    FEED_HELD = "feed_held"
    PURCHASE_ORDERS_STUCK = "purchase_orders_stuck"
    EVENT_PUBLISHED = "event_published"
    SET_ASIDE = "set_aside"
    DELIVERY_SETTLED = "delivery_settled"
    SETTLE_FAILED = "settle_failed"
    HANDLER_CRASHED = "handler_crashed"
    LETTER_REPLAYED = "letter_replayed"
    LETTER_DISCARDED = "letter_discarded"
    LETTER_EDITED = "letter_edited"
    TIMELINE_BEHIND = "timeline_behind"
    TIMELINE_REFUSED = "timeline_refused"
    PRUNED = "pruned"


# Keys whose values never reach an output, wherever they stand in a line.
_PRIVATE = frozenset(
    {
        "authorization", "password", "secret", "client_secret", "api_key", "apikey", "key", "token", "access_token",
        "refresh_token", "signing_secret", "cookie", "url_with_password", "body", "name", "attention_to", "phone",
        "telephone_number", "street", "street1", "street2", "address", "ship_to", "customer", "email",
    }
)  # fmt: skip

Tap = Callable[[Mapping[str, Any]], None]
_taps: list[Tap] = []


def tap(listener: Tap) -> Callable[[], None]:
    """Call ``listener`` with every log line's facts from now on; returns the function that ends it."""
    _taps.append(listener)
    return lambda: _taps.remove(listener)


def _feed_taps(_logger: object, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for listener in tuple(_taps):
        listener(facts)
    return facts


def redact(_logger: object, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the values of private keys (structlog processor)."""
    for key in facts:
        if key.lower() in _PRIVATE:
            facts[key] = "***"
    return facts


def set_up_logging(
    form: Literal["auto", "json", "console"] = "auto",
    level: str = "info",
    *,
    renderer: Callable[[Any, str, MutableMapping[str, Any]], str | bytes] | None = None,
    quiet: bool = False,
) -> None:
    """Configure structlog for the process; lines go to standard error.

    Args:
        form: ``json`` for containers, ``console`` for people, ``auto`` by whether standard error is a terminal.
        level: the least level that is shown.
        renderer: replaces the two renderers, for a command with a form of its own.
        quiet: no line is written; taps still hear everything.
    """
    in_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    last: Any = renderer
    if last is None:
        last = (
            structlog.processors.JSONRenderer(
                serializer=lambda facts, **_: orjson.dumps(facts, default=str).decode()
            )
            if in_json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        )
    if quiet:
        last = _drop
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            _feed_taps,
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # aio_pika drops the close of a connection that never opened; a broker that is away is said once, by us.
    warnings.filterwarnings("ignore", message="coroutine 'Connection.close' was never awaited")
    # Libraries speak through the standard library: only what is wrong is shown, and aiormq repeats what we say.
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s", force=True)
    for chatty in ("aiormq", "aio_pika", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def _drop(_logger: object, _method: str, _facts: MutableMapping[str, Any]) -> str:
    raise structlog.DropEvent


log: structlog.stdlib.BoundLogger = structlog.get_logger()

PUBLISHED = Counter("hub_events_published", "Events published and confirmed", ["type"])
DELIVERIES = Counter("hub_deliveries", "Deliveries settled", ["queue", "outcome"])
RETRIES = Counter("hub_retries", "Messages sent to a wait rung", ["queue"])
LETTERS = Counter("hub_letters", "Messages sent to a dead-letter queue", ["queue"])
HANDLING = Histogram("hub_handling_seconds", "Time from delivery to outcome", ["queue"])
IN_FLIGHT = Gauge("hub_in_flight", "Deliveries being handled", ["queue"])
POLLS = Counter("hub_polls", "Polls by result", ["poller", "result"])
TAKEN_IN = Counter("hub_taken_in", "Items that polls brought, by what became of them", ["poller", "fate"])
LAST_POLL = Gauge("hub_last_poll_timestamp_seconds", "When the poller last ended a poll well", ["poller"])
FEED_ALARM = Gauge("hub_feed_held", "1 while a broken archive chain holds the cursor", ["poller"])
BROKER_UP = Gauge("hub_broker_up", "1 while the broker is connected and all consumers run")
RECONNECTS = Counter("hub_broker_reconnects", "Times the broker connection was rebuilt")
