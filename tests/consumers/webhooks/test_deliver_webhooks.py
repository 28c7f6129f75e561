"""Delivering a client's webhooks: one event, one to many webhooks, each sent once and settled on its own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from consumers.webhooks.deliver_webhooks import (
    DeliverWebhooks,
    deliver_webhooks_queue,
)
from hub.config.webhooks import WebhookClient
from hub.errors import (
    Busy,
    HubError,
    InvalidMessage,
    PartnerRejected,
    PartnerUnavailable,
    Throttled,
    UnknownOrder,
)
from hub.messaging.handler import Context
from hub.messaging.message import EFFECT, EVENT_ID, ORDER_ID, Message
from hub.messaging.outcome import Done, Outcome, Part, Reject, Retry, Split, awaits_store
from hub.models.events import AnyEvent
from hub.partners.optoro.translate import Kind
from hub.state.protocols import ClaimState
from tests.consumers.pauses import Pauses
from tests.fakes import MemoryStore
from tests.partners.optoro.samples import (
    CLIENT,
    ORDER,
    PARCEL,
    SECOND_PARCEL,
    a_client,
    an_event,
    cancelled,
    disposition_changed,
    shipped,
)
from tests.partners.optoro.samples import (
    ORDER_ID as THE_ORDER,
)

FIRST_KEY = "webhook:acme:confirmation:FUL-1:PKG-1"
SECOND_KEY = "webhook:acme:confirmation:FUL-1:PKG-2"


@dataclass
class Endpoint:
    """A client's endpoint: answers each webhook with the next of its ``answers``, and else takes it."""

    answers: dict[str, list[HubError | None]] = field(default_factory=dict)
    posts: list[tuple[str, bytes, str]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        self.posts.append((url, body, webhook_id))
        answers = self.answers.get(webhook_id, [])
        error = answers.pop(0) if answers else None
        if error is not None:
            raise error


class Meeting(Endpoint):
    """An endpoint that answers nobody until a number of posts are in flight at once."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._all_here = asyncio.Barrier(parties)

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        await super().post(url, body, webhook_id=webhook_id, kind=kind)
        async with asyncio.timeout(30):
            await self._all_here.wait()


class Silent(Endpoint):
    """An endpoint that takes a post and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        await super().post(url, body, webhook_id=webhook_id, kind=kind)
        self.reached.set()
        await asyncio.Event().wait()


class LastSeen(Endpoint):
    """An endpoint that takes a post, after which the state store is away."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store = store

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        await super().post(url, body, webhook_id=webhook_id, kind=kind)
        self._store.away = "disk full"


class Counting(Endpoint):
    """An endpoint that counts how many posts are in flight at once."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = self.most_in_flight = 0

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        await super().post(url, body, webhook_id=webhook_id, kind=kind)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        # Gives every other task that could post its turn.
        await asyncio.sleep(0)
        self.in_flight -= 1


class RecordsTogether(MemoryStore):
    """A state store that records no effect until a number of them are to be recorded, as a group commit may."""

    def __init__(self, effects: int) -> None:
        super().__init__()
        self._all_here = asyncio.Barrier(effects)

    async def record_effect(self, key: str, note: str = "") -> None:
        async with asyncio.timeout(30):
            await self._all_here.wait()
        await super().record_effect(key, note)


@dataclass
class Scene:
    handler: DeliverWebhooks
    endpoint: Endpoint
    store: MemoryStore

    async def hear(self, event: AnyEvent) -> Outcome:
        return await self.handler(event, a_context(a_message()))

    async def retry(self, message: Message) -> Outcome:
        return await self.handler.deliver_stored(message, a_context(message))

    @property
    def keys(self) -> list[str]:
        return [key for _, _, key in self.endpoint.posts]


async def a_scene(
    client: WebhookClient | None = None, endpoint: Endpoint | None = None, store: MemoryStore | None = None
) -> Scene:
    store = store or MemoryStore()
    created = an_event("order.created", ORDER, id_="created-1")
    await store.record_orders([created])
    endpoint = endpoint or Endpoint()
    handler = DeliverWebhooks(store, endpoint, client or a_client(), "host:1:test")
    return Scene(handler, endpoint, store)


def a_message() -> Message:
    return Message(b"{}", type="order.shipped", message_id="FUL-1", queue="hub.webhook.acme")


def a_context(message: Message, attempt: int = 1) -> Context:
    return Context("deliver_webhooks", "hub.webhook.acme", attempt, message)


def parts_of(outcome: Outcome) -> Sequence[Part]:
    assert isinstance(outcome, Split)
    return outcome.parts


# --- the queue ---------------------------------------------------------------------------------------------


def test_the_queue_is_named_after_the_client_and_hears_what_has_an_address() -> None:
    queue = deliver_webhooks_queue(a_client(sources=["iqmetrix"]))

    assert queue.queue == "hub.webhook.acme"
    assert queue.hears == ("order.shipped", "order.cancelled", "unit.disposition_changed")
    assert ("hub.fulfillment", "order.shipped.iqmetrix") in set(queue.bindings())


@pytest.mark.parametrize(
    ("addresses", "hears"),
    [
        (("confirmation_url",), ("order.shipped",)),
        (("cancellation_url",), ("order.cancelled",)),
        (("partial_cancellation_url",), ("order.cancelled",)),
        (("disposition_url",), ("unit.disposition_changed",)),
        ((), ()),
    ],
)
def test_the_queue_does_not_hear_what_has_no_address(
    addresses: tuple[str, ...], hears: tuple[str, ...]
) -> None:
    without: Mapping[str, Any] = {name: None for name in CLIENT if name.endswith("_url")}

    queue = deliver_webhooks_queue(a_client(**{**without, **{name: CLIENT[name] for name in addresses}}))

    assert queue.hears == hears


# --- first deliveries --------------------------------------------------------------------------------------


async def test_every_parcel_is_confirmed_once() -> None:
    """Edge case 35: two parcels, two confirmations."""
    scene = await a_scene()

    outcome = await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    assert outcome == Done("2 sent, 0 sent before")
    assert sorted(scene.keys) == [FIRST_KEY, SECOND_KEY]
    assert {url for url, _, _ in scene.endpoint.posts} == {CLIENT["confirmation_url"]}


async def test_a_repeated_event_is_not_sent_again() -> None:
    scene = await a_scene()
    await scene.hear(shipped())

    outcome = await scene.hear(shipped())

    assert outcome == Done("0 sent, 1 sent before")
    assert scene.keys == [FIRST_KEY]


async def test_parcels_are_confirmed_at_the_same_time() -> None:
    scene = await a_scene(endpoint=Meeting(2))

    outcome = await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    assert isinstance(outcome, Done)


async def test_no_more_posts_are_in_flight_than_there_are_connections() -> None:
    endpoint = Counting()
    scene = await a_scene(a_client(connections=1), endpoint)

    await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    assert sorted(scene.keys) == [FIRST_KEY, SECOND_KEY]
    assert endpoint.most_in_flight == 1


async def test_a_connection_is_the_next_posts_while_the_last_one_is_being_recorded() -> None:
    scene = await a_scene(a_client(connections=1), store=RecordsTogether(2))

    outcome = await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    assert outcome == Done("2 sent, 0 sent before")


async def test_a_failed_webhook_travels_on_with_the_bytes_that_were_posted() -> None:
    scene = await a_scene()
    scene.endpoint.answers[SECOND_KEY] = [PartnerUnavailable("acme: confirmation: HTTP 503")]

    outcome = await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    (part,) = parts_of(outcome)
    assert part.outcome == Retry("acme: confirmation: HTTP 503")
    assert part.message.type == "webhook.confirmation"
    assert part.message.message_id == SECOND_KEY
    assert part.message.content_type == "application/json"
    assert part.message.headers == {EFFECT: SECOND_KEY, ORDER_ID: THE_ORDER, EVENT_ID: "FUL-1"}
    assert part.message.body == next(body for _, body, key in scene.endpoint.posts if key == SECOND_KEY)


async def test_a_hint_when_to_come_back_is_kept() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [Throttled("slow down", retry_after=timedelta(minutes=3))]

    outcome = await scene.hear(shipped())

    (part,) = parts_of(outcome)
    assert part.outcome == Retry("slow down", after=timedelta(minutes=3))


async def test_a_refusal_that_is_final_becomes_a_letter_of_that_webhook_alone() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerRejected("acme: confirmation: HTTP 422", status=422)]

    outcome = await scene.hear(shipped(PARCEL, SECOND_PARCEL))

    (part,) = parts_of(outcome)
    assert part.outcome == Reject("acme: confirmation: HTTP 422")
    assert part.message.message_id == FIRST_KEY
    assert SECOND_KEY in scene.keys


