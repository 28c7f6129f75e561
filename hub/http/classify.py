"""What a status code means for us: tables from status to remedy, and the hints when to come back.

Called after every answer. The tables are policies: partners' APIs, OAuth2 token endpoints, and the two readings of
webhook receivers (``retry_on`` in the settings). 304 is for the caller who asked conditionally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

import orjson

from hub.errors import (
    ErrorFacts,
    HubError,
    PartnerRejected,
    PartnerUnavailable,
    PartnerUnreachable,
    PartnerUnreachableUntil,
    Throttled,
    Unauthorized,
)
from hub.http.session import Response
from hub.models.frozen import value
from hub.models.input.quoting import shown_code, shown_path
from hub.observability.redaction import reason

# A hint is obeyed for a day at most: beyond that it is a mistake or an attack.
LONGEST_WAIT = timedelta(hours=24)
# Characters of a hint that is read.
_LONGEST_HINT = 100
# Characters of an answer that a letter keeps.
EXCERPT_LENGTH = 1000
# Bytes of an answer that are looked through for it.
_SEARCHED = 4 * 1024
_TAG = re.compile(r"</?[A-Za-z!?][^<>]{0,500}>")
_UNKNOWN_FIELD = "an unknown field"
# field/code pairs of a validation failure that an error text quotes.
_PAIRS_QUOTED = 10


@value(frozen=True, slots=True)
class Said:
    """What an answer says of an error: ``code``, ``field`` and ``quoted`` may stand in any text of the hub.

    ``text`` is the start of the answer. It may be about persons, and is kept on the letter alone.
    """

    code: str = ""
    field: str = ""
    text: str = ""
    quoted: str = ""


Reader = Callable[[Response], Said]


class Remedy(Enum):
    """What follows from a status."""

    DONE = auto()
    RENEW = auto()
    """Unauthorized: the credentials were refused."""
    WAIT = auto()
    """Throttled, with the partner's hint if it gave one."""
    LATER = auto()
    """PartnerUnavailable, PartnerUnreachable for a status of ``GATEWAY``; Throttled too with ``Retry-After``."""
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
# Whether credentials were refused is for the body to say (``hub.http.tokens``): the event at hand can help nothing of it.
TOKEN: Policy = (
    _SUCCESS,
    *_PATIENCE,
    (range(300, 600), Remedy.LATER),
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


def nothing_said(_response: Response) -> Said:
    """Read nothing of the answer."""
    return Said()


def text_said(response: Response, documented: Mapping[str, str] | None = None) -> Said:
    """Read an answer of no known form: of its text only the length is quoted; the letter keeps its start.

    Args:
        response: the answer.
        documented: sentences of the partner's documents, in small letters, with the hub's code for each: an answer
            that is one of these, word for word, is quoted.
    """
    text = excerpt_of(response.body[:_SEARCHED].decode("utf-8", errors="replace"))
    plain = text.strip(' ".').lower()
    if documented and plain in documented:
        return Said(code=documented[plain], text=text, quoted=plain)
    return Said(text=text, quoted=f"with a text of {len(text)} characters" if text else "")


def excerpt_of(text: str) -> str:
    """Return the start of a text from an answer, for the letter alone: without tags, controls and known secrets."""
    printable = "".join(letter if letter.isprintable() else " " for letter in _TAG.sub(" ", text))
    return reason(" ".join(printable.split()), b"")[:EXCERPT_LENGTH]


def validation_said(known: Collection[str]) -> Reader:
    """Return a reader of 422 answers that quotes names of ``known`` fields and codes, and nothing else.

    The shape is that of Optoro Drop Ship webhooks 1.0.0: ``{"message": …, "errors": [{"field": …, "code": …}]}``.
    """

    def read(response: Response) -> Said:
        text = excerpt_of(response.body[:_SEARCHED].decode("utf-8", errors="replace"))
        pairs = _pairs(response)[:_PAIRS_QUOTED] if response.status == 422 else []
        named = [
            (shown_path(_word(pair.get("field")), known), shown_code(_word(pair.get("code"))))
            for pair in pairs
        ]
        quoted = ", ".join(f"{field or _UNKNOWN_FIELD}: {code or 'no code'}" for field, code in named)
        field, code = named[0] if named else ("", "")
        return Said(code=code, field=field, text=text, quoted=quoted)

    return read


def _pairs(response: Response) -> list[dict[str, Any]]:
    if len(response.body) > _SEARCHED:
        return []
    try:
        document: Any = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return []
    errors = document.get("errors") if isinstance(document, dict) else None
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def raise_for_status(
    response: Response,
    *,
    partner: str,
    operation: str,
    policy: Policy = API,
    read: Reader = nothing_said,
    now: datetime | None = None,
) -> None:
    """Return for a success, else raise what the policy says.

    Args:
        response: the answer.
        partner: who answered, for the error text.
        operation: what was asked, for the error text.
        policy: the table.
        read: finds code and field in the answer.
        now: the time that date hints are counted from; absent: this moment.

    Raises:
        Unauthorized: the credentials were refused.
        Throttled: come back later; ``retry_after`` is the partner's hint, if there is one.
        PartnerUnreachable: the partner's gateway reaches no server behind it.
        PartnerUnavailable: the partner has a problem of its own.
        PartnerRejected: refused for good; carries the status.
    """
    remedy = next((remedy for statuses, remedy in policy if response.status in statuses), Remedy.NEVER)
    if remedy is Remedy.DONE:
        return
    text = f"{partner} answered {response.status} to {operation}"
    if 300 <= response.status < 400:
        text += " (redirects are not followed)"
    said = read(response)
    facts = ErrorFacts(partner, operation, response.status, said.code, said.field, said.text)
    text = f"{text}: {said.quoted}" if said.quoted else text
    raise _error(remedy, response, text, facts, now or datetime.now(UTC))


def _error(remedy: Remedy, response: Response, text: str, facts: ErrorFacts, now: datetime) -> HubError:
    away = remedy is Remedy.LATER and response.status in GATEWAY
    if remedy is Remedy.WAIT or (remedy is Remedy.LATER and "Retry-After" in response.headers):
        throttled = PartnerUnreachableUntil if away else Throttled
        return throttled(text, retry_after=retry_after(response.headers, now), facts=facts)
    if remedy is Remedy.RENEW:
        return Unauthorized(text, facts=facts)
    if remedy is Remedy.LATER:
        return PartnerUnreachable(text, facts=facts) if away else PartnerUnavailable(text, facts=facts)
    return PartnerRejected(text, facts=facts)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return how long the partner asks us to stay away, from nothing to 24 hours; None without a readable hint.

    ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) goes before ``X-RateLimit-ResetSeconds`` and
    ``X-RateLimit-Reset`` (iQmetrix Rate Limiting reference, 23-03-2016).
    """
    for name, read in _HINTS:
        text = headers.get(name)
        wait = _read_hint(read, text.strip(), now) if text else None
        if wait is not None:
            return min(max(wait, timedelta(0)), LONGEST_WAIT)
    return None


_ReadHint = Callable[[str, datetime], timedelta | None]


def _read_hint(read: _ReadHint, text: str, now: datetime) -> timedelta | None:
    """Return what a hint says, None for any other text; the library's date readers raise whatever they like."""
    if len(text) > _LONGEST_HINT:
        return None
    try:
        return read(text, now)
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError):
        return None


def _seconds(text: str, _now: datetime) -> timedelta | None:
    return timedelta(seconds=float(text)) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else None


def _until_http_date(text: str, now: datetime) -> timedelta | None:
    moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


def _until_timestamp(text: str, now: datetime) -> timedelta | None:
    # Seven fractional digits, as .NET writes them.
    moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


_HINTS: tuple[tuple[str, _ReadHint], ...] = (
    ("Retry-After", _seconds),
    ("Retry-After", _until_http_date),
    ("X-RateLimit-ResetSeconds", _seconds),
    ("X-RateLimit-Reset", _until_timestamp),
)
