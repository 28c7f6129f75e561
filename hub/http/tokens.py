"""An OAuth2 token endpoint (RFC 6749) is asked for a token. Called by ``hub.http.auth``, which keeps it and renews it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import orjson

from hub.errors import ErrorFacts, PartnerUnavailable, PartnerUnreachableUntil, Throttled, Unauthorized
from hub.http.classify import TOKEN, Said, raise_for_status
from hub.http.measure import Measured
from hub.http.session import HttpSession, Response
from hub.http.text import is_markup, utf8_of

# Bytes of a token answer.
_TOKEN_BYTES = 64 * 1024
_OPERATION = "token request"
# RFC 6749, 5.2.
_OAUTH_ERRORS = (
    "invalid_client",
    "invalid_grant",
    "unsupported_grant_type",
    "invalid_scope",
    "unauthorized_client",
    "invalid_request",
)


class CredentialsRefused(Unauthorized, Throttled):
    """The token endpoint refused our credentials; ``retry_after`` is how long it is left alone, so that no account is locked."""


class TokenUnavailable(PartnerUnreachableUntil):
    """The token endpoint answered neither a token nor a refusal: a redirect, an error page, or something else."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; ``expires_in`` counts from its issue, None: it is used until it is refused."""

    value: str = field(repr=False)
    expires_in: timedelta | None = None


async def fetch_token(
    session: HttpSession,
    url: str,
    fields: Mapping[str, str],
    *,
    partner: str,
    body: Literal["form", "json"] = "form",
) -> Token:
    """Ask an OAuth2 token endpoint (RFC 6749) for a token.

    Args:
        session: for the request.
        url: the token endpoint.
        fields: of the grant; they are sent and never quoted.
        partner: who is asked, for error texts.
        body: how the fields are sent.

    Raises:
        CredentialsRefused: the endpoint refuses what we sent, in whatever status; quotes the OAuth2 error code.
        TokenUnavailable: it answers neither a token nor a refusal.
        PartnerUnreachable: no answer, or one that was cut off.
        Throttled: the endpoint asks for patience.
    """
    content = (
        ("application/x-www-form-urlencoded", urlencode(fields).encode("ascii"))
        if body == "form"
        else ("application/json", orjson.dumps(dict(fields)))
    )
    with Measured(partner, "token"):
        response = await session.request(
            "POST",
            url,
            headers={"Content-Type": content[0], "Accept": "application/json"},
            body=content[1],
            read_at_most=_TOKEN_BYTES,
        )
        return token_of(response, partner)


def token_of(response: Response, partner: str) -> Token:
    """Return the token of an answer; raises what ``fetch_token`` raises for one that holds none."""
    text = utf8_of(response)
    is_success = 200 <= response.status < 300
    document = _document(text)
    if is_success and (token := _token(document)) is not None:
        return token
    said = _oauth_error(document, text)
    # 401 is about the credentials by itself (RFC 6749, 5.2), but not where a proxy says so in HTML.
    if said.code or (response.status == 401 and not is_markup(text)):
        reason = f": {said.quoted}" if said.quoted else ""
        raise CredentialsRefused(
            f"{partner} answered {response.status} to token request{reason}; check the credentials in the settings",
            facts=ErrorFacts(partner, _OPERATION, response.status, said.code),
        )
    try:
        raise_for_status(response, partner=partner, operation=_OPERATION, policy=TOKEN)
    except Throttled:
        raise
    except PartnerUnavailable as odd:
        raise TokenUnavailable(str(odd), facts=odd.facts) from None
    came = "HTML or XML" if is_markup(text) else "none"
    raise TokenUnavailable(
        f"{partner}: expected JSON with access_token from the token endpoint, got {came}",
        facts=ErrorFacts(partner, _OPERATION, response.status, "no_token"),
    )


def _document(text: bytes) -> Mapping[str, Any]:
    try:
        document: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _oauth_error(document: Mapping[str, Any], text: bytes) -> Said:
    """Return the code of RFC 6749, 5.2: the member ``error``, or the word in another form of answer but a page."""
    named = document.get("error")
    if isinstance(named, str):
        code = next((code for code in _OAUTH_ERRORS if code == named.strip().lower()), "")
    else:
        looked_through = "" if is_markup(text) else text.decode("utf-8", errors="replace").lower()
        code = next((code for code in _OAUTH_ERRORS if code in looked_through), "")
    return Said(code=code, quoted=code)


def _token(document: Mapping[str, Any]) -> Token | None:
    value = document.get("access_token")
    # With a blank in it, it would be two words of the header: "Bearer t-1" is a header, and no token.
    if (
        not isinstance(value, str)
        or not value.isascii()
        or not value.isprintable()
        or value.split() != [value]
    ):
        return None
    return Token(value, _life(document.get("expires_in")))


def _life(expires_in: object) -> timedelta | None:
    """Read ``expires_in`` in seconds, number or text; what makes no sense is no promise."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return None
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return None
    return timedelta(seconds=seconds) if 0 < seconds < 10**9 else None
