"""What a polling consumer (EIP) is made of: the poller that asks a partner, what it brings, and where that goes.

``hub.messaging.polling.ingest`` takes it in, ``hub.messaging.polling.poll_loop`` decides when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from hub.errors import NO_FACTS, ErrorFacts
from hub.messaging.message import Message
from hub.models.events import AnyEvent
from hub.models.frozen import value
from hub.state.protocols import Cursor, CursorStore, OrderStore, ReportedStateStore, Timeline


@value(frozen=True, slots=True)
class Item:
    """One thing that a poll brought: an event, or a raw message that could not be translated and why.

    ``publish`` is False for what is only to be recorded as seen (older than the start the operator chose); ``also`` names
    further keys that are seen with it. ``raw`` makes the message that holds it as it came, for an event that cannot be
    recorded or published. ``if_known`` is what a replayed letter says where its order is recorded already: a change.
    """

    key: str
    event: AnyEvent | None = None
    letter: Message | None = None
    reason: str = ""
    facts: ErrorFacts = NO_FACTS
    publish: bool = True
    also: tuple[str, ...] = ()
    raw: Callable[[], Message] | None = field(default=None, compare=False, repr=False)
    if_known: AnyEvent | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll brought, oldest first, and the cursor that holds once all of it is confirmed.

    ``more`` tells that the next poll can follow at once, from this cursor, be it committed already or not.
    """

    items: tuple[Item, ...]
    cursor: Cursor
    more: bool = False


class Poller(Protocol):
    """Asks a partner what is new. ``name`` identifies its cursor; a new process goes on from the cursor alone."""

    name: str

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        """Return the next batch after ``cursor``, or an empty one with the same cursor.

        Raises:
            TransientError: the partner is away or asks for patience; the poll is repeated later.
            ArchiveChainBroken: the cursor must not move until a person has looked.
            PermanentError: the partner's answer is not what its documents promise, or it refuses.
        """


class Publisher(Protocol):
    """Publishes events and letters; both return when the broker has confirmed."""

    async def publish(self, event: AnyEvent) -> None:
        """Publish an event on the exchange of its type; raises ``BrokerUnavailable`` when it is not confirmed."""

    async def set_aside(
        self, message: Message, *, queue: str, reason: str, facts: ErrorFacts = NO_FACTS
    ) -> None:
        """Publish a message to the dead-letter queue of ``queue`` with its reason."""


class PollStore(CursorStore, OrderStore, Timeline, ReportedStateStore, Protocol):
    """The part of the state store that polling needs."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch, as counts of items; those taken in before are not counted again."""

    published: int = 0
    duplicates: int = 0
    set_aside: int = 0
    skipped: int = 0
