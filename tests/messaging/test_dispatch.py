from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import (
    BrokerUnavailable,
    Busy,
    HubError,
    InvalidMessage,
    PartnerRejected,
    PartnerUnavailable,
    StatementRejected,
    StoreUnavailable,
    Throttled,
    Unauthorized,
)
from hub.messaging.dispatch import Route, dispatch, guarded, outcome_of
from hub.messaging.handler import Context
from hub.messaging.message import EDITED_FROM, Message
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent, Event, OrderAccepted

ORDER_ID = "iqmetrix:1:a"
MESSAGE = Message(b"{}")
CONTEXT = Context("try_things", "hub.test.try-things", 1, MESSAGE)
EVENT = Event("e", "order.accepted", "/t", ORDER_ID, datetime.now(UTC), OrderAccepted(order_id=ORDER_ID))


def _decode(_: Message) -> AnyEvent:
    return EVENT


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PartnerUnavailable("503"), Retry("503")),
        (Throttled("429", retry_after=timedelta(seconds=9)), Retry("429", after=timedelta(seconds=9))),
        (Unauthorized("401"), Retry("401")),
        (
            Busy("busy", retry_after=timedelta(seconds=1)),
            Retry("busy", after=timedelta(seconds=1), counts=False),
        ),
        (
            StoreUnavailable("full"),
            Retry("full", after=timedelta(seconds=2), counts=False, for_store=True),
        ),
        (StatementRejected("UNIQUE constraint"), Retry("UNIQUE constraint")),
        (BrokerUnavailable("alarm"), Retry("alarm", after=timedelta(seconds=2), counts=False)),
        (InvalidMessage("no", field="data.x"), Reject("data.x: no")),
        (PartnerRejected("400"), Reject("400")),
    ],
)
def test_each_error_becomes_the_outcome_that_its_remedy_stands_for(error: HubError, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome


async def test_a_fault_of_ours_becomes_a_retry_that_tells_no_values() -> None:
    async def handler(event: AnyEvent, context: Context) -> Outcome:
        raise ValueError("Dana Whitfield, 914 W Fort St")

    outcome, about = await dispatch(MESSAGE, CONTEXT, route=Route("try_things", handler), decode=_decode)

    assert outcome == Retry("unexpected ValueError in try_things; see the log")
    assert about.order_id == ORDER_ID


async def test_only_what_the_hub_has_stored_is_a_stored_message() -> None:
    async def handler(event: AnyEvent, context: Context) -> Outcome:
        return Done("as an event")

    async def stored(message: Message, context: Context) -> Outcome:
        return Done("as stored")

    route = Route("try_things", handler, stored={"webhook.": stored})
    message = Message(b"{}", type="webhook.confirmation", headers={"x-hub-order-id": ORDER_ID})

    foreign, _ = await dispatch(message, CONTEXT, route=route, decode=_decode)
    own, about = await dispatch(replace(message, stored=True), CONTEXT, route=route, decode=_decode)

    assert foreign == Done("as an event")
    assert (own, about.order_id) == (Done("as stored"), ORDER_ID)


async def test_what_the_hub_foresees_passes_the_guard_unchanged() -> None:
    async def work() -> None:
        raise PartnerRejected("no")

    with pytest.raises(PartnerRejected, match="no"):
        await guarded(work(), "poller")


@pytest.mark.parametrize(("unsigned", "corrected"), [(False, True), (True, False)])
async def test_only_a_signed_copy_says_that_an_operator_corrected_it(unsigned: bool, corrected: bool) -> None:
    seen: list[bool] = []

    async def handler(event: AnyEvent, context: Context) -> Outcome:
        seen.append(event.corrected)
        return Done()

    message = Message(b"{}", headers={EDITED_FROM: "sha256:1"}, unsigned=unsigned)
    await dispatch(message, CONTEXT, route=Route("try_things", handler), decode=_decode)

    assert seen == [corrected]
