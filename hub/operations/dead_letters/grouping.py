"""Letters grouped by queue and fault, so that five thousand letters of one fault are one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hub.amqp.dead_letters.dead_letter import Letter
from hub.models.events import shown_type
from hub.models.input.quoting import shown_id
from hub.operations.dead_letters.facts import Fault, of_facts
from hub.operations.dead_letters.legacy import read_reason


@dataclass(slots=True)
class Group:
    """Letters of one queue that died of one fault."""

    queue: str
    fault: Fault
    example: str
    """The id of one of them: the newest."""
    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    alike: bool = True
    """Whether all of them say it in the same words."""

    def add(self, letter: Letter, fault: Fault) -> None:
        """Count a letter in."""
        self.count += 1
        self.alike = self.alike and fault == self.fault
        if letter.died_at is None:
            return
        self.oldest = min(self.oldest or letter.died_at, letter.died_at)
        if self.newest is None or letter.died_at >= self.newest:
            self.newest, self.example = letter.died_at, shown_id(letter.id)

    @property
    def text(self) -> str:
        """The fault in words; with ``#`` and ``…`` where the letters differ."""
        return str(self.fault) if self.alike else " · ".join(part for part in self.fault.key if part)


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """Group letters by queue and fault, the largest group of a queue first."""
    groups = Groups()
    for letter in letters:
        groups.add(letter)
    return groups.by_size()


class Groups:
    """Groups that grow letter by letter, so that no body has to be kept."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, tuple[str, ...]], Group] = {}

    def add(self, letter: Letter) -> None:
        """Count a letter into its group."""
        fault = fault_of(letter)
        group = self._groups.setdefault(
            (letter.queue, fault.key), Group(letter.queue, fault, example=shown_id(letter.id))
        )
        group.add(letter, fault)

    def by_size(self) -> list[Group]:
        """Return the groups, queue by queue as they came, the largest of each first."""
        queues = list(dict.fromkeys(group.queue for group in self._groups.values()))
        return sorted(
            self._groups.values(), key=lambda group: (queues.index(group.queue), -group.count, group.text)
        )


def fault_of(letter: Letter) -> Fault:
    """Read the facts of a letter's error, or else, from an earlier release, its reason."""
    queue, kind = letter.work_queue or letter.queue, shown_type(letter.type)
    error = letter.book.error
    return (
        of_facts(error, letter.reason, queue=queue, message_type=kind)
        if error
        else read_reason(letter.reason, queue=queue, message_type=kind)
    )
