"""An OAuth2 token endpoint (RFC 6749) is asked for a token. Called by ``hub.http.auth``, which keeps it and renews it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode

import orjson

from hub.errors import ErrorFacts, PartnerUnavailable, Throttled, Unauthorized
from hub.http.classify import TOKEN, Said, raise_for_status
from hub.http.measure import Measured
from hub.http.session import HttpSession, Response

# Bytes of a token answer.
_TOKEN_BYTES = 64 * 1024
# RFC 6749, 5.2; matched as text, since error bodies need not be JSON.
_OAUTH_ERRORS = (
    "invalid_client",
    "invalid_grant",
    "unsupported_grant_type",
    "invalid_scope",
    "unauthorized_client",
    "invalid_request",
)


class CredentialsRefused(Unauthorized, Throttled):
    """The token endpoint refused our credentials; it is left alone for ``retry_after``, so that no account is locked."""


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
    pause: timedelta,
    body: Literal["form", "json"] = "form",
) -> Token:
    """Ask an OAuth2 token endpoint (RFC 6749) for a token.

    Args:
        session: for the request.
        url: the token endpoint.
        fields: of the grant; they are sent and never quoted.
        partner: who is asked, for error texts.
        pause: how long the endpoint is left alone after a refusal.
        body: how the fields are sent.

    Raises:
        CredentialsRefused: the endpoint refuses what we sent; quotes the OAuth2 error code, if there is one.
        PartnerUnavailable: timeout, connection error, 5xx, or an answer without a token.
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
        try:
            raise_for_status(
                response, partner=partner, operation="token request", policy=TOKEN, read=_oauth_error
            )
        except Unauthorized as refusal:
            raise CredentialsRefused(
                f"{refusal}; check the credentials in the settings",
                retry_after=pause,
                facts=refusal.facts,
            ) from None
        return _read_token(response, partner)


def _oauth_error(response: Response) -> Said:
    text = response.body.decode("utf-8", errors="replace")
    code = next((code for code in _OAUTH_ERRORS if code in text), "")
    return Said(code=code, quoted=code)


def _read_token(response: Response, partner: str) -> Token:
    try:
        document: Any = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        document = None
    value = document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise PartnerUnavailable(
            f"{partner}: expected JSON with access_token from the token endpoint, got none",
            facts=ErrorFacts(partner, "token request", response.status, "no_token"),
        )
    return Token(value, _life(document.get("expires_in")))


def _life(expires_in: object) -> timedelta | None:
    """Read ``expires_in`` in seconds, number or text; what makes no sense is no promise."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else 0.0
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 < seconds < 10**9 else None
