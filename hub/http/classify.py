"""What a status code means for us: tables from status to remedy, and the hints when to come back.

Called after every answer. The tables are policies: partners' APIs, OAuth2 token endpoints, and the two readings of
webhook receivers (``retry_on`` in the settings). 304 is for the caller who asked conditionally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

import orjson

from hub.errors import (
    HubError,
    PartnerAway,
    PartnerAwayUntil,
    PartnerRejected,
    PartnerUnavailable,
    Throttled,
    Unauthorized,
)
from hub.http.session import Response, Sent
from hub.redaction import persons_in, quotable

# A hint is obeyed for a day at most: beyond that it is a mistake or an attack.
LONGEST_WAIT = timedelta(hours=24)
# Characters of an answer that an error text quotes.
EXCERPT_LENGTH = 200
# Characters of an answer that are looked through for it.
_SEARCHED = 64 * 1024
_TAG = re.compile(r"</?[A-Za-z!?][^<>]{0,500}>")
# Headers of a request that prove nothing.
_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent", "if-none-match", "if-modified-since"})
# field/code pairs of a validation failure that an error text quotes.
_PAIRS_QUOTED = 10

Excerpt = Callable[[Response], str]


class Remedy(Enum):
    """What follows from a status."""

    DONE = auto()
    RENEW = auto()
    """Unauthorized: the credentials were refused."""
    WAIT = auto()
    """Throttled, with the partner's hint if it gave one."""
    LATER = auto()
    """PartnerUnavailable, PartnerAway for a status of ``GATEWAY``; Throttled too with ``Retry-After``."""
    NEVER = auto()
    """PartnerRejected."""


GATEWAY = frozenset({502, 503, 504})
"""What a gateway says when nobody is behind it (RFC 9110, 15.6): about the partner, never about what was sent."""

Policy = tuple[tuple[range, Remedy], ...]
"""The first row that holds the status counts; a status in no row is refused."""


def _only(status: int) -> range:
    return range(status, status + 1)


_SUCCESS = (range(200, 300), Remedy.DONE)
# 408 request timeout, 425 too early, 429 too many requests.
_PATIENCE = tuple((_only(status), Remedy.WAIT) for status in (408, 425, 429))

API: Policy = (
    _SUCCESS,
    (_only(401), Remedy.RENEW),
    *_PATIENCE,
    (range(500, 600), Remedy.LATER),
    (range(300, 500), Remedy.NEVER),
)
# Wrong credentials come as 400 or 401 (RFC 6749, 5.2), a wrong path as 404: nothing that the event at hand can help.
TOKEN: Policy = (
    _SUCCESS,
    *_PATIENCE,
    (range(500, 600), Remedy.LATER),
    (range(300, 500), Remedy.RENEW),
)
# Optoro Drop Ship webhooks 1.0.0: every error is retried alike, the status is for the report only.
WEBHOOK_ALL: Policy = (
    _SUCCESS,
    (_only(401), Remedy.RENEW),
    *_PATIENCE,
    (range(300, 600), Remedy.LATER),
)
# Optoro's general webhook page retries server errors and timeouts only.
WEBHOOK_SERVER: Policy = (
    _SUCCESS,
    *_PATIENCE,
    (range(500, 600), Remedy.LATER),
    (range(300, 500), Remedy.NEVER),
)
WEBHOOK_POLICIES: Mapping[str, Policy] = {"all": WEBHOOK_ALL, "server": WEBHOOK_SERVER}
"""``retry_on`` of a webhook client -> policy."""


def no_excerpt(_response: Response) -> str:
    """Quote nothing of the answer."""
    return ""


def text_excerpt(response: Response) -> str:
    """Quote the start of the answer without control characters, and without what we had sent."""
    return excerpt_of(response.body[:_SEARCHED].decode("utf-8", errors="replace"), response)


