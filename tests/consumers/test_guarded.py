"""Calls of consumers under a breaker: none is made to a destination that is away, and waiting for it costs nothing."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from consumers.guarded import (
    GuardedEndpoint,
    GuardedIqmetrix,
    GuardedRetailops,
    RetryFreeWhileOpen,
    thresholds_of,
)
from hub.config.settings import Settings
from hub.errors import CircuitOpen, PartnerUnreachable
from hub.messaging.outcome import Done, Outcome, Retry
from hub.messaging.resilience.circuit_breaker import Thresholds
from hub.messaging.resilience.outages import NEVER, Destination, Outages
from tests.consumers.purchase_orders import about, context
from tests.partners.retailops.samples import VENDOR

EVENT = about("accepted")


class Recorder:
    """Any partner client: remembers which calls were made, and fails them as told."""

    settings = None

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.away = False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*_: object, **__: object) -> int:
            self.calls.append(name)
            if self.away:
                raise PartnerUnreachable("no complete answer in time")
            return 62

        return call


def destination(failures: int = 1) -> Destination:
    return Outages(Thresholds(failures, timedelta(), timedelta(seconds=60), timedelta(seconds=60))).of(
        "test", "guarded"
    )


Wrapped = type[GuardedIqmetrix] | type[GuardedRetailops] | type[GuardedEndpoint]
CALLS: list[tuple[Wrapped, str, tuple[object, ...], dict[str, object]]] = [
    (GuardedIqmetrix, "update_order", ("o-1", None), {}),
    (GuardedIqmetrix, "update_items", ("o-1", None), {}),
    (GuardedIqmetrix, "push_availability", (None,), {}),
    (GuardedRetailops, "mark_submitted", ((),), {}),
    (GuardedRetailops, "mark_accepted", ((),), {}),
    (GuardedRetailops, "update_ship_dates", ((),), {}),
    (GuardedRetailops, "complete", (None,), {}),
    (GuardedRetailops, "carrier_class_id", ("UPS",), {}),
    (GuardedRetailops, "advise_inventory", ((),), {}),
    (GuardedEndpoint, "post", ("https://acme.example", b""), {"webhook_id": "w-1", "kind": None}),
]


@pytest.mark.parametrize(("wrapped", "name", "given", "named"), CALLS, ids=lambda value: str(value)[:40])
async def test_a_destination_that_is_away_is_not_called(
    wrapped: Wrapped, name: str, given: tuple[object, ...], named: dict[str, object]
) -> None:
    client: Any = Recorder()
    call = getattr(wrapped(client, destination()), name)
    await call(*given, **named)
    client.away = True

    for _ in range(3):
        with pytest.raises(CircuitOpen):
            await call(*given, **named)

    assert client.calls == [name, name]


async def test_a_carrier_class_that_was_kept_is_no_sign_of_life() -> None:
    client: Any = Recorder()
    one = destination(failures=2)
    guarded = GuardedRetailops(client, one)
    complete: Any = guarded.complete

    for expected in (PartnerUnreachable, CircuitOpen):
        client.away = False
        await guarded.carrier_class_id("UPS")
        client.away = True
        with pytest.raises(expected):
            await complete(None)

    assert one.breaker.is_away


@pytest.mark.parametrize("outcome", [Done("marked"), Retry("not yet submitted")], ids=str)
async def test_a_handler_that_waits_for_another_spends_no_attempt_while_its_account_is_away(
    outcome: Outcome,
) -> None:
    async def handler(*_: object) -> Outcome:
        return outcome

    account = destination()
    spared = RetryFreeWhileOpen(handler, {VENDOR: account}, lambda _: VENDOR)
    before = await spared(EVENT, context(EVENT))
    account.breaker.failed(_let_through(account))

    during = await spared(EVENT, context(EVENT))

    assert before == outcome
    if isinstance(outcome, Done):
        assert during == outcome
    else:
        assert isinstance(during, Retry)
        assert not during.counts
        assert during.reason.startswith("waits for test:guarded")


def _let_through(account: Destination) -> Any:
    return account.breaker.begin()


def test_the_settings_say_when_a_breaker_opens() -> None:
    assert thresholds_of(Settings()) == Thresholds(
        3, timedelta(seconds=5), timedelta(seconds=2), timedelta(seconds=15), timedelta(minutes=5)
    )
    assert thresholds_of(Settings.model_validate({"outage": {"enabled": False}})) == NEVER
