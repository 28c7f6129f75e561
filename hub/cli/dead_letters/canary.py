"""The first letters of a replay, and what became of them.

An order's timeline tells by message id whether an attempt was done, waits or died. Letters about no order have no
timeline: for them the dead-letter queue is asked whether they are back. What neither tells by the end of the watch is
not settled, and said to be so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import ClientSession
from hub.cli.context import state_store
from hub.cli.output.printing import as_objects, note, print_table
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.errors import ConfigError, StoreUnavailable
from hub.models.input.quoting import shown_id
from hub.models.settlement import SettlementState
from hub.process.lifecycle import Stop
from hub.state.protocols import Store, TimelineEntry

_LOOK_SECONDS = 0.5
_COLUMNS = (Column("id", "id"), Column("outcome", "number"), Column("note"))


class ReplayResult(StrEnum):
    """What became of a letter that was sent back."""

    DONE = "done"
    WAITING = "waiting"
    DEAD = "dead again"
    OPEN = "not settled"


@dataclass(slots=True)
class Sent:
    """A letter that was sent back."""

    letter_id: str
    queue: str
    work_queue: str | None
    order_id: str | None
    replays: int
    at: datetime
    result: ReplayResult = ReplayResult.OPEN
    note: str = ""


class Canary:
    """The letters that were sent first.

    Args:
        seconds: how long they are watched.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.sent: list[Sent] = []
        self._dead_before: dict[str, int] = {}

    def add(self, letter: Letter) -> None:
        """Remember a letter that is on its way; its own clock may be a little behind that of the hub."""
        self.sent.append(
            Sent(
                letter.id,
                letter.queue,
                letter.work_queue,
                letter.order_id,
                letter.book.replays,
                datetime.now(UTC).replace(microsecond=0),
            )
        )

    def has_sent(self, letter: Letter) -> bool:
        """Whether this is one of them, back again."""
        return any(
            sent.letter_id == letter.id and sent.queue == letter.queue and letter.book.replays > sent.replays
            for sent in self.sent
        )

    def count(self, result: ReplayResult) -> int:
        """Return how many ended like this."""
        return sum(sent.result is result for sent in self.sent)

    def objects(self) -> list[dict[str, Any]]:
        """Return their results as objects, for JSON."""
        return as_objects(_COLUMNS, [(sent.letter_id, sent.result.value, sent.note) for sent in self.sent])

    async def watch(self, open_session: ClientSession, settings: Settings, stop: Stop) -> None:
        """Look until each has a result, the time is over, nobody works on their queues, or the end is asked for."""
        if not self.sent:
            return
        deadline = time.monotonic() + self._seconds
        idle = await self._idle(open_session)
        try:
            async with state_store(settings) as store:
                while self._open() and not idle and time.monotonic() < deadline and not stop.asked:
                    await self._look(open_session, store)
                    if self._open():
                        await stop.sleep(_LOOK_SECONDS)
        except (StoreUnavailable, ConfigError) as error:
            note(f"hub: what became of them cannot be seen: {error}")
        for sent in self._open():
            sent.note = self._why_open(sent, idle)

    def _open(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.result is ReplayResult.OPEN]

    async def _idle(self, open_session: ClientSession) -> frozenset[str]:
        """Return their work queues if nobody consumes any of them: then there is nothing to wait for."""
        queues = {sent.work_queue for sent in self.sent if sent.work_queue}
        workloads = {name: await dead_letter_queue.workload(open_session.connection, name) for name in queues}
        return frozenset(queues) if not any(load.consumers for load in workloads.values()) else frozenset()

    async def _look(self, open_session: ClientSession, store: Store) -> None:
        for sent in self._open():
            if sent.order_id is not None:
                _read_timeline(sent, await store.timeline_of(sent.order_id))
        for queue in {sent.queue for sent in self._open()}:
            dead = (await dead_letter_queue.workload(open_session.connection, queue)).ready
            if dead != self._dead_before.get(queue):
                await self._look_among_the_dead(open_session, queue)
            self._dead_before[queue] = dead

    async def _look_among_the_dead(self, open_session: ClientSession, queue: str) -> None:
        waiting = {sent.letter_id: sent for sent in self._open() if sent.queue == queue}
        async with (
            dead_letter_queue.open_letters(open_session.connection, queue) as open_letters,
            aclosing(open_letters.letters()) as every,
        ):
            async for letter in every:
                sent = waiting.get(letter.id)
                if sent is not None and letter.book.replays > sent.replays:
                    sent.result, sent.note = ReplayResult.DEAD, letter.reason

    def _why_open(self, sent: Sent, idle: frozenset[str]) -> str:
        if sent.work_queue in idle:
            return f"nobody works on {sent.work_queue} now; is hub run up?"
        return f"neither done nor dead again within {self._seconds:g} s"


def tell_canary(canary: Canary) -> None:
    """Print what became of each."""
    rows = [(sent.letter_id, sent.result.value, sent.note) for sent in canary.sent]
    print_table(_COLUMNS, rows, title="The first letters")


_RESULTS: Mapping[str, ReplayResult] = {
    SettlementState.DONE: ReplayResult.DONE,
    SettlementState.WAITING: ReplayResult.WAITING,
    SettlementState.DEAD: ReplayResult.DEAD,
}


def _read_timeline(sent: Sent, entries: Sequence[TimelineEntry]) -> None:
    """Take the result from the first attempt after the replay; to be parked behind somebody else is none."""
    for entry in entries:
        facts = entry.facts
        is_its = facts.get("message_id") == shown_id(sent.letter_id) and facts.get("queue") == sent.work_queue
        if is_its and entry.at >= sent.at and entry.what in _RESULTS and not facts.get("parked"):
            sent.result, sent.note = _RESULTS[entry.what], str(facts.get("note") or "")
            return
