"""Pushing stock counts: to every account, each once, and never an older one over a newer one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from consumers.iqmetrix.update_availability import UpdateAvailability
from hub.errors import HubError, PartnerRejected, PartnerUnavailable
from hub.messaging import cloudevents
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import Event, InventoryCounted
from hub.partners.iqmetrix.wire import Availability
from tests.consumers.pauses import Pauses
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.iqmetrix.samples import SUPPLIER, settings

OTHER = "80001"
NOW = datetime.now(UTC).replace(microsecond=0)
ONE_MINUTE = timedelta(minutes=1)


@dataclass
class Stock:
    """iQmetrix' availability of one account: keeps every push, and what it comes to."""

    settings = settings()
    pushes: list[dict[str, int]] = field(default_factory=list)
    errors: list[HubError] = field(default_factory=list)
    after: Callable[[], None] = lambda: None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    async def push_availability(self, products: Availability) -> None:
        self.calls += 1
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        assert all(product.IsAvailable is (product.Quantity > 0) for product in products.Products)
        self.pushes.append({product.Sku: product.Quantity for product in products.Products})
        self.after()

    @property
    def counts(self) -> Mapping[str, int]:
        return {sku: quantity for push in self.pushes for sku, quantity in push.items()}


@dataclass
class Scene:
    store: MemoryStore
    ours: Stock
    theirs: Stock
    handler: UpdateAvailability

    @property
    def clients(self) -> Mapping[str, Stock]:
        return {SUPPLIER: self.ours, OTHER: self.theirs}

    async def hear(
        self, event: Event[InventoryCounted], handler: UpdateAvailability | None = None
    ) -> Outcome:
        message = Message(b"{}", type=event.type, message_id=event.id)
        context = Context("update_availability", "hub.iqmetrix.update-availability", 1, message)
        return await (handler or self.handler)(event, context)


@pytest.fixture
def scene() -> Scene:
    store, ours, theirs = MemoryStore(), Stock(), Stock()
    handler = UpdateAvailability(store, {SUPPLIER: ours, OTHER: theirs}, "host:1:start")
    return Scene(store, ours, theirs, handler)


def counted(
    counts: Mapping[str, int],
    *,
    at: datetime = NOW,
    id_: str = "count-1",
    sources: Sequence[str] | None = None,
) -> Event[InventoryCounted]:
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in counts.items()]
    data = InventoryCounted.model_validate({"items": items, "sources": sources})
    return Event(id=id_, type="inventory.counted", source="/tests", subject="", time=at, data=data)


# --- to every account, once ----------------------------------------------------------------------------------


async def test_counts_are_pushed_to_every_account(scene: Scene) -> None:
    outcome = await scene.hear(counted({"A": 118, "B": 0, "C": -3}))

    assert outcome == Done("2 told")
    assert scene.ours.pushes == scene.theirs.pushes == [{"A": 118, "B": 0, "C": 0}]


async def test_the_last_count_of_a_sku_is_the_valid_one(scene: Scene) -> None:
    event = counted({"A": 1})
    data = InventoryCounted.model_validate(
        {"items": [{"sku": "A", "quantity": 5}, {"sku": "A", "quantity": 3}]}
    )

    await scene.hear(Event(event.id, event.type, event.source, event.subject, event.time, data))

    assert scene.ours.pushes == [{"A": 3}]


async def test_a_long_count_is_pushed_in_parts(scene: Scene) -> None:
    outcome = await scene.hear(counted({f"SKU-{number}": number for number in range(2001)}))

    assert outcome == Done("6 told")
    assert [len(push) for push in scene.ours.pushes] == [1000, 1000, 1]
    assert len(scene.ours.counts) == 2001


async def test_a_repeated_event_is_not_pushed_again(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}))

    assert await scene.hear(counted({"A": 5})) == Done("2 told before")
    assert scene.ours.pushes == [{"A": 5}]


async def test_counts_for_other_sources_are_ignored(scene: Scene) -> None:
    assert await scene.hear(counted({"A": 5}, sources=["retailops"])) == Done("not for iqmetrix")
    assert scene.ours.pushes == []


