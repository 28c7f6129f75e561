"""A partner call is counted under what came of it, judgement included, and its time is kept."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from hub.errors import (
    HubError,
    PartnerContractBroken,
    PartnerRejected,
    PartnerUnavailable,
    ProcessLimit,
    Throttled,
    Unauthorized,
)
from hub.http.measure import OUTCOMES, Measured
from hub.http.session import IncompleteResponse
from hub.http.tokens import CredentialsRefused


def calls(outcome: str) -> float:
    labels = {"partner": "test", "operation": "Try", "outcome": outcome}
    return REGISTRY.get_sample_value("hub_partner_calls_total", labels) or 0


def timed() -> float:
    labels = {"partner": "test", "operation": "Try"}
    return REGISTRY.get_sample_value("hub_partner_call_seconds_count", labels) or 0


def test_a_call_that_returns_is_ok() -> None:
    before, times = calls("ok"), timed()

    with Measured("test", "Try"):
        pass

    assert (calls("ok"), timed()) == (before + 1, times + 1)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (IncompleteResponse("no complete answer in time", how="timeout"), "timeout"),
        (IncompleteResponse("could not connect", how="connection"), "connection"),
        (PartnerUnavailable("answered 503"), "failed"),
        (Throttled("answered 429"), "throttled"),
        (Unauthorized("answered 401"), "unauthorized"),
        (CredentialsRefused("answered 400"), "unauthorized"),
        (PartnerRejected("answered 422"), "refused"),
        (PartnerContractBroken("not Atom"), "contract_broken"),
        (ProcessLimit("not called", retry_after=timedelta(seconds=5)), "own_limit"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyError("a fault of ours"), "crashed"),
    ],
)
def test_what_a_call_raises_is_its_outcome_and_passes(error: BaseException, outcome: str) -> None:
    before, times = calls(outcome), timed()

    with pytest.raises(type(error)), Measured("test", "Try"):
        raise error

    assert (calls(outcome), timed()) == (before + 1, times + 1)
    assert outcome in OUTCOMES


def test_every_error_of_a_partner_has_an_outcome_of_its_own_kind() -> None:
    """A new kind of error in the tree must not end as a crash."""
    for kind in (PartnerUnavailable, Throttled, Unauthorized, PartnerRejected, PartnerContractBroken):
        before = calls("crashed")
        with pytest.raises(HubError), Measured("test", "Try"):
            raise kind("told")
        assert calls("crashed") == before
