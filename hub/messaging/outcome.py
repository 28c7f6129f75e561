"""What became of a delivery: a closed set of values. Handlers return one; ``dispatch`` turns errors into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import field
from datetime import timedelta

from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import Message
from hub.models.frozen import value


@value(frozen=True, slots=True)
class Done:
    """The effect is there, or nothing was to be done; ``note`` says which."""

    note: str = ""


@value(frozen=True, slots=True)
class Retry:
    """Try again: ``after`` is the partner's own hint (``Retry-After``), else the policy's next wait counts."""

    reason: str
    after: timedelta | None = None
    counts: bool = True
    """Whether this attempt counts; parking does not, behind somebody else or for what is away."""
    for_store: bool = False
    """Whether it waits for the state store, as all deliveries then do."""
    facts: ErrorFacts = field(default=NO_FACTS, compare=False)


@value(frozen=True, slots=True)
class Reject:
    """Trying again would fail again: to the dead-letter queue with this reason."""

    reason: str
    facts: ErrorFacts = field(default=NO_FACTS, compare=False)


@value(frozen=True, slots=True)
class Part:
    """One of several messages that a delivery was split into, with its own outcome.

    ``travels`` is called as soon as the broker has confirmed the copy that the part travels on as, before anything else
    is settled: a delivery that is lost then comes again, and must not send the part on a second time.
    """

    message: Message
    outcome: Done | Retry | Reject
    travels: Callable[[], Awaitable[None]] | None = field(default=None, compare=False, repr=False)


@value(frozen=True, slots=True)
class Split:
    """The delivery was several pieces of work (EIP Splitter): each part is settled on its own.

    A part that must be retried or rejected travels on as its own message; the delivery itself is done then.
    """

    parts: tuple[Part, ...]


Outcome = Done | Retry | Reject | Split


def awaits_store(outcome: Outcome) -> str:
    """Say why an outcome waits for the state store, or nothing."""
    match outcome:
        case Retry(for_store=True):
            return outcome.reason
        case Split(parts):
            return next((why for part in parts if (why := awaits_store(part.outcome))), "")
        case _:
            return ""
