"""Many effects, few calls: what consumers that batch have in common, whether they mark orders or tell counts.

    claim all - call part by part, and take apart what is refused - record what was taken, give back the rest

Each event is an effect of its own in the ledger, however it was batched. A refused call says nothing of which record it
is about, so the part is cut until the bad record is alone. An odd answer belongs to the part that got it. After any other
failure no call follows: it is about the partner or the moment, and the others would meet the same, after a timeout each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import TypeVar

from consumers.effects.once import LOOK_AGAIN, Sleep, claimed, give_back, is_odd, recorded
from hub.errors import Busy, HubError, PermanentError, StoreUnavailable
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Done, Outcome
from hub.models.input.quoting import shown_id
from hub.observability.metrics import REPEATED
from hub.partners.retailops.answers import Refused
from hub.state.event_identity import OtherContent
from hub.state.protocols import ClaimState, EffectStore

T = TypeVar("T")
Cut = Callable[[Sequence[T]], Sequence[Sequence[T]]]

_attempts = count(1)
# Odd answers after which the parts that are left wait, at no attempt, for another time.
_ODD_IN_A_ROW = 3


def parts_of(records: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut records into calls of ``size`` at most."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def singles(part: Sequence[T]) -> Sequence[Sequence[T]]:
    """Cut a refused part into its records: where a refusal may have taken effect for some, each is to be asked."""
    return [[record] for record in part]


def halves(part: Sequence[T]) -> Sequence[Sequence[T]]:
    """Cut a refused part in two: one bad record of a thousand is found in twenty calls; repeating the others is safe."""
    middle = len(part) // 2
    return [part[:middle], part[middle:]]


async def call_in_parts(
    parts: Iterator[Sequence[T]],
    call: Callable[[Sequence[T]], Awaitable[None]],
    cut: Cut[T],
    *,
    in_vain: int | None = None,
) -> Sequence[tuple[Sequence[T], HubError | None]]:
    """Call part by part, and give what came of each: nothing, or the error that its records failed with.

    Args:
        parts: of a call each.
        call: raises unless the partner has taken all of a part; ``Refused`` and ``PermanentError`` are about one of its
            records, an odd answer about its part, any other ``HubError`` about all that is still to be called.
        cut: takes a refused part apart.
        in_vain: so many refusals without a success between them are about the partner, and end it; None: none are.
    """
    waiting = deque(parts)
    ended: list[tuple[Sequence[T], HubError | None]] = []
    refusals = odd = 0
    while waiting:
        part = waiting.popleft()
        try:
            await call(part)
        except (Refused, PermanentError) as refusal:
            refusals += 1
            if refusals == in_vain:
                return [*ended, (part, refusal), *((rest, refusal) for rest in waiting)]
            if len(part) > 1:
                waiting.extendleft(reversed(cut(part)))
            else:
                ended.append((part, refusal))
        except HubError as failure:
            ended.append((part, failure))
            if not is_odd(failure):
                return [*ended, *((rest, failure) for rest in waiting)]
            odd += 1
            if odd == _ODD_IN_A_ROW:
                spared = Busy("not called: the calls before it were answered oddly", retry_after=LOOK_AGAIN)
                return [*ended, *((rest, spared) for rest in waiting)]
        else:
            refusals = odd = 0
            ended.append((part, None))
    return ended


@dataclass(frozen=True, slots=True)
class Same:
    """What makes an effect the same as one of before, beside its key (see ``EffectStore.claim_effect``)."""

    key_before: str = ""
    content: str | None = None


class Claims:
    """The effects of many events, claimed together.

    Args:
        store: the ledger.
        holder: this process.
        before: the note of what was done before.
        sleep: waits between attempts to record, for tests.
    """

    def __init__(self, store: EffectStore, holder: str, *, before: str, sleep: Sleep = asyncio.sleep) -> None:
        self._store = store
        self._holder = holder
        self._before = before
        self._sleep = sleep

    async def take(
        self, keys: Mapping[str, Sequence[str]], lease: timedelta, same: Mapping[str, Same] | None = None
    ) -> tuple[str, dict[str, Outcome]]:
        """Claim effects for one attempt.

        Args:
            keys: of the effects, each with those that must not be under way at the same time.
            lease: longer than the call can take.
            same: what makes some of these effects the same as one of before.

        Returns:
            The name of the attempt, which gives back claims of its own alone, and the outcomes of those effects that
            are not to be had: done before, or another attempt is at them.
        """
        attempt = f"{self._holder}#batch-{next(_attempts)}"
        found = await asyncio.gather(
            *(
                self._claimed(key, apart_from, attempt, lease, (same or {}).get(key, Same()))
                for key, apart_from in keys.items()
            )
        )
        others = {key: outcome for key, outcome in zip(keys, found, strict=True) if outcome is not None}
        return attempt, others

    async def _claimed(
        self, key: str, apart_from: Sequence[str], attempt: str, lease: timedelta, same: Same
    ) -> Outcome | None:
        try:
            claim = await claimed(
                self._store,
                key,
                attempt,
                lease,
                apart_from=apart_from,
                key_before=same.key_before,
                content=same.content,
            )
        except StoreUnavailable as error:
            return outcome_of(error)
        match claim.state:
            case ClaimState.DONE:
                REPEATED.inc()
                return Done(self._before)
            case ClaimState.BUSY:
                busy = f"another attempt is at {shown_id(key)}, or at what must not meet it"
                return outcome_of(Busy(busy, retry_after=LOOK_AGAIN))
            case ClaimState.OTHER:
                return outcome_of(OtherContent())
            case ClaimState.TRAVELLING:
                raise AssertionError(f"{key} has no stored copy")
            case ClaimState.GRANTED:
                return None

    async def give_back(self, keys: Sequence[str], attempt: str) -> None:
        """Release claims."""
        await asyncio.gather(*(give_back(self._store, key, attempt) for key in keys))

    async def record(self, keys: Sequence[str]) -> None:
        """Record effects, however long the store is away."""
        await asyncio.gather(
            *(recorded(partial(self._store.record_effect, key), sleep=self._sleep) for key in keys)
        )