async def test_the_retry_asks_only_the_account_that_failed(scene: Scene) -> None:
    scene.ours.errors = [PartnerUnavailable("503")]
    assert await scene.hear(counted({"A": 5})) == Retry("503")

    outcome = await scene.hear(counted({"A": 5}))

    assert outcome == Done("1 told, 1 told before")
    assert scene.ours.pushes == scene.theirs.pushes == [{"A": 5}]


async def test_a_refusal_waits_for_what_may_pass(scene: Scene) -> None:
    scene.ours.errors = [PartnerRejected("400"), PartnerRejected("400")]
    scene.theirs.errors = [PartnerUnavailable("503")]

    assert await scene.hear(counted({"A": 5})) == Retry("503")
    assert await scene.hear(counted({"A": 5})) == Reject("400")

    assert scene.theirs.pushes == [{"A": 5}]


async def test_an_account_that_does_not_answer_delays_no_other(scene: Scene) -> None:
    scene.ours.open.clear()

    deliveries = [
        asyncio.create_task(scene.hear(counted({"A": number}, id_=str(number), at=NOW + ONE_MINUTE * number)))
        for number in range(3)
    ]
    await eventually(lambda: scene.theirs.counts == {"A": 2})

    assert scene.ours.pushes == []
    scene.ours.open.set()
    await asyncio.gather(*deliveries)
    assert scene.ours.counts == {"A": 2}


async def test_those_who_wait_behind_a_timeout_do_not_wait_for_one_each(scene: Scene) -> None:
    scene.ours.open.clear()
    scene.ours.errors = [PartnerUnavailable("no complete answer in time")]
    deliveries = [asyncio.create_task(scene.hear(counted({"A": 5}, id_=str(number)))) for number in range(20)]
    await eventually(lambda: len(scene.theirs.pushes) == 20)

    scene.ours.open.set()

    assert set(await asyncio.gather(*deliveries)) == {Retry("no complete answer in time")}
    assert scene.ours.calls == 1


# --- newest last ---------------------------------------------------------------------------------------------


async def test_an_older_count_that_waited_does_not_overwrite_a_newer_one(scene: Scene) -> None:
    scene.ours.errors = [PartnerUnavailable("503")]
    older, newer = counted({"A": 5}, id_="older"), counted({"A": 3}, id_="newer", at=NOW + ONE_MINUTE)
    assert await scene.hear(older) == Retry("503")

    outcomes = [await scene.hear(newer), await scene.hear(older)]

    assert outcomes == [Done("2 told"), Done("superseded")]
    assert scene.ours.pushes == [{"A": 3}]


async def test_what_is_not_superseded_of_an_older_count_is_pushed(scene: Scene) -> None:
    await scene.hear(counted({"A": 3}, id_="newer", at=NOW + ONE_MINUTE))

    outcome = await scene.hear(counted({"A": 5, "B": 7}, id_="older"))

    assert outcome == Done("2 told")
    assert scene.ours.pushes == [{"A": 3}, {"B": 7}]


async def test_only_parts_of_a_long_count_may_be_superseded(scene: Scene) -> None:
    whole = {f"SKU-{number}": 1 for number in range(1001)}
    await scene.hear(counted({"SKU-1000": 9}, id_="newer", at=NOW + ONE_MINUTE))

    outcome = await scene.hear(counted(whole, id_="older"))

    assert outcome == Done("2 told, 2 superseded")
    assert scene.ours.counts == {**whole, "SKU-1000": 9}


async def test_a_count_of_the_same_time_is_not_older(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}, id_="first"))

    assert await scene.hear(counted({"A": 3}, id_="second")) == Done("2 told")
    assert scene.ours.counts == {"A": 3}


async def test_identical_bodies_without_an_id_are_counts_of_their_own(scene: Scene) -> None:
    for minute, quantity in enumerate((5, 3, 5)):
        body = b'{"items": [{"sku": "A", "quantity": %d}]}' % quantity
        message = Message(
            body,
            content_type="application/json",
            timestamp=NOW + ONE_MINUTE * minute,
            exchange="hub.fulfillment",
            routing_key="inventory.counted",
        )
        await scene.hear(cloudevents.decode(message))

    assert scene.ours.pushes == [{"A": 5}, {"A": 3}, {"A": 5}]


