"""How a webhook receiver wants its sender to prove itself.

Optoro webhooks, general page: the receiver's client may choose Basic, OAuth 2 or an API key in a header. The OAuth 2 form is client
credentials against the receiver's own token endpoint, as in Optoro's authentication document.
"""

import base64
from dataclasses import dataclass, field

from aiohttp import web

from hub.sandbox.oauth2 import BearerTokens

__all__ = ["ApiKey", "Basic", "NoAuth", "OAuth2", "ReceiverAuth", "admits"]


@dataclass(frozen=True, slots=True)
class OAuth2:
    """A bearer token from the receiver's token endpoint; `scope` is what it answers."""

    client_id: str = "hub"
    client_secret: str = field(default="example", repr=False)
    scope: str = "read write"


@dataclass(frozen=True, slots=True)
class Basic:
    """User name and password on every request."""

    username: str = "hub"
    password: str = field(default="example", repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A secret in a header on every request."""

    header: str = "X-Api-Key"
    key: str = field(default="example", repr=False)


@dataclass(frozen=True, slots=True)
class NoAuth:
    """Anyone may post."""


ReceiverAuth = OAuth2 | Basic | ApiKey | NoAuth


def admits(auth: ReceiverAuth, tokens: BearerTokens, request: web.Request) -> bool:
    """Return whether a request proves its sender."""
    match auth:
        case OAuth2():
            return tokens.accepts(request.headers.get("Authorization"))
        case Basic():
            pair = base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()
            return request.headers.get("Authorization") == f"Basic {pair}"
        case ApiKey():
            return request.headers.get(auth.header) == auth.key
        case NoAuth():
            return True
