"""One event for every account of a partner (EIP Recipient List): ask all at once, and join what became of it.

Called by ``update_availability`` and ``advise_inventory``. Each account keeps effects of its own in the ledger, so the
retry of an event calls those accounts only that were not told yet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum

from hub.errors import HubError
from hub.messaging.dispatch import guarded, outcome_of
from hub.messaging.outcome import Done, Outcome, Reject, Retry


class FanOutResult(StrEnum):
    """What became of an event, or of a part of it, for one account; the note of its ``Done``."""

    TOLD = "told"
    BEFORE = "told before"
    SUPERSEDED = "superseded"


async def tell_every(accounts: Iterable[str], tell: Callable[[str], Awaitable[Sequence[Outcome]]]) -> Outcome:
    """Report to all accounts at once; a failure of one is the outcome, and has kept nothing from the others.

    Args:
        accounts: whom to tell.
        tell: tells one account, and gives an outcome for each part of the event.
    """

    async def told(account: str) -> Sequence[Outcome]:
        try:
            return await guarded(tell(account), f"telling {account}")
        except HubError as error:
            return [outcome_of(error)]

    every = await asyncio.gather(*(told(account) for account in accounts))
    outcomes = [outcome for one in every for outcome in one]
    failed = first_to_remedy(outcomes)
    return failed if failed is not None else Done(_note(outcomes))


def first_to_remedy(outcomes: Iterable[Outcome]) -> Outcome | None:
    """Return the outcome that counts of several that are one delivery's; None when all are done.

    What may pass goes first: the retry asks the account that refused again, and ends in a letter then. What costs an
    attempt goes before what costs none, so that a busy account does not hide for ever that another fails.
    """
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Done)]
    return min(
        failed,
        key=lambda failure: (isinstance(failure, Reject), isinstance(failure, Retry) and not failure.counts),
        default=None,
    )


def _note(outcomes: Sequence[Outcome]) -> str:
    notes = Counter(outcome.note for outcome in outcomes if isinstance(outcome, Done))
    if set(notes) == {FanOutResult.SUPERSEDED}:
        return FanOutResult.SUPERSEDED
    return ", ".join(f"{notes[result]} {result}" for result in FanOutResult if notes[result]) or "no account"
