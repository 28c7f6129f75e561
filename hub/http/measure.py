"""How long a partner call took and how it ended, for the metrics: around the call *and* the judgement of its answer.

The status alone does not tell (RetailOps answers 200 with an error in the body), so the outcome is read off what the
call raises. Called by the partner clients, with operations named as the partner names them; never with an address.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from hub.errors import (
    HubError,
    PartnerContractBroken,
    PartnerRejected,
    PartnerUnavailable,
    ProcessLimit,
    Throttled,
    Unauthorized,
)
from hub.http.session import IncompleteResponse
from hub.observability.metrics import PARTNER_CALLS, PARTNER_SECONDS

# The first row that fits counts: refused credentials come with a pause as well.
_OUTCOMES: tuple[tuple[type[HubError], str], ...] = (
    (Unauthorized, "unauthorized"),
    (Throttled, "throttled"),
    (PartnerUnavailable, "failed"),
    (PartnerRejected, "refused"),
    (PartnerContractBroken, "contract_broken"),
    (ProcessLimit, "own_limit"),
)
OUTCOMES = (
    "ok",
    "timeout",
    "connection",
    "tls",
    "damaged",
    *(word for _, word in _OUTCOMES),
    "cancelled",
    "crashed",
)
"""Every outcome there is."""


class Measured:
    """Count the call inside the block and its time; whatever it raises passes.

    Args:
        partner: ``iqmetrix``, ``retailops``, or the name of a webhook client.
        operation: what is asked, from a fixed list.
    """

    __slots__ = ("_begun", "_operation", "_partner")

    def __init__(self, partner: str, operation: str) -> None:
        self._partner = partner
        self._operation = operation

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        PARTNER_CALLS.labels(self._partner, self._operation, _outcome(error)).inc()
        PARTNER_SECONDS.labels(self._partner, self._operation).observe(time.monotonic() - self._begun)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, IncompleteResponse):
        return error.how
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "crashed")
