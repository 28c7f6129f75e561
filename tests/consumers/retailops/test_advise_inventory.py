"""Telling RetailOps stock counts: many events in one call, each once, and never an older count over a newer one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from consumers.retailops.advise_inventory import AdviseAccount, AdviseInventory, records_of
from hub.errors import ErrorFacts, PartnerUnavailable, StoreUnavailable, Throttled
from hub.messaging.batching import Batching, Limits
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Done, Outcome, Reject, Retry
from hub.models.events import AnyEvent
from hub.partners.retailops.answers import Refused
from tests.consumers.pauses import Pauses
from tests.consumers.purchase_orders import RetailopsDouble, an_event, context
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import VENDOR, settings

TOLD, BEFORE, SUPERSEDED = Done("told"), Done("told before"), Done("superseded")
OTHER = "28"
INVALID = "retailops answered 200: invalid po"


@dataclass
class Scene:
    """Two accounts: `tell` hands events to one of them as a batch, `hear` one event to both through batches."""

    store: MemoryStore
    ours: RetailopsDouble = field(default_factory=RetailopsDouble)
    other: RetailopsDouble = field(default_factory=lambda: RetailopsDouble(settings(vendor_id=OTHER)))

    def account(self, client: RetailopsDouble, holder: str = "host:1:start") -> AdviseAccount:
        return AdviseAccount(self.store, client, holder, sleep=Pauses(self.store))

    async def tell(self, *events: AnyEvent, holder: str = "host:1:start") -> Sequence[Outcome]:
        return await self.account(self.ours, holder)([(event, context(event)) for event in events])

    async def hear(self, event: AnyEvent) -> Outcome:
        return await self.handler()(event, context(event))

    def handler(self, size: int = 1, within: timedelta = timedelta(milliseconds=20)) -> AdviseInventory:
        limits = Limits(size, within, calls=10)
        clients = {VENDOR: self.ours, OTHER: self.other}
        return AdviseInventory(
            {
                vendor: Batching(self.account(client), limits, records=records_of)
                for vendor, client in clients.items()
            }
        )

    @property
    def calls(self) -> Sequence[Mapping[str, int]]:
        return [counts for _, counts in self.ours.calls]


@pytest.fixture
def scene() -> Scene:
    return Scene(MemoryStore())


def counted(
    counts: Mapping[str, int] | Sequence[tuple[str, int]],
    *,
    event_id: str = "count-1",
    minutes: int = -60,
    sources: Sequence[str] | None = None,
) -> AnyEvent:
    pairs = counts.items() if isinstance(counts, Mapping) else counts
    items = [{"sku": sku, "quantity": quantity} for sku, quantity in pairs]
    data = {"items": items, "sources": sources}
    return an_event("inventory.counted", data, event_id, later=timedelta(minutes=minutes))


def events_of(count: int, skus_each: int) -> list[AnyEvent]:
    return [
        counted(
            {f"SKU-{number * skus_each + each}": each for each in range(skus_each)},
            event_id=f"count-{number}",
        )
        for number in range(count)
    ]


# --- to every account ----------------------------------------------------------------------------------------


async def test_counts_are_told_to_every_account_the_last_of_a_sku_and_none_below_zero(scene: Scene) -> None:
    assert await scene.hear(counted([("A", 1), ("B", -3), ("A", 118)])) == Done("2 told")
    assert scene.ours.calls == scene.other.calls == [("advised", {"A": 118, "B": 0})]


async def test_counts_for_other_sources_are_ignored(scene: Scene) -> None:
    assert await scene.hear(counted({"A": 5}, sources=["iqmetrix"])) == Done("not for retailops")
    assert scene.ours.calls == []


async def test_one_account_that_fails_does_not_keep_the_other_from_its_counts(scene: Scene) -> None:
    scene.ours.errors = [PartnerUnavailable("away")]

    assert await scene.hear(counted({"A": 5})) == Retry("away")

    assert await scene.hear(counted({"A": 5})) == Done("1 told, 1 told before")
    assert (len(scene.ours.calls), len(scene.other.calls)) == (2, 1)


async def test_an_account_that_hangs_does_not_delay_the_other(scene: Scene) -> None:
    scene.ours.open.clear()
    handler = scene.handler()
    events = events_of(3, 1)

    deliveries = [asyncio.create_task(handler(event, context(event))) for event in events]
    await eventually(lambda: len({sku for _, told in scene.other.calls for sku in told}) == 3)

    assert scene.ours.calls == []
    scene.ours.open.set()
    assert await asyncio.gather(*deliveries) == [Done("2 told")] * 3


async def test_accounts_know_nothing_of_what_another_was_told(scene: Scene) -> None:
    await scene.tell(counted({"A": 5}))

    assert await scene.account(scene.other)(
        [(counted({"A": 5}, minutes=-90), context(counted({"A": 5})))]
    ) == [TOLD]
    assert await scene.store.told(f"retailops:inventory:{VENDOR}", "0") is None
    shelves = [await scene.store.told(f"retailops:inventory:{OTHER}", str(shelf)) for shelf in range(64)]
    assert sum(shelf is not None for shelf in shelves) == 1


# --- few calls -----------------------------------------------------------------------------------------------


async def test_a_long_count_is_told_in_calls_of_at_most_1000(scene: Scene) -> None:
    assert await scene.tell(*events_of(1, 2001)) == [TOLD]
    assert [len(counts) for counts in scene.calls] == [1000, 1000, 1]


async def test_the_limit_of_the_account_is_kept(scene: Scene) -> None:
    scene.ours.settings = settings(batch_size=2)

    await scene.tell(*events_of(5, 1))

    assert [len(counts) for counts in scene.calls] == [2, 2, 1]


@pytest.mark.parametrize(("count", "skus_each", "calls"), [(1000, 1, 1), (10, 1000, 10), (10, 700, 7)])
async def test_many_events_share_calls(scene: Scene, count: int, skus_each: int, calls: int) -> None:
    assert await scene.tell(*events_of(count, skus_each)) == [TOLD] * count
    assert len(scene.calls) == calls


async def test_the_last_count_of_a_sku_in_a_batch_wins_by_time_and_then_by_order(scene: Scene) -> None:
    outcomes = await scene.tell(
        counted({"A": 3, "B": 3}, event_id="newest", minutes=-1),
        counted({"A": 1, "C": 1}, event_id="oldest", minutes=-3),
        counted({"B": 4}, event_id="of the same time", minutes=-1),
    )

    assert outcomes == [TOLD] * 3
    assert scene.calls == [{"A": 3, "B": 4, "C": 1}]


async def test_counts_that_come_at_once_are_told_in_one_call_through_their_batch(scene: Scene) -> None:
    handler = scene.handler(size=1000, within=timedelta(seconds=30))

    outcomes = await asyncio.gather(*(handler(event, context(event)) for event in events_of(100, 10)))

    assert set(outcomes) == {Done("2 told")}
    assert [len(counts) for counts in scene.calls] == [1000]


async def test_few_statements_are_made_for_many_counts(scene: Scene) -> None:
    """Each shelf is read for the comparison and once more to write it, however many events and calls there are."""
    reads: list[str] = []
    writes: list[str] = []

    class Counting(MemoryStore):
        async def told(self, partner: str, order_id: str) -> Mapping[str, object] | None:
            reads.append(order_id)
            return await super().told(partner, order_id)

        async def tell(
            self, partner: str, order_id: str, view: Mapping[str, object], *, awaits_echo: bool = False
        ) -> None:
            writes.append(order_id)
            await super().tell(partner, order_id, view, awaits_echo=awaits_echo)

    scene.store = Counting()

    await scene.tell(*events_of(10, 1000))

    assert (len(reads), len(writes)) == (128, 64)


# --- once, and never back ------------------------------------------------------------------------------------


async def test_a_repeated_event_is_not_told_again(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}))

    assert await scene.hear(counted({"A": 5})) == Done("2 told before")
    assert len(scene.ours.calls) == 1


async def test_an_event_that_is_in_a_batch_twice_is_told_once(scene: Scene) -> None:
    assert await scene.tell(counted({"A": 5}), counted({"A": 5})) == [TOLD, TOLD]
    assert await scene.tell(counted({"A": 5}), counted({"B": 5}, event_id="other")) == [BEFORE, TOLD]
    assert scene.calls == [{"A": 5}, {"B": 5}]


async def test_an_older_count_does_not_overwrite_a_newer_one(scene: Scene) -> None:
    await scene.hear(counted({"A": 5}, event_id="newer", minutes=-10))

    assert await scene.hear(counted({"A": 9})) == Done("superseded")
    await scene.hear(counted({"A": 9, "B": 2}, event_id="older-too"))
    assert scene.ours.calls == [("advised", {"A": 5}), ("advised", {"B": 2})]


async def test_a_new_process_knows_what_was_told(scene: Scene) -> None:
    await scene.tell(counted({"A": 3}, event_id="newer", minutes=-10))

    assert await scene.tell(counted({"A": 5}), holder="host:2:start") == [SUPERSEDED]


async def test_a_count_of_the_same_time_is_not_older(scene: Scene) -> None:
    await scene.tell(counted({"A": 5}, event_id="first"))

    assert await scene.tell(counted({"A": 3}, event_id="second")) == [TOLD]


async def test_a_time_in_the_far_future_does_not_block_later_counts(scene: Scene) -> None:
    await scene.tell(counted({"A": 5}, event_id="mistaken", minutes=60 * 24 * 365))

    # By the clock of this moment: the events of a file count from when it was imported.
    right = replace(counted({"A": 3}, event_id="right"), time=datetime.now(UTC) + timedelta(seconds=5))
    assert await scene.tell(right) == [TOLD]


async def test_two_processes_do_not_tell_one_account_at_once(scene: Scene) -> None:
    scene.ours.open.clear()
    first = asyncio.create_task(scene.tell(counted({"A": 5}, event_id="older", minutes=-90)))
    await eventually(lambda: bool(scene.store._leases))

    newer = counted({"A": 3})
    handler = AdviseInventory(
        {
            VENDOR: Batching(
                scene.account(scene.ours, "host:2:start"), Limits(1, timedelta()), records=records_of
            )
        }
    )
    outcome = await handler(newer, context(newer))

    assert isinstance(outcome, Retry)
    assert not outcome.counts
    scene.ours.open.set()
    assert await first == [TOLD]
    assert await scene.tell(newer, holder="host:2:start") == [TOLD]
    assert scene.calls == [{"A": 5}, {"A": 3}]


# --- what fails ----------------------------------------------------------------------------------------------


async def test_one_bad_sku_sinks_its_own_events_alone_and_is_named(scene: Scene) -> None:
    scene.ours.bad = frozenset({"SKU-1234"})
    events = events_of(200, 10)
    also = counted({"SKU-1234": 7, "X": 1}, event_id="also")

    outcomes = await scene.tell(*events, also)

    refused = Retry(f"SKU 'SKU-1234': {INVALID}")
    assert [number for number, outcome in enumerate(outcomes) if outcome == refused] == [123, 200]
    assert sum(outcome == TOLD for outcome in outcomes) == 199
    # Three calls, and two for each of the ten halvings of the refused one.
    assert len(scene.calls) <= 3 + 2 * 10


async def test_the_retry_of_a_refused_event_tells_what_is_not_told_yet(scene: Scene) -> None:
    scene.ours.bad = frozenset({"BAD"})
    event = counted({"A": 1, "BAD": 2, "B": 3})
    await scene.tell(event)
    scene.ours.calls.clear()

    assert await scene.tell(event) == [Retry(f"SKU 'BAD': {INVALID}")]
    assert scene.calls == [{"BAD": 2}]

    scene.ours.bad = frozenset()
    assert await scene.tell(event) == [TOLD]
    assert await scene.tell(event) == [BEFORE]
    assert scene.calls == [{"BAD": 2}, {"BAD": 2}]


async def test_a_refused_count_is_dropped_once_a_newer_one_was_told(scene: Scene) -> None:
    scene.ours.bad = frozenset({"BAD"})
    event = counted({"BAD": 2})
    await scene.tell(event)
    scene.ours.bad = frozenset()
    await scene.tell(counted({"BAD": 1}, event_id="newer", minutes=-1))

    assert await scene.tell(event) == [SUPERSEDED]


async def test_a_partner_that_refuses_everything_is_not_asked_a_thousand_times(scene: Scene) -> None:
    skus = frozenset(f"SKU-{number}" for number in range(5000))
    scene.ours.bad = skus

    outcomes = await scene.tell(*events_of(500, 10))

    assert all(isinstance(outcome, Retry) for outcome in outcomes)
    assert len(scene.calls) == 32


async def test_no_call_follows_for_those_who_would_meet_the_same_failure(scene: Scene) -> None:
    scene.ours.errors = [Throttled("later", retry_after=timedelta(seconds=9))]

    outcomes = await scene.tell(*events_of(3, 1000))

    assert outcomes == [Retry("later", after=timedelta(seconds=9))] * 3
    assert len(scene.calls) == 1


ODD = ErrorFacts("retailops", "Update", 200, "unreadable")


def odd() -> PartnerUnavailable:
    return PartnerUnavailable("HTML", facts=ODD)


async def test_an_odd_answer_is_an_attempt_of_the_call_that_got_it_alone(scene: Scene) -> None:
    scene.ours.errors = [odd()]

    assert await scene.tell(*events_of(3, 1000)) == [Retry("HTML", facts=ODD), TOLD, TOLD]


async def test_after_odd_answers_in_a_row_the_rest_waits_at_no_attempt(scene: Scene) -> None:
    scene.ours.errors = [odd() for _ in range(3)]

    *failed, rest = await scene.tell(*events_of(4, 1000))

    assert failed == [Retry("HTML", facts=ODD)] * 3
    assert isinstance(rest, Retry)
    assert not rest.counts
    assert len(scene.calls) == 3


async def test_what_was_told_before_a_failure_is_done_and_not_told_again(scene: Scene) -> None:
    events = events_of(2, 1000)

    async def fail_the_second() -> Sequence[Outcome]:
        scene.ours.after = lambda: scene.ours.errors.append(PartnerUnavailable("away"))
        return await scene.tell(*events)

    assert await fail_the_second() == [TOLD, Retry("away")]

    scene.ours.after = lambda: None
    assert await scene.tell(*events) == [BEFORE, TOLD]
    assert len(scene.calls) == 3


async def test_already_done_is_a_success_alone_and_says_nothing_of_others(scene: Scene) -> None:
    scene.ours.already = frozenset({"A"})

    assert await scene.tell(counted({"A": 5, "B": 2})) == [TOLD]
    assert scene.calls == [{"A": 5, "B": 2}, {"A": 5}, {"B": 2}]


async def test_a_failure_gives_the_claims_back(scene: Scene) -> None:
    scene.ours.errors = [Refused("no"), PartnerUnavailable("away")]

    assert await scene.tell(counted({"A": 5, "B": 2})) == [Retry("away")]
    assert await scene.tell(counted({"A": 5, "B": 2}), holder="host:2:start") == [TOLD]


async def test_a_refusal_in_one_account_waits_for_what_may_pass_in_another(scene: Scene) -> None:
    scene.ours.errors = [PartnerUnavailable("away")]
    scene.other.bad = frozenset({"A"})

    outcome = await scene.hear(counted({"A": 5}))

    assert isinstance(outcome, Retry)
    assert not isinstance(outcome, Reject)


# --- the store -----------------------------------------------------------------------------------------------


async def test_what_was_told_is_recorded_however_long_the_store_is_away(scene: Scene) -> None:
    pauses = Pauses(scene.store)
    account = AdviseAccount(scene.store, scene.ours, "host:1:start", sleep=pauses)
    event = counted({"A": 5})
    scene.ours.after = lambda: setattr(scene.store, "away", "restarting")

    assert await account([(event, context(event))]) == [TOLD]

    assert len(pauses.seconds) == 1
    assert await account([(event, context(event))]) == [BEFORE]


async def test_nothing_is_told_while_the_store_is_away(scene: Scene) -> None:
    scene.store.away = "restarting"

    assert await scene.hear(counted({"A": 5})) == outcome_of(StoreUnavailable("restarting"))
    assert scene.ours.calls == []


async def test_a_crash_between_the_record_of_the_counts_and_that_of_the_event_tells_nothing_again(
    scene: Scene,
) -> None:
    event = counted({"A": 5})
    await scene.tell(event)
    scene.store._done.clear()

    assert await scene.tell(event) == [SUPERSEDED]
    assert len(scene.calls) == 1