async def test_an_effect_key_too_long_for_a_message_id_stays_in_the_header() -> None:
    scene = await a_scene()
    long_id = "P" * 300
    key = f"webhook:acme:confirmation:FUL-1:{long_id}"
    scene.endpoint.answers[key] = [PartnerUnavailable("HTTP 503")]

    outcome = await scene.hear(shipped({**PARCEL, "package_id": long_id}))

    (part,) = parts_of(outcome)
    assert part.message.message_id is None
    assert part.message.headers[EFFECT] == key


# --- what cannot be built ----------------------------------------------------------------------------------


async def test_what_can_be_built_is_sent_and_the_event_is_rejected_with_every_missing_field() -> None:
    scene = await a_scene()
    event = shipped(PARCEL, {**SECOND_PARCEL, "weight_lb": None, "shipping_cost_cents": None})

    outcome = await scene.hear(event)

    (part,) = parts_of(outcome)
    assert part.message == a_message()
    assert isinstance(part.outcome, Reject)
    assert "shipment.billed_weight" in part.outcome.reason
    assert "shipment.shipping_cost_cents" in part.outcome.reason
    assert scene.keys == [FIRST_KEY]


async def test_the_replay_of_a_rejected_event_sends_only_what_was_missing() -> None:
    scene = await a_scene()
    event = shipped(PARCEL, {**SECOND_PARCEL, "shipping_cost_cents": None})
    await scene.hear(event)
    mended = a_client(defaults={**CLIENT["defaults"], "package_cost_cents": 0})
    again = DeliverWebhooks(scene.store, scene.endpoint, mended, "host:2:test")

    outcome = await again(event, a_context(a_message()))

    assert outcome == Done("1 sent, 1 sent before")
    assert scene.keys == [FIRST_KEY, SECOND_KEY]


