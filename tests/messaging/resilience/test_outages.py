"""What a call to a destination comes to, as its breaker sees it; and how wide its queues are."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from hub.errors import (
    CircuitOpen,
    HubError,
    PartnerRejected,
    PartnerUnavailable,
    PartnerUnreachable,
    PartnerUnreachableUntil,
    ProcessLimit,
    Throttled,
    Unauthorized,
)
from hub.http.tokens import CredentialsRefused
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Retry
from hub.messaging.resilience.circuit_breaker import Phase, Thresholds
from hub.messaging.resilience.outages import NEVER, Destination, Outages, regulate, width_of
from tests.eventually import eventually

# Opens with the second failure.
TWICE = Thresholds(2, timedelta(), timedelta(seconds=60), timedelta(seconds=60))
AWAY = PartnerUnreachable("acme: POST 127.0.0.1/hook: could not connect")


def call(destination: Destination, error: BaseException | None = None, *, is_proof: bool = True) -> None:
    with destination.calling(is_proof=is_proof):
        if error is not None:
            raise error


def failed(destination: Destination, error: HubError) -> HubError:
    with pytest.raises(HubError) as caught:
        call(destination, error)
    return caught.value


def away(outages: Outages, name: str) -> Destination:
    destination = outages.of("test", name)
    failed(destination, AWAY)
    failed(destination, AWAY)
    return destination


def test_a_limit_of_our_own_proves_nothing_about_a_destination() -> None:
    destination = Outages(TWICE).of("webhook", "acme")
    limit = ProcessLimit("acme: not called", retry_after=timedelta(seconds=5))

    failed(destination, AWAY)
    mine = [failed(destination, limit) for _ in range(5)]
    still_well = destination.breaker.is_well
    failed(destination, AWAY)

    assert mine == [limit] * 5
    assert outcome_of(limit) == Retry(str(limit), after=timedelta(seconds=5), counts=False)
    assert still_well
    assert destination.breaker.is_away


def test_the_failure_that_shows_an_outage_and_all_that_follow_cost_no_attempt() -> None:
    destination = Outages(TWICE).of("webhook", "acme")

    first, second = failed(destination, AWAY), failed(destination, AWAY)
    third = failed(destination, AssertionError("not called"))  # type: ignore[arg-type]

    assert first is AWAY
    assert outcome_of(first) == Retry(str(AWAY))
    for held_back in (second, third):
        assert isinstance(held_back, CircuitOpen)
        outcome = outcome_of(held_back)
        assert isinstance(outcome, Retry)
        assert not outcome.counts
        assert "waits for webhook:acme, which is away since" in outcome.reason
    # The timeline tells one outage once by its text.
    assert str(second) == str(third)


@pytest.mark.parametrize(
    "answer",
    [
        PartnerRejected("acme answered 422", status=422),
        PartnerUnavailable("acme answered 500"),
        Throttled("acme answered 429"),
        Unauthorized("acme answered 401"),
        None,
    ],
    ids=["422", "500", "429", "401", "2xx"],
)
def test_whatever_a_destination_answers_shows_that_it_is_there(answer: HubError | None) -> None:
    destination = Outages(TWICE).of("test", "answering")

    for _ in range(10):
        failed(destination, AWAY)
        if answer is None:
            call(destination)
        else:
            failed(destination, answer)

    assert destination.breaker.phase is Phase.CLOSED


def test_a_500_of_every_message_is_no_outage() -> None:
    destination = Outages(TWICE).of("test", "broken")

    for _ in range(100):
        failed(destination, PartnerUnavailable("acme answered 500"))

    assert destination.breaker.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("error", "is_proof"), [(CredentialsRefused("left alone"), True), (None, False)], ids=str
)
def test_what_needed_no_call_proves_nothing(error: HubError | None, is_proof: bool) -> None:
    destination = Outages(TWICE).of("test", "unasked")
    failed(destination, AWAY)

    if error is None:
        call(destination, is_proof=is_proof)
    else:
        failed(destination, error)
    failed(destination, AWAY)

    assert destination.breaker.phase is Phase.OPEN


def test_a_gateways_hint_moves_the_probe() -> None:
    destination = Outages(TWICE).of("test", "maintained")
    failed(destination, AWAY)

    held_back = failed(destination, PartnerUnreachableUntil("503", retry_after=timedelta(minutes=10)))

    assert isinstance(held_back, CircuitOpen)
    assert timedelta(minutes=9) < held_back.retry_after <= timedelta(minutes=10)


def test_metrics_and_notes_tell_of_an_outage_until_it_is_over() -> None:
    outages = Outages(TWICE)

    def up() -> float | None:
        return REGISTRY.get_sample_value("hub_destination_up", {"destination": "test:told"})

    def found() -> float | None:
        return REGISTRY.get_sample_value("hub_outages_total", {"destination": "test:told"})

    outages.of("test", "told")
    before = up(), found(), outages.described()
    away(outages, "told")
    during = up(), found(), outages.described()

    assert before == (1, 0, {})
    assert during[:2] == (0, 1)
    assert during[2]["test:told"].startswith("paused: test:told is away since 20")
    assert "next probe in 60 s" in during[2]["test:told"]


def test_turned_off_it_never_opens() -> None:
    destination = Outages(NEVER).of("test", "off")

    for _ in range(1000):
        assert failed(destination, AWAY) is AWAY


def test_a_queue_is_closed_when_all_whom_it_is_for_are_away_and_not_before() -> None:
    outages = Outages(TWICE)
    one, other = away(outages, "one"), outages.of("test", "other")

    assert width_of([]) is None
    assert width_of([one]) == 0
    assert width_of([one, other]) is None
    away(outages, "other")
    assert width_of([one, other]) == 0


async def test_queues_are_closed_at_once_and_opened_for_a_probe_when_it_is_due() -> None:
    soon = timedelta(seconds=0.05)
    outages = Outages(Thresholds(2, timedelta(), soon, soon))
    destination = outages.of("test", "seen")
    widths: list[tuple[str, int | None]] = []

    async def narrow(queue: str, width: int | None) -> None:
        if not widths or widths[-1] != (queue, width):
            widths.append((queue, width))

    regulating = asyncio.create_task(regulate(outages, {"hub.webhook.seen": [destination]}, narrow))
    await eventually(lambda: len(widths) == 1)
    away(outages, "seen")
    await eventually(lambda: len(widths) == 3)
    call(destination)
    await eventually(lambda: len(widths) == 4)
    regulating.cancel()

    assert [width for _, width in widths] == [None, 0, 1, 2]


async def test_no_queue_is_consumed_while_the_state_store_cannot_be_written() -> None:
    outages = Outages(TWICE)
    queues = {"hub.webhook.any": [outages.of("test", "any")], "hub.retailops.cancel-purchase-order": []}
    widths: dict[str, list[int | None]] = {queue: [] for queue in queues}

    async def narrow(queue: str, width: int | None) -> None:
        widths[queue].append(width)

    async with asyncio.TaskGroup() as group:
        regulating = group.create_task(regulate(outages, queues, narrow))
        outages.heard_of_store("")
        await eventually(lambda: all(len(seen) == 1 for seen in widths.values()))
        outages.heard_of_store("disk full")
        await eventually(lambda: all(len(seen) == 2 for seen in widths.values()))
        assert outages.described()["state store"].startswith("paused: the state store is away since 20")
        outages.heard_of_store("disk full")
        outages.heard_of_store("")
        await eventually(lambda: all(len(seen) == 3 for seen in widths.values()))
        regulating.cancel()

    assert set(map(tuple, widths.values())) == {(None, 0, None)}
    assert outages.described() == {}
