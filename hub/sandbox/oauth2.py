"""Bearer tokens of a simulated token service: issued, expiring, refreshed, revoked.

Two documents meet here: the iQmetrix authentication reference, 15-04-2016 (password and refresh grant), and OAuth 2 client
credentials as used by webhook receivers. The tokens are hexadecimal numbers drawn from the sandbox's seed.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.sandbox.request_log import Clock

__all__ = ["BearerTokens", "Grant"]

# iQmetrix authentication reference, 15-04-2016: a refresh token is valid for seven days.
_REFRESH_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Grant:
    """One pair of tokens."""

    access_token: str
    refresh_token: str
    expires_at: datetime


@dataclass(eq=False)
class BearerTokens:
    """The tokens that are valid now; `lifetime` counts from the issue of each."""

    rng: random.Random
    now: Clock
    lifetime: timedelta
    issued: int = 0
    _access: dict[str, datetime] = field(default_factory=dict, repr=False)
    _refresh: dict[str, Grant] = field(default_factory=dict, repr=False)

    def issue(self) -> Grant:
        """Make a new pair; earlier ones stay valid."""
        now = self.now()
        self._access = {token: end for token, end in self._access.items() if end > now}
        grant = Grant(
            f"{self.rng.getrandbits(128):032x}", f"{self.rng.getrandbits(128):032x}", now + self.lifetime
        )
        self._access[grant.access_token] = grant.expires_at
        self._refresh[grant.refresh_token] = grant
        self.issued += 1
        return grant

    def refresh(self, refresh_token: str) -> Grant | None:
        """Exchange a refresh token, which revokes the access token it came with; None when it is unknown or too old."""
        old = self._refresh.pop(refresh_token, None)
        if old is None or old.expires_at - self.lifetime + _REFRESH_LIFETIME <= self.now():
            return None
        self._access.pop(old.access_token, None)
        return self.issue()

    def accepts(self, authorization: str | None) -> bool:
        """Return whether an Authorization header carries a bearer token that is valid now."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme == "Bearer" and self._access.get(token, self.now()) > self.now()

    def revoke(self) -> None:
        """Forget every token."""
        self._access.clear()
        self._refresh.clear()