# --- what is not for this client ---------------------------------------------------------------------------


async def test_orders_of_other_sources_are_ignored() -> None:
    scene = await a_scene(a_client(sources=["retailops"]))

    outcome = await scene.hear(shipped())

    assert outcome == Done("acme does not hear of orders of iqmetrix")
    assert scene.keys == []


async def test_an_id_with_another_disposition_is_rejected_and_a_repetition_is_not() -> None:
    scene = await a_scene()
    first = disposition_changed(to_disposition="A")

    outcomes = [await scene.hear(event) for event in (first, disposition_changed(to_disposition="B"), first)]

    (part,) = parts_of(outcomes[1])
    assert isinstance(part.outcome, Reject)
    assert part.message == a_message()
    assert part.outcome.reason.startswith("id: expected what was said under this id before")
    assert outcomes[2] == Done("0 sent, 1 sent before")
    assert len(scene.keys) == 1


async def test_an_event_cannot_take_the_place_of_anothers_parcel_without_an_id() -> None:
    scene = await a_scene()
    parcel = {key: value for key, value in PARCEL.items() if key != "package_id"}
    forged = replace(shipped({**SECOND_PARCEL, "package_id": "1"}), id="FUL-1:FUL-1")

    await scene.hear(forged)
    outcome = await scene.hear(shipped(parcel))

    assert outcome == Done("1 sent, 0 sent before")
    assert scene.keys == [
        "webhook:acme:confirmation:FUL-1:FUL-1:1",
        "webhook:acme:confirmation:FUL-1:FUL-1%3A1",
    ]


