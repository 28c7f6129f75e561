"""How long a partner call took and how it ended, for the metrics: around the call *and* the judgement of its answer.

The status alone does not tell (RetailOps answers 200 with an error in the body), so the outcome is read off what the
call raises. Called by the partner clients, with operations named as the partner names them; never with an address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hub.errors import (
    HubError,
    PartnerContractBroken,
    PartnerRejected,
    PartnerUnavailable,
    Throttled,
    Unauthorized,
)
from hub.http.session import NoAnswer
from hub.metrics import PARTNER_CALLS, PARTNER_SECONDS

# The first row that fits counts: refused credentials come with a pause as well.
_OUTCOMES: tuple[tuple[type[HubError], str], ...] = (
    (Unauthorized, "unauthorized"),
    (Throttled, "throttled"),
    (PartnerUnavailable, "failed"),
    (PartnerRejected, "refused"),
    (PartnerContractBroken, "contract_broken"),
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


@contextmanager
def measured(partner: str, operation: str) -> Iterator[None]:
    """Count the call inside the block and its time; whatever it raises passes.

    Args:
        partner: ``iqmetrix``, ``retailops``, or the name of a webhook client.
        operation: what is asked, from a fixed list.
    """
    begun = time.monotonic()
    outcome = "crashed"
    try:
        yield
        outcome = "ok"
    except HubError as error:
        outcome = _outcome(error)
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        PARTNER_CALLS.labels(partner, operation, outcome).inc()
        PARTNER_SECONDS.labels(partner, operation).observe(time.monotonic() - begun)


def _outcome(error: HubError) -> str:
    if isinstance(error, NoAnswer):
        return error.how
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "crashed")
