"""How we prove ourselves: an authorizer gives the headers of a request, and may renew them once they are refused.

Called by ``send_authorized``. One authorizer per account and process, so that many requests share one token and one
renewal. Credentials and tokens stay in here: no error text holds one.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Protocol

from hub.config.webhooks import ApiKeyAuth, Auth, BasicAuth, NoAuth, OAuth2Auth
from hub.errors import HubError, PartnerUnavailable, Throttled
from hub.http.session import HttpSession
from hub.http.tokens import CredentialsRefused, Token, TokenUnavailable, fetch_token
from hub.observability.redaction import forget, remember

# A token is renewed when 90 % of its life or all but 60 s of it are over, whichever is earlier, but not before half.
_USED_UP = 0.9
_AHEAD_SECONDS = 60.0
_AT_LEAST = 0.5
# How long a token endpoint is left alone, doubled each time: after it refused our credentials, since accounts can be
# locked (iQmetrix Authentication FAQ, 05-05-2016), and after it answered neither a token nor a refusal.
_REFUSED_PAUSE, _REFUSED_AT_MOST = timedelta(seconds=30), timedelta(minutes=15)
_ODD_PAUSE, _ODD_AT_MOST = timedelta(seconds=1), timedelta(minutes=1)


class Authorizer(Protocol):
    """Makes the headers that authorize a request."""

    async def headers(self) -> Mapping[str, str]:
        """Return the headers to send; raises ``TransientError`` when there is no token to be had."""

    async def renew(self, rejected: Mapping[str, str]) -> bool:
        """Make sure that the headers differ from ``rejected``; False when there is nothing to renew.

        Many requests refused with the same token lead to one renewal.
        """


class NoAuthorizer:
    """Sends nothing."""

    async def headers(self) -> Mapping[str, str]:
        """Return no headers."""
        return {}

    async def renew(self, rejected: Mapping[str, str]) -> bool:
        """Renew nothing."""
        return False


class _FixedHeaders:
    """Credentials that do not change."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    async def headers(self) -> Mapping[str, str]:
        """Return the same headers each time."""
        return self._headers

    async def renew(self, rejected: Mapping[str, str]) -> bool:
        """Renew nothing: these credentials are all there is."""
        return False


class BasicAuthorizer(_FixedHeaders):
    """HTTP Basic (RFC 7617), in UTF-8."""

    def __init__(self, username: str, password: str) -> None:
        pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        super().__init__({"Authorization": f"Basic {pair}"})


class ApiKeyAuthorizer(_FixedHeaders):
    """A key in a header."""

    def __init__(self, header: str, key: str) -> None:
        super().__init__({header: key})