async def test_dispositions_for_other_clients_are_ignored() -> None:
    scene = await a_scene()

    outcomes = [await scene.hear(disposition_changed(clients=names)) for names in (["other"], ["acme"])]

    assert outcomes == [Done("not meant for acme"), Done("1 sent, 0 sent before")]


async def test_an_event_without_an_address_is_done() -> None:
    scene = await a_scene(a_client(cancellation_url=None))

    assert await scene.hear(cancelled()) == Done("no webhook to send")


async def test_an_order_that_nobody_announced_is_an_error() -> None:
    scene = await a_scene()
    event = an_event("order.shipped", {"order_id": "iqmetrix:71204:never-seen", "packages": [PARCEL]})

    with pytest.raises(UnknownOrder):
        await scene.hear(event)


# --- retries -----------------------------------------------------------------------------------------------


async def test_six_attempts_post_identical_bytes() -> None:
    """Edge case 32 (client part): the first attempt and all five retries."""
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 422") for _ in range(6)]

    outcome = await scene.hear(shipped())
    (part,) = parts_of(outcome)
    for _ in range(5):
        with pytest.raises(PartnerUnavailable):
            await scene.retry(part.message)

    assert len(scene.endpoint.posts) == 6
    assert len({body for _, body, _ in scene.endpoint.posts}) == 1
    assert set(scene.keys) == {FIRST_KEY}


async def test_503_twice_then_200_is_sent_and_never_again() -> None:
    """Edge case 33 (client part): success after two failures, no duplicate."""
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503"), PartnerUnavailable("HTTP 503")]
    (part,) = parts_of(await scene.hear(shipped()))
    with pytest.raises(PartnerUnavailable):
        await scene.retry(part.message)

    outcomes = [await scene.retry(part.message), await scene.retry(part.message), await scene.hear(shipped())]

    assert outcomes == [Done("sent"), Done("sent before"), Done("0 sent, 1 sent before")]
    assert len(scene.endpoint.posts) == 3


async def test_a_stored_webhook_goes_to_the_address_of_today() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 404")]
    (part,) = parts_of(await scene.hear(shipped()))
    moved = a_client(confirmation_url="https://new.acme.example/confirm")
    handler = DeliverWebhooks(scene.store, scene.endpoint, moved, "host:1:test")

    await handler.deliver_stored(part.message, a_context(part.message, attempt=2))

    assert scene.endpoint.posts[-1][0] == "https://new.acme.example/confirm"


async def test_a_stored_webhook_without_an_address_is_rejected_with_what_to_do() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503")]
    (part,) = parts_of(await scene.hear(shipped()))
    handler = DeliverWebhooks(scene.store, scene.endpoint, a_client(confirmation_url=None), "host:1:test")

    outcome = await handler.deliver_stored(part.message, a_context(part.message, attempt=2))

    assert isinstance(outcome, Reject)
    assert "confirmation_url" in outcome.reason


@pytest.mark.parametrize(
    "message",
    [
        Message(b"{}", type="webhook.unheard_of", headers={EFFECT: "key"}),
        Message(b"{}", type="webhook.confirmation"),
    ],
)
async def test_a_message_that_is_no_stored_webhook_is_invalid(message: Message) -> None:
    scene = await a_scene()

    with pytest.raises(InvalidMessage):
        await scene.retry(message)


# --- the ledger --------------------------------------------------------------------------------------------


async def test_a_webhook_that_somebody_else_is_sending_waits_and_costs_no_attempt() -> None:
    scene = await a_scene()
    await scene.store.claim_effect(FIRST_KEY, holder="other", lease=timedelta(hours=1))

    outcome = await scene.hear(shipped())

    (part,) = parts_of(outcome)
    assert part.message == a_message(), "the event comes again: a stored webhook would be a second ladder"
    assert isinstance(part.outcome, Retry)
    assert not part.outcome.counts
    assert part.outcome.after is not None
    assert part.outcome.after > timedelta(0)
    assert scene.keys == []


