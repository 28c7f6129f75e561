"""What the hub says about itself: log set-up, the fixed list of event names, redaction.

One line per settled delivery with all the facts; names from ``LogEvent`` only. Secrets and personal data are kept
out by construction (nothing logs bodies, settings or texts of unknown exceptions) and, should that fail, by a
processor that masks by key and replaces every secret that the process knows. Lines carry the ids of their trace.
Order ids are in log lines, never in metric labels (``hub.observability.metrics``).
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from enum import StrEnum
from functools import cache
from typing import Any, Literal

import orjson
import structlog

from hub.models.events import shown_type
from hub.models.input.quoting import one_line, shown_id
from hub.observability import tracing
from hub.observability.redaction import MASK, frames, quotable, scrubbed


class LogEvent(StrEnum):
    """Every event name that may stand in a log line."""

    STARTING = "starting"
    VARIABLES_IGNORED = "variables_ignored"
    RELOAD_IGNORED = "reload_ignored"
    LOG_LINES_DROPPED = "log_lines_dropped"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    WAITING_FOR = "waiting_for"
    BROKER_CONNECTED = "broker_connected"
    BROKER_LOST = "broker_lost"
    CHANNEL_KEPT = "channel_kept"
    CHANNEL_RENEWED = "channel_renewed"
    TOPOLOGY_MISSING = "topology_missing"
    TOPOLOGY_DECLARED = "topology_declared"
    POLICIES_LIMIT = "policies_limit"
    POLICIES_UNKNOWN = "policies_unknown"
    POLLER_TAKEN = "poller_taken"
    STANDING_BY = "standing_by"
    POLLED = "polled"
    POLL_FAILED = "poll_failed"
    FEED_HELD = "feed_held"
    PAGE_SKIPPED = "page_skipped"
    VALIDATORS_WRONG = "validators_wrong"
    POLLER_SILENT = "poller_silent"
    UPDATES_UNECHOED = "updates_unechoed"
    PURCHASE_ORDERS_STUCK = "purchase_orders_stuck"
    PAGES_CAPPED = "pages_capped"
    EVENT_PUBLISHED = "event_published"
    SET_ASIDE = "set_aside"
    MESSAGE_REFUSED = "message_refused"
    MESSAGE_KEPT = "message_kept"
    NOT_ROUTED = "not_routed"
    COPY_WAITS = "copy_waits"
    SUSPECT_IN_HAND = "suspect_in_hand"
    LETTER_OF_BROKER = "letter_of_broker"
    HANDED_BACK = "handed_back"
    DELIVERY_SETTLED = "delivery_settled"
    SETTLE_FAILED = "settle_failed"
    HANDLER_CRASHED = "handler_crashed"
    LETTER_REPLAYED = "letter_replayed"
    LETTER_DISCARDED = "letter_discarded"
    LETTER_EDITED = "letter_edited"
    LETTER_UNMASKED = "letter_unmasked"
    LETTER_EXPORTED = "letter_exported"
    TIMELINE_BEHIND = "timeline_behind"
    TIMELINE_REFUSED = "timeline_refused"
    PRUNED = "pruned"
    UNCAUGHT = "uncaught"
    LIBRARY_SAID = "library_said"
    TRACES_LOST = "traces_lost"
    TRACES_SENT = "traces_sent"
    OUTAGE_OPENED = "outage_opened"
    OUTAGE_PROBING = "outage_probing"
    OUTAGE_CLOSED = "outage_closed"


# Keys whose values never reach an output, wherever they stand in a line.
_PRIVATE = frozenset(
    {
        "authorization", "password", "secret", "client_secret", "api_key", "apikey", "key", "token", "access_token",
        "refresh_token", "signing_secret", "cookie", "url_with_password", "body", "name", "attention_to", "phone",
        "telephone_number", "street", "street1", "street2", "address", "ship_to", "customer", "email",
    }
)  # fmt: skip

# What a publisher or a partner chose.
_FORMS: Mapping[str, Callable[[str], str]] = {
    "message_id": shown_id,
    "event_id": shown_id,
    "order_id": shown_id,
    "type": shown_type,
}

# What the hub chose.
_OWN_WORDS = frozenset({"level", "timestamp", "consumer", "queue", "outcome"})

# What holds no text.
_PLAIN = (int, float, bool)

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
    """Mask the values of private keys and known secrets, wherever they stand (structlog processor)."""
    for key, value in facts.items():
        if key in _OWN_WORDS:
            continue
        if _is_private(key):
            facts[key] = MASK
        elif type(value) is str:
            form = _FORMS.get(key)
            facts[key] = one_line(scrubbed(value)) if form is None else form(value)
        elif value is not None and type(value) not in _PLAIN:
            facts[key] = _redacted(value)
    return facts


@cache
def _is_private(key: str) -> bool:
    # Names of facts are words of the hub's code, so they are few.
    return key.lower() in _PRIVATE


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        # A member of an enumeration is a word of ours, and stays what it is.
        return value if isinstance(value, StrEnum) else one_line(scrubbed(value))
    if isinstance(value, Mapping):
        return {key: MASK if str(key).lower() in _PRIVATE else _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return value


def _without_values(
    _logger: object, _method: str, facts: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Turn ``exc_info`` into class and frames."""
    given = facts.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        facts["error"], facts["at"] = type(error).__name__, frames(error)
    return facts