async def test_a_time_in_the_far_future_does_not_block_later_counts(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}, id_="mistaken", at=NOW + timedelta(days=365)))

    await scene.hear(counted({"A": 3}, id_="right", at=datetime.now(UTC) + timedelta(seconds=5)))

    assert scene.ours.counts == {"A": 3}


async def test_a_new_process_knows_what_was_told(scene: Scene) -> None:
    await scene.hear(counted({"A": 3}, id_="newer", at=NOW + ONE_MINUTE))
    other = UpdateAvailability(scene.store, scene.clients, "host:2:start")

    assert await scene.hear(counted({"A": 5}, id_="older"), other) == Done("superseded")


async def test_counts_that_come_at_once_end_in_the_newest(scene: Scene) -> None:
    events = [
        counted({"A": number}, id_=str(number), at=NOW + ONE_MINUTE * number) for number in (2, 0, 4, 1, 3)
    ]

    await asyncio.gather(*(scene.hear(event) for event in events))

    assert scene.ours.counts == scene.theirs.counts == {"A": 4}


async def test_two_processes_do_not_push_to_one_account_at_once(scene: Scene) -> None:
    other = UpdateAvailability(scene.store, scene.clients, "host:2:start")
    scene.ours.open.clear()
    older = asyncio.create_task(scene.hear(counted({"A": 5}, id_="older")))
    await eventually(lambda: scene.ours.calls == 1)
    newer = counted({"A": 3}, id_="newer", at=NOW + ONE_MINUTE)

    outcome = await scene.hear(newer, other)
    assert isinstance(outcome, Retry)
    assert not outcome.counts

    scene.ours.open.set()
    await older
    assert await scene.hear(newer, other) == Done("1 told, 1 told before")
    assert scene.ours.counts == scene.theirs.counts == {"A": 3}


async def test_a_busy_account_does_not_hide_that_another_fails(scene: Scene) -> None:
    await scene.store.acquire_lease(
        f"iqmetrix:availability:{SUPPLIER}", holder="host:2:start", lease=ONE_MINUTE
    )
    scene.theirs.errors = [PartnerUnavailable("503")]

    assert await scene.hear(counted({"A": 5})) == Retry("503")


# --- the store -----------------------------------------------------------------------------------------------


async def test_what_was_taken_is_recorded_however_long_the_store_is_away(scene: Scene) -> None:
    pauses = Pauses(scene.store, back_after=3)
    handler = UpdateAvailability(scene.store, {SUPPLIER: scene.ours}, "host:1:start", sleep=pauses)
    scene.ours.after = lambda: setattr(scene.store, "away", "disk full")

    outcomes = [await scene.hear(counted({"A": 5}), handler) for _ in range(2)]

    assert outcomes == [Done("1 told"), Done("1 told before")]
    assert scene.ours.pushes == [{"A": 5}]
    assert len(pauses.seconds) == 3
    assert await scene.hear(counted({"A": 1}, at=NOW - ONE_MINUTE, id_="older"), handler) == Done(
        "superseded"
    )


async def test_what_another_process_told_meanwhile_is_not_forgotten(scene: Scene) -> None:
    """The store is away for longer than the lease lasts, and another process tells a newer count before we record."""
    older, newer = counted({"A": 5}, id_="older"), counted({"A": 3}, id_="newer", at=NOW + ONE_MINUTE)

    async def another_tells(_seconds: float) -> None:
        scene.store.away, scene.ours.after = "", lambda: None
        await scene.store.release_lease(f"iqmetrix:availability:{SUPPLIER}", holder="host:1:start")
        await scene.hear(newer, UpdateAvailability(scene.store, {SUPPLIER: scene.ours}, "host:2:start"))

    handler = UpdateAvailability(scene.store, {SUPPLIER: scene.ours}, "host:1:start", sleep=another_tells)
    scene.ours.after = lambda: setattr(scene.store, "away", "disk full")

    await scene.hear(older, handler)

    last = counted({"A": 4}, id_="last", at=NOW + ONE_MINUTE / 2)
    assert await scene.hear(last, handler) == Done("superseded")
    assert scene.ours.counts == {"A": 3}
