"""What a simulated partner remembers of its clients: the last requests, and every breach of the documented protocol.

A violation is something the real partner might forgive or not even notice, and that a correct client never does. Texts name
fields and kinds, never values, since values may be personal data.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from hub.sandbox.fault_injection import Fault, Handler, fault_of, mute

__all__ = ["Clock", "Records", "Refused", "RequestRecord", "Violation", "utc_now"]

Clock = Callable[[], datetime]

# Enough to look back over a whole flow test, little enough for a sandbox that runs for days.
_REQUESTS_KEPT = 20_000


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


class Refused(Exception):
    """The simulated partner answers a request with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the answer."""
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it was answered; `status` is None when the connection was cut instead."""

    at: datetime
    method: str
    path: str
    status: int | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of the documented protocol by a client."""

    at: datetime
    request: str
    what: str


@dataclass(eq=False)
class Records:
    """The memory of one simulated partner."""

    now: Clock = utc_now
    requests: deque[RequestRecord] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
    violations: list[Violation] = field(default_factory=list)

    def violation(self, request: web.Request, what: str) -> None:
        """Note a breach of the protocol."""
        self.violations.append(Violation(self.now(), f"{request.method} {request.path}", what))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record every request, also those to paths that do not exist; word unknown paths as `Not found`."""
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            response = web.Response(status=404, text="Not found")
        except web.HTTPMethodNotAllowed as refusal:
            self.violation(
                request,
                f"method {request.method} where {', '.join(sorted(refusal.allowed_methods))} is documented",
            )
            response = web.Response(status=405, text="Method not allowed")
        fault = fault_of(request)
        status = None if mute(fault) else response.status
        self.requests.append(RequestRecord(self.now(), request.method, request.path, status, fault))
        return response
