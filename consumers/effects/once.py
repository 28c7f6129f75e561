"""A partner call that is made once: claim it in the ledger, call, record it (EIP Idempotent Receiver).

Called by the consumers whose calls are not computed from what was told before. What the partner has taken must not be
forgotten because the state store is away for a moment, so a record is written as often as it takes: meanwhile the
delivery stays unacked, and a stop leaves it to the broker. The one window that remains is a crash or a stop between
the partner's answer and the record; then the call is made again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum, auto
from itertools import count
from typing import assert_never

from hub.errors import Busy, HubError, PartnerUnavailable, PartnerUnreachable, StoreUnavailable, Throttled
from hub.models.input.quoting import shown_id
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import REPEATED
from hub.state.event_identity import OtherContent
from hub.state.protocols import PRESENCE, Claim, ClaimState, EffectStore

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

# Looking again at once at what somebody else is doing would only spin.
LOOK_AGAIN = timedelta(seconds=1)
# Between attempts to write a record: 0.2 s, 0.4 s, … 5 s, 5 s, … so that a store that blinks delays little.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

# A claim is another's once this process has been silent for ``PRESENCE``. A machine that stands still for so long while it
# claims would make the call beside the one that took over.
_CLAIM_SECONDS = PRESENCE.total_seconds() * 0.8

_attempts = count(1)


class Made(Enum):
    """When a call was made."""

    NOW = auto()
    BEFORE = auto()
    DELEGATED = auto()
    """It is for a stored copy to make it (see ``EffectStore.delegate_effect``)."""


def is_odd(failure: HubError) -> bool:
    """Whether a partner answered, and not as it should: nothing says that another call would meet the same."""
    about_all = isinstance(failure, PartnerUnreachable | Throttled)
    answered = failure.facts.status is not None or failure.facts.code == "damaged"
    return isinstance(failure, PartnerUnavailable) and not about_all and answered


async def once(
    store: EffectStore,
    key: str,
    holder: str,
    lease: timedelta,
    call: Callable[[], Awaitable[None]],
    *,
    note: str = "",
    apart_from: Sequence[str] = (),
    content: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Make a call that has no stored copy unless the ledger says that it was made; see ``call_once``.

    Returns:
        True when the call was made now, False when it was made before.
    """
    made = await call_once(
        store,
        key,
        holder,
        lease,
        lambda _: call(),
        note=note,
        apart_from=apart_from,
        carried=False,
        content=content,
        sleep=sleep,
    )
    return made is Made.NOW


async def call_once(
    store: EffectStore,
    key: str,
    holder: str,
    lease: timedelta,
    call: Callable[[str], Awaitable[None]],
    *,
    note: str = "",
    apart_from: Sequence[str] = (),
    carried: bool,
    key_before: str = "",
    content: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Made:
    """Make a call unless the ledger says that it was made, or that a stored copy will make it.

    Args:
        store: the ledger.
        key: of the effect.
        holder: this process; each attempt claims under a name of its own, so that one whose lease has lapsed cannot
            give back the claim of a newer one.
        lease: longer than the call can take.
        call: given the key that the effect is kept under, which may be ``key_before``; raises unless the partner has taken it.
        note: kept with the record.
        apart_from: other effects that must not be under way at the same time.
        carried: whether this is the attempt of the stored copy, if there may be one.
        key_before: what an older release called the effect, if that is another key.
        content: of the event; None: whatever it says.
        sleep: waits between attempts to record, for tests.

    Raises:
        Busy: another attempt is at it, or at one of ``apart_from``.
        StoreUnavailable: the claim could not be taken; nothing was called.
        OtherContent: another content came under the same key before.
        HubError: what ``call`` raises; the claim was given back.
    """
    attempt = f"{holder}#{next(_attempts)}"
    claim = await claimed(
        store,
        key,
        attempt,
        lease,
        apart_from=apart_from,
        carried=carried,
        key_before=key_before,
        content=content,
    )
    key = claim.key or key
    match claim.state:
        case ClaimState.DONE:
            REPEATED.inc()
            return Made.BEFORE
        case ClaimState.TRAVELLING:
            return Made.DELEGATED
        case ClaimState.BUSY:
            raise Busy(
                f"another attempt is at {shown_id(key)}, or at what must not meet it", retry_after=LOOK_AGAIN
            )
        case ClaimState.OTHER:
            raise OtherContent
        case ClaimState.GRANTED:
            pass
        case _:
            assert_never(claim.state)
    taken = False
    try:
        await call(key)
        taken = True
    finally:
        if not taken:
            await give_back(store, key, attempt)
    await recorded(lambda: store.record_effect(key, note), sleep=sleep)
    return Made.NOW


async def claimed(
    store: EffectStore,
    key: str,
    attempt: str,
    lease: timedelta,
    *,
    apart_from: Sequence[str] = (),
    carried: bool = False,
    key_before: str = "",
    content: str | None = None,
    clock: Clock = time.monotonic,
) -> Claim:
    """Claim an effect under the name of an attempt; see ``EffectStore.claim_effect``.

    Raises:
        StoreUnavailable: it could not be taken, only the answer was lost, or it came so late that another process may
            have taken it over; it was given back.
    """
    asked = clock()
    try:
        claim = await store.claim_effect(
            key,
            holder=attempt,
            lease=lease,
            apart_from=apart_from,
            carried=carried,
            key_before=key_before,
            content=content,
        )
    except StoreUnavailable:
        # Taken all the same, nobody else could have it until it lapses.
        for taken in {key, key_before or key}:
            await give_back(store, taken, attempt)
        raise
    if claim.state is ClaimState.GRANTED and clock() - asked > _CLAIM_SECONDS:
        await give_back(store, claim.key or key, attempt)
        raise StoreUnavailable(
            f"expected the state store to grant a claim within {_CLAIM_SECONDS:g} s; it came later, when another process"
            " may have taken it over"
        )
    return claim


async def give_back(store: EffectStore, key: str, attempt: str) -> None:
    """Release a claim; one that cannot be lapses, and the error that led here says more."""
    with suppress(StoreUnavailable):
        await store.release_effect(key, holder=attempt)


async def recorded(write: Callable[[], Awaitable[None]], *, sleep: Sleep = asyncio.sleep) -> None:
    """Write what a partner has taken, again and again until the store takes it too or the task is cancelled."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            await write()
        except StoreUnavailable as error:
            if pause == _FIRST_PAUSE_SECONDS:
                log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
        else:
            return
        await sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