def _add_trace(_logger: object, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    ids = tracing.ids()
    if ids is not None:
        facts["trace_id"], facts["span_id"] = ids
    return facts


class _Libraries(logging.Handler):
    """Writes what libraries say through the standard library in our form: the template, never the values filled in."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it as a line of ours."""
        log.error(
            LogEvent.LIBRARY_SAID,
            logger=record.name,
            said=quotable(str(record.msg), ())[:200],
            exc_info=record.exc_info[1] if record.exc_info else None,
        )


def set_up_logging(
    form: Literal["auto", "json", "console"] = "auto",
    level: str = "info",
    *,
    renderer: Callable[[Any, str, MutableMapping[str, Any]], str | bytes] | None = None,
    quiet: bool = False,
    write: Callable[[str], None] | None = None,
) -> None:
    """Configure structlog for the process; lines go to standard error.

    Args:
        form: ``json`` for containers, ``console`` for people, ``auto`` by whether standard error is a terminal.
        level: the least level that is shown.
        renderer: replaces the two renderers, for a command with a form of its own.
        quiet: no line is written; taps still hear everything.
        write: takes each line instead of standard error, which whoever logs would wait for.
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
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            redact,
            _add_trace,
            _feed_taps,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_handing_to(write or _to_standard_error),
        cache_logger_on_first_use=False,
    )
    # aio_pika drops the close of a connection that never opened; a broker that is away is said once, by us.
    warnings.filterwarnings("ignore", message="coroutine 'Connection.close' was never awaited")
    # Libraries speak through the standard library: only what is wrong is shown, and aiormq repeats what we say.
    logging.basicConfig(level=logging.ERROR, handlers=[_Libraries()], force=True)
    # Warnings of libraries quote values (pydantic's do): as records they are below the level above.
    logging.captureWarnings(True)
    # What asyncio has to say goes to the loop's handler, what of traces is lost to the tracer's.
    for chatty in ("aiormq", "aio_pika", "aiohttp.access", "asyncio", "opentelemetry"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


class _Handing:
    """What structlog calls a logger: hands each line over, whatever its level."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.msg = self.debug = self.info = self.warning = self.error = self.critical = write


def _to_standard_error(line: str) -> None:
    # Looked up for each line: a progress bar takes its place while it is shown, and prints lines above itself.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _handing_to(write: Callable[[str], None]) -> Callable[..., _Handing]:
    logger = _Handing(write)
    return lambda *_: logger


def _drop(_logger: object, _method: str, _facts: MutableMapping[str, Any]) -> str:
    raise structlog.DropEvent


log: structlog.stdlib.BoundLogger = structlog.get_logger()