class TokenAuthorizer:
    """A bearer token that all requests of one account share.

    It is renewed ahead of its end; if that fails for a reason that is not ours, the old one serves until its end.
    Whoever waits while the endpoint is asked shares what comes of it, token or error, so that behind an endpoint that
    hangs nobody waits for more than one request.
    After a refusal or an odd answer the token endpoint is left alone for a pause that grows, or as long as it asks;
    one token ends the growth.

    Args:
        fetch: asks the token endpoint for a new token.
        clock: monotonic seconds.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[Token]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._pausing: Throttled | None = None
        self._paused_until = 0.0
        self._in_a_row = 0
        self._failures = 0
        self._failure: HubError | None = None

    async def headers(self) -> Mapping[str, str]:
        """Return the bearer header with a token that is good for a while.

        Raises:
            CredentialsRefused: now, or so lately that the endpoint is not asked again.
            PartnerUnavailable: the token endpoint is away, and there is no token left to use.
            Throttled: the token endpoint asks for patience.
        """
        seen = self._failures
        async with self._lock:
            if self._token is None or self._clock() >= self._renew_at:
                await self._renew_ahead(seen)
            return self._header()

    async def renew(self, rejected: Mapping[str, str]) -> bool:
        """Replace the token in ``rejected``, unless another request has done so already.

        Raises:
            TransientError: there is no new token to be had; see ``headers``.
        """
        seen = self._failures
        async with self._lock:
            if self._token is None or rejected.get("Authorization") == self._header()["Authorization"]:
                self._token = None
                await self._obtain(seen)
            return True

    def _header(self) -> Mapping[str, str]:
        assert self._token is not None
        return {"Authorization": f"Bearer {self._token.value}"}

    async def _renew_ahead(self, seen: int) -> None:
        try:
            await self._obtain(seen)
        except (PartnerUnavailable, Throttled):
            if self._token is None or self._clock() >= self._ends_at:
                raise
            # Not on each of the next requests: they would all wait for a dead token endpoint.
            self._renew_at = self._clock() + min(_AHEAD_SECONDS, (self._ends_at - self._clock()) / 2)

    async def _obtain(self, seen: int) -> None:
        """Ask for a token, unless that failed while the caller waited; ``seen``: the failures when it came."""
        left = self._paused_until - self._clock()
        if self._pausing is not None and left > 0:
            raise _again(self._pausing, timedelta(seconds=left))
        if self._failure is not None and self._failures != seen:
            # Else an error that many tasks raise would collect the traceback of each.
            raise self._failure.with_traceback(None)
        asked_at = self._clock()
        try:
            token = await self._fetch()
        except HubError as failure:
            failure = self._with_pause(failure)
            self._failures, self._failure = self._failures + 1, failure
            raise failure from None
        self._pausing, self._in_a_row = None, 0
        if self._token is not None:
            forget(self._token.value)
        remember(token.value)
        self._token = token
        self._renew_at = asked_at + _good_for_seconds(token.expires_in)
        self._ends_at = asked_at + (token.expires_in.total_seconds() if token.expires_in else float("inf"))

    def _with_pause(self, failure: HubError) -> HubError:
        """Leave the endpoint alone as the failure asks; returns it with the pause."""
        if not isinstance(failure, Throttled):
            return failure
        pause = failure.retry_after or timedelta()
        # What it asks for by a hint is no refusal: the growth is for what it does not explain.
        grows = next((row for row in _PAUSES if isinstance(failure, row[0])), None)
        if grows is not None:
            kind, first, most = grows
            self._in_a_row = self._in_a_row + 1 if isinstance(self._pausing, kind) else 1
            pause = max(pause, min(first * 2 ** min(self._in_a_row - 1, 20), most))
        self._pausing, self._paused_until = failure, self._clock() + pause.total_seconds()
        return _again(failure, pause) if pause else failure


_PAUSES: tuple[tuple[type[Throttled], timedelta, timedelta], ...] = (
    (CredentialsRefused, _REFUSED_PAUSE, _REFUSED_AT_MOST),
    (TokenUnavailable, _ODD_PAUSE, _ODD_AT_MOST),
)


def _again(failure: Throttled, left: timedelta) -> Throttled:
    return type(failure)(str(failure), retry_after=left, facts=failure.facts)


def _good_for_seconds(expires_in: timedelta | None) -> float:
    if expires_in is None:
        return float("inf")
    life = expires_in.total_seconds()
    return max(min(life * _USED_UP, life - _AHEAD_SECONDS), life * _AT_LEAST)


def authorizer(auth: Auth, session: HttpSession, *, partner: str = "client") -> Authorizer:
    """Build the authorizer of a webhook client from its settings.

    The grant of ``OAuth2Auth`` is client credentials (RFC 6749, 4.4), with the credentials in the body.
    """
    match auth:
        case NoAuth():
            return NoAuthorizer()
        case BasicAuth():
            return BasicAuthorizer(auth.username, auth.password.get_secret_value())
        case ApiKeyAuth():
            return ApiKeyAuthorizer(auth.header, auth.key.get_secret_value())
        case OAuth2Auth():
            return TokenAuthorizer(_client_credentials(auth, session, partner))


def _client_credentials(
    auth: OAuth2Auth, session: HttpSession, partner: str
) -> Callable[[], Awaitable[Token]]:
    fields = {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.get_secret_value(),
        **({"scope": auth.scope} if auth.scope else {}),
    }

    async def fetch() -> Token:
        return await fetch_token(session, auth.token_url, fields, partner=partner, body=auth.body)

    return fetch
