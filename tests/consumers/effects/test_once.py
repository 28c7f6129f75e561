"""A call made once: what the partner has taken is recorded, however long the store takes."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from consumers.effects.batched_calls import Claims
from consumers.effects.once import claimed, once, recorded
from hub.errors import Busy, PartnerRejected, StoreUnavailable
from hub.messaging.outcome import Retry
from hub.state.protocols import Claim, ClaimState
from tests.consumers.pauses import Pauses
from tests.fakes import MemoryStore

HOLDER = "host:1:start"
LEASE = timedelta(minutes=1)


class Partner:
    """Counts its calls; each does what it is told: wait, lose the store, refuse."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.calls = 0
        self.reached = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.then_away = False

    async def __call__(self) -> None:
        self.calls += 1
        self.reached.set()
        await self.answers.wait()
        if self.then_away:
            self._store.away = "disk full"
        if self.error is not None:
            raise self.error


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def partner(store: MemoryStore) -> Partner:
    return Partner(store)


async def state_of(store: MemoryStore, key: str = "key") -> ClaimState:
    return (await store.claim_effect(key, holder="another", lease=LEASE)).state


async def test_a_call_is_made_once(store: MemoryStore, partner: Partner) -> None:
    first = await once(store, "key", HOLDER, LEASE, partner, note="2 products")
    second = await once(store, "key", HOLDER, LEASE, partner)

    assert (first, second) == (True, False)
    assert partner.calls == 1
    assert (await store.claim_effect("key", holder=HOLDER, lease=LEASE)).note == "2 products"


async def test_what_was_taken_is_recorded_however_long_the_store_is_away(
    store: MemoryStore, partner: Partner
) -> None:
    partner.then_away = True
    pauses = Pauses(store, back_after=8)

    made = await once(store, "key", HOLDER, LEASE, partner, sleep=pauses)

    assert made
    assert partner.calls == 1
    assert pauses.seconds == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert await state_of(store) is ClaimState.DONE


async def test_a_stop_ends_the_repetition_and_leaves_the_claim_to_lapse(
    store: MemoryStore, partner: Partner
) -> None:
    partner.then_away = True
    pauses = Pauses(store, back_after=0)
    attempt = asyncio.create_task(once(store, "key", HOLDER, LEASE, partner, sleep=pauses))
    await pauses.begun.wait()

    attempt.cancel()
    await asyncio.wait([attempt])

    store.away = ""
    assert attempt.cancelled()
    assert await state_of(store) is ClaimState.BUSY


async def test_a_refused_call_gives_its_claim_back(store: MemoryStore, partner: Partner) -> None:
    partner.error = PartnerRejected("no")

    with pytest.raises(PartnerRejected):
        await once(store, "key", HOLDER, LEASE, partner)

    assert await state_of(store) is ClaimState.GRANTED


async def test_a_claim_that_cannot_be_given_back_does_not_hide_why_the_call_failed(
    store: MemoryStore, partner: Partner
) -> None:
    partner.error = PartnerRejected("no")
    partner.then_away = True

    with pytest.raises(PartnerRejected):
        await once(store, "key", HOLDER, LEASE, partner)


async def test_two_attempts_of_one_process_do_not_call_at_once(store: MemoryStore, partner: Partner) -> None:
    partner.answers.clear()
    first = asyncio.create_task(once(store, "key", HOLDER, LEASE, partner))
    await partner.reached.wait()

    with pytest.raises(Busy):
        await once(store, "key", HOLDER, LEASE, partner)

    partner.answers.set()
    assert await first
    assert partner.calls == 1


async def test_an_attempt_whose_lease_has_lapsed_cannot_give_back_the_claim_of_a_newer_one(
    store: MemoryStore, partner: Partner
) -> None:
    lapsed, newer = Partner(store), partner
    lapsed.error = PartnerRejected("no")
    for slow in (lapsed, newer):
        slow.answers.clear()
    first = asyncio.create_task(once(store, "key", HOLDER, timedelta(0), lapsed))
    await lapsed.reached.wait()
    second = asyncio.create_task(once(store, "key", HOLDER, LEASE, newer))
    await newer.reached.wait()

    lapsed.answers.set()
    await asyncio.wait([first])
    state = await state_of(store)

    newer.answers.set()
    assert await second
    assert state is ClaimState.BUSY
    assert isinstance(first.exception(), PartnerRejected)


async def test_a_record_that_the_store_takes_at_once_waits_for_nothing(store: MemoryStore) -> None:
    pauses = Pauses(store)

    await recorded(lambda: store.tell("iqmetrix", "order", {}), sleep=pauses)

    assert pauses.seconds == []
    assert await store.told("iqmetrix", "order") == {}


class LosesTheAnswer(MemoryStore):
    """Takes the first claim, and its answer never comes back."""

    lost = False

    async def claim_effect(self, key: str, **options: Any) -> Claim:
        claim = await super().claim_effect(key, **options)
        if not self.lost:
            self.lost = True
            raise StoreUnavailable("expected an answer, the connection was lost after the commit")
        return claim


async def test_a_claim_whose_answer_was_lost_is_given_back_and_the_next_attempt_need_not_wait() -> None:
    store = LosesTheAnswer()
    partner = Partner(store)

    with pytest.raises(StoreUnavailable):
        await once(store, "key", HOLDER, LEASE, partner)
    made = await once(store, "key", HOLDER, LEASE, partner)

    assert made
    assert partner.calls == 1


async def test_a_claim_for_a_batch_whose_answer_was_lost_is_given_back_as_well() -> None:
    store = LosesTheAnswer()
    claims = Claims(store, HOLDER, before="told before")

    _, first = await claims.take({"key": ()}, LEASE)
    _, second = await claims.take({"key": ()}, LEASE)

    assert isinstance(first["key"], Retry)
    assert second == {}


@pytest.mark.parametrize(("took_seconds", "state"), [(7.9, ClaimState.GRANTED), (8.1, None)])
async def test_a_claim_that_took_so_long_that_others_may_have_it_is_none(
    store: MemoryStore, took_seconds: float, state: ClaimState | None
) -> None:
    moments = iter([100.0, 100.0 + took_seconds])

    if state is None:
        with pytest.raises(StoreUnavailable, match="within 8 s"):
            await claimed(store, "key", "host:1:start#1", LEASE, clock=lambda: next(moments))
        assert await state_of(store) is ClaimState.GRANTED
    else:
        claim = await claimed(store, "key", "host:1:start#1", LEASE, clock=lambda: next(moments))
        assert claim.state is state
