"""A partner call that is made once: claim it in the ledger, call, record it (EIP Idempotent Receiver).

Called by the consumers whose calls are not computed from what was told before. What the partner has taken must not be
forgotten because the state store is away for a moment, so a record is written as often as it takes: meanwhile the
delivery stays unacked, and a stop leaves it to the broker. The one window that remains is a crash or a stop between
the partner's answer and the record; then the call is made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

from hub.errors import Busy, StoreUnavailable
from hub.state.stores import ClaimState, EffectStore
from hub.telemetry import LogEvent, log

Sleep = Callable[[float], Awaitable[None]]

# Looking again at once at what somebody else is doing would only spin.
LOOK_AGAIN = timedelta(seconds=1)
# Between attempts to write a record: 0.2 s, 0.4 s, … 5 s, 5 s, … so that a store that blinks delays little.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

_attempts = count(1)


async def once(
    store: EffectStore,
    key: str,
    holder: str,
    lease: timedelta,
    call: Callable[[], Awaitable[None]],
    *,
    note: str = "",
    sleep: Sleep = asyncio.sleep,
) -> bool:
    """Make a call unless the ledger says that it was made.

    Args:
        store: the ledger.
        key: of the effect.
        holder: this process; each attempt claims under a name of its own, so that one whose lease has lapsed cannot
            give back the claim of a newer one.
        lease: longer than the call can take.
        call: raises unless the partner has taken it.
        note: kept with the record.
        sleep: waits between attempts to record, for tests.

    Returns:
        True when the call was made now, False when it was made before.

    Raises:
        Busy: another attempt is at it.
        StoreUnavailable: the claim could not be taken; nothing was called.
        HubError: what ``call`` raises; the claim was given back.
    """
    attempt = f"{holder}#{next(_attempts)}"
    claim = await store.claim_effect(key, holder=attempt, lease=lease)
    if claim.state is ClaimState.DONE:
        return False
    if claim.state is ClaimState.BUSY:
        raise Busy(f"another attempt is at {key}", retry_after=LOOK_AGAIN)
    taken = False
    try:
        await call()
        taken = True
    finally:
        if not taken:
            # A claim that cannot be given back lapses; the error of the call says more.
            with suppress(StoreUnavailable):
                await store.release_effect(key, holder=attempt)
    await recorded(lambda: store.record_effect(key, note), sleep=sleep)
    return True


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