def excerpt_of(text: str, response: Response) -> str:
    """Quote the start of a text from an answer.

    Tags, secrets, mail addresses and telephone numbers are left out, and what the partner repeats of our own request:
    credentials, and values of personal fields. They go before the cut, which would leave halves of them.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in _TAG.sub(" ", text))
    return quotable(printable, _sent_in_private(response.sent))[:EXCERPT_LENGTH]


def _sent_in_private(sent: Sent | None) -> frozenset[str]:
    if sent is None:
        return frozenset()
    values = [value for name, value in sent.headers.items() if name.lower() not in _PLAIN_HEADERS]
    # "Bearer <token>": the token alone may come back as well.
    return persons_in(sent.body) | {
        part for value in values for part in (value, value.rpartition(" ")[2]) if part
    }


def validation_excerpt(response: Response) -> str:
    """Quote only ``field`` and ``code`` of a 422, since a receiver may echo what we sent.

    The shape is that of Optoro Drop Ship webhooks 1.0.0: ``{"message": …, "errors": [{"field": …, "code": …}]}``.
    """
    if response.status != 422:
        return ""
    try:
        document: Any = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return ""
    errors = document.get("errors") if isinstance(document, dict) else None
    pairs = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    words = ", ".join(
        f"{_word(pair.get('field'))}: {_word(pair.get('code'))}" for pair in pairs[:_PAIRS_QUOTED]
    )
    return quotable(words, _sent_in_private(response.sent))


def _word(value: object) -> str:
    """A path or code; what cannot be one is not quoted."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.$\[\]/*-]{1,80}", value) else "?"


def raise_for_status(
    response: Response,
    *,
    partner: str,
    operation: str,
    policy: Policy = API,
    excerpt: Excerpt = no_excerpt,
    now: datetime | None = None,
) -> None:
    """Return for a success, else raise what the policy says.

    Args:
        response: the answer.
        partner: who answered, for the error text.
        operation: what was asked, for the error text.
        policy: the table.
        excerpt: what the error text may quote of the answer.
        now: the time that date hints are counted from; absent: this moment.

    Raises:
        Unauthorized: the credentials were refused.
        Throttled: come back later; ``retry_after`` is the partner's hint, if there is one.
        PartnerAway: nobody is behind the partner's gateway.
        PartnerUnavailable: the partner has a problem of its own.
        PartnerRejected: refused for good; carries the status.
    """
    remedy = next((remedy for statuses, remedy in policy if response.status in statuses), Remedy.NEVER)
    if remedy is Remedy.DONE:
        return
    text = f"{partner} answered {response.status} to {operation}"
    if 300 <= response.status < 400:
        text += " (redirects are not followed)"
    quoted = excerpt(response)
    raise _error(remedy, response, f"{text}: {quoted}" if quoted else text, now or datetime.now(UTC))


def _error(remedy: Remedy, response: Response, text: str, now: datetime) -> HubError:
    away = remedy is Remedy.LATER and response.status in GATEWAY
    if remedy is Remedy.WAIT or (remedy is Remedy.LATER and "Retry-After" in response.headers):
        throttled = PartnerAwayUntil if away else Throttled
        return throttled(text, retry_after=retry_after(response.headers, now))
    if remedy is Remedy.RENEW:
        return Unauthorized(text)
    if remedy is Remedy.LATER:
        return PartnerAway(text) if away else PartnerUnavailable(text)
    return PartnerRejected(text, status=response.status)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Give how long the partner asks us to stay away, from nothing to 24 hours; None without a readable hint.

    ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) goes before ``X-RateLimit-ResetSeconds`` and
    ``X-RateLimit-Reset`` (iQmetrix Rate Limiting reference, 23-03-2016).
    """
    for name, read in _HINTS:
        text = headers.get(name)
        wait = read(text.strip(), now) if text else None
        if wait is not None:
            return min(max(wait, timedelta(0)), LONGEST_WAIT)
    return None


def _seconds(text: str, _now: datetime) -> timedelta | None:
    return timedelta(seconds=float(text)) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else None


def _until_http_date(text: str, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


def _until_timestamp(text: str, now: datetime) -> timedelta | None:
    try:
        # Seven fractional digits, as .NET writes them.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


_HINTS: tuple[tuple[str, Callable[[str, datetime], timedelta | None]], ...] = (
    ("Retry-After", _seconds),
    ("Retry-After", _until_http_date),
    ("X-RateLimit-ResetSeconds", _seconds),
    ("X-RateLimit-Reset", _until_timestamp),
)
