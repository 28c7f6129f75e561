"""What an operator did to letters: counted, told to the orders' timelines in lots, and once to the log.

The action itself is done already; a timeline that cannot be written is said on standard error and fails nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hub.amqp.dead_letters.dead_letter import Letter
from hub.cli.context import operator, tell_timeline
from hub.cli.dead_letters.selection import names_of
from hub.config.settings import Settings
from hub.models.input.quoting import shown_id
from hub.observability.logging import LogEvent, log

# Entries of one write: a process that is killed leaves so many actions unrecorded at most.
_LOT = 500
# Letters that a line of the log names.
_MOST_IDS = 50


class AuditTrail:
    """The actions of one command.

    Args:
        settings: for the state store.
        what: how timelines call an action, ``letter replayed``.
        event: how the log calls it.
        why: the operator's reason, if one was given.
        names_ids: whether the log names the letters, for actions that reveal personal data.
    """

    def __init__(
        self, settings: Settings, what: str, event: LogEvent, why: str = "", *, names_ids: bool = False
    ) -> None:
        self._names_ids = names_ids
        self._settings = settings
        self._what = what
        self._event = event
        self._why = why
        self._untold: list[tuple[str | None, Mapping[str, Any]]] = []
        self._queues: Counter[str] = Counter()
        self.ids: set[str] = set()
        self._shown: list[str] = []

    @property
    def count(self) -> int:
        """How many letters were dealt with."""
        return self._queues.total()

    async def add(self, letter: Letter, **facts: Any) -> None:
        """Note one letter that was dealt with."""
        self.ids.update(names_of(letter))
        if self._names_ids:
            self._shown.append(shown_id(letter.id))
        self._queues[letter.queue] += 1
        why = {"why": self._why} if self._why else {}
        self._untold.append(
            (letter.order_id, {"queue": letter.queue, "message_id": shown_id(letter.id), **facts, **why})
        )
        if len(self._untold) >= _LOT:
            await self.flush()

    def log(self) -> None:
        """Write the log's line: who, why and how many of which queue."""
        if self.count:
            # A warning, so that it is seen beside the result of a command that is silent otherwise.
            log.warning(
                self._event,
                letters=self.count,
                queues=dict(self._queues),
                by=operator(),
                why=self._why or None,
                **({"ids": self._shown[:_MOST_IDS]} if self._names_ids else {}),
            )

    async def flush(self) -> None:
        """Write to the timelines what is not written yet."""
        told, self._untold = self._untold, []
        await tell_timeline(self._settings, self._what, told)
