"""The simulated partners, with a fault on one request: refused, lost after its effect, unanswered, or the hub killed at it."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import web

from hub.sandbox import Fault as PartnerFault
from hub.sandbox import Faults
from hub.sandbox.fault_injection import Handler, Refusal, refuse_in_text
from tests.faults.points import Fault, Kind

_PLANNED = web.RequestKey("planned", Fault)
# How the request in hand fails; by context, since others to the same endpoint may be under way.
_FAILS: ContextVar[PartnerFault | None] = ContextVar("fails", default=None)
_HOW = {
    Kind.error_before: PartnerFault.unavailable,
    Kind.error_after: PartnerFault.truncated,
    Kind.timeout_after: PartnerFault.reset_after,
    Kind.crash_before: PartnerFault.reset_before,
}


@dataclass(eq=False)
class PlannedFaults(Faults):
    """Faults of one partner that fall on the request that the plan names.

    `passing` is asked for each request; `kill` ends the hub.
    """

    partner: str = ""
    passing: Callable[[str], Fault | None] = field(default=lambda _: None, repr=False)
    kill: Callable[[Fault], None] = field(default=lambda _: None, repr=False)
    # Longer than the hub waits for a partner.
    silence: timedelta = timedelta(seconds=1.3)

    def around(self, endpoint: str, handler: Handler, refuse: Refusal = refuse_in_text) -> Handler:
        async def applied(request: web.Request) -> web.StreamResponse:
            response = await handler(request)
            planned = request.get(_PLANNED)
            if planned is not None and planned.kind is Kind.crash_after:
                self.kill(planned)
            if planned is not None and planned.kind is Kind.timeout_after:
                await asyncio.sleep(self.silence.total_seconds())
            return response

        inner = super().around(endpoint, applied, refuse)

        async def watched(request: web.Request) -> web.StreamResponse:
            planned = self.passing(f"{self.partner}.{endpoint}")
            if planned is None:
                return await inner(request)
            request[_PLANNED] = planned
            if planned.kind is Kind.crash_before:
                self.kill(planned)
            token = _FAILS.set(_HOW.get(planned.kind))
            try:
                return await inner(request)
            finally:
                _FAILS.reset(token)

        return watched

    def choose(self, endpoint: str, fingerprint: bytes) -> PartnerFault | None:
        return _FAILS.get() or super().choose(endpoint, fingerprint)