async def test_a_stored_webhook_that_another_copy_is_sending_waits() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503")]
    (part,) = parts_of(await scene.hear(shipped()))
    await scene.store.claim_effect(FIRST_KEY, holder="other", lease=timedelta(hours=1), carried=True)

    with pytest.raises(Busy):
        await scene.retry(part.message)


async def test_a_webhook_that_travels_on_is_not_sent_by_the_event_again() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503"), PartnerUnavailable("HTTP 503")]
    (part,) = parts_of(await scene.hear(shipped()))
    assert part.travels is not None
    await part.travels()
    travelling = Done("0 sent, 0 sent before, 1 on their way as stored webhooks")

    assert await scene.hear(shipped()) == travelling
    with pytest.raises(PartnerUnavailable):
        await scene.retry(part.message)
    assert await scene.hear(shipped()) == travelling, "a failed attempt of the copy changes nothing"
    assert await scene.retry(part.message) == Done("sent")
    assert await scene.hear(shipped()) == Done("0 sent, 1 sent before")
    assert scene.keys == [FIRST_KEY] * 3


async def test_a_webhook_whose_copy_was_not_confirmed_is_sent_by_the_event_again() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503")]

    await scene.hear(shipped())

    assert await scene.hear(shipped()) == Done("1 sent, 0 sent before")


async def test_an_event_waits_as_it_is_where_the_store_is_away_before_anything_was_sent() -> None:
    scene = await a_scene()
    scene.store.away = "disk full"

    outcome = await scene.hear(disposition_changed())

    (part,) = parts_of(outcome)
    assert part.message == a_message()
    assert awaits_store(outcome) == "disk full"
    assert scene.endpoint.posts == []


async def test_that_a_webhook_travels_is_recorded_however_long_the_store_is_away() -> None:
    scene = await a_scene()
    pauses = Pauses(scene.store, back_after=3)
    handler = DeliverWebhooks(scene.store, scene.endpoint, a_client(), "host:1:test", sleep=pauses)
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503")]
    (part,) = parts_of(await handler(shipped(), a_context(a_message())))
    assert part.travels is not None
    scene.store.away = "disk full"

    await part.travels()

    claim = await scene.store.claim_effect(FIRST_KEY, holder="other", lease=timedelta(hours=1))
    assert claim.state is ClaimState.TRAVELLING


async def test_a_failed_attempt_gives_its_claim_back() -> None:
    scene = await a_scene()
    scene.endpoint.answers[FIRST_KEY] = [PartnerUnavailable("HTTP 503")]

    await scene.hear(shipped())

    claim = await scene.store.claim_effect(FIRST_KEY, holder="other", lease=timedelta(hours=1))
    assert claim.state is ClaimState.GRANTED


async def test_an_attempt_that_is_cut_short_by_a_stop_gives_its_claim_back() -> None:
    endpoint = Silent()
    scene = await a_scene(endpoint=endpoint)
    attempt = asyncio.create_task(scene.hear(shipped()))
    await endpoint.reached.wait()

    attempt.cancel()
    await asyncio.wait([attempt])

    claim = await scene.store.claim_effect(FIRST_KEY, holder="other", lease=timedelta(hours=1))
    assert claim.state is ClaimState.GRANTED


async def test_what_the_client_took_is_sent_even_if_the_store_is_away_for_the_record() -> None:
    scene = await a_scene()
    endpoint = LastSeen(scene.store)
    pauses = Pauses(scene.store, back_after=3)
    handler = DeliverWebhooks(scene.store, endpoint, a_client(), "host:1:test", sleep=pauses)

    outcomes = [await handler(shipped(), a_context(a_message())) for _ in range(2)]

    assert outcomes == [Done("1 sent, 0 sent before"), Done("0 sent, 1 sent before")]
    assert len(endpoint.posts) == 1
    assert len(pauses.seconds) == 3


async def test_two_deliveries_of_one_event_at_the_same_time_make_one_post() -> None:
    scene = await a_scene(endpoint=Counting())

    outcomes = await asyncio.gather(scene.hear(shipped()), scene.hear(shipped()))

    assert scene.keys == [FIRST_KEY]
    assert sum(isinstance(outcome, Done) for outcome in outcomes) >= 1
