"""What an action on letters will change: how many of which queue, before anything is done; then a yes.

An action on one letter that is named by its id asks nothing, unless the id lies in several queues. Every other action is one on
many letters: it needs a reason and a yes, and does no more letters than were counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import typer

from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import client_session
from hub.cli.dead_letters.selection import Choice, chosen, names_of
from hub.cli.output.asking import confirmed, which_queue
from hub.cli.output.printing import counted, note
from hub.cli.output.progress import progress
from hub.config.settings import Settings
from hub.errors import ConfigError
from hub.process.event_loop import run_short


@dataclass(slots=True)
class Survey:
    """How many letters of each queue are chosen, and in which queues each given id lies."""

    queues: Counter[str] = field(default_factory=Counter)
    places: dict[str, set[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many letters are chosen."""
        return self.queues.total()

    def add(self, letter: Letter, names: Iterable[str]) -> None:
        """Count a letter in, under the ids that name it."""
        self.queues[letter.queue] += 1
        for name in names:
            self.places.setdefault(name, set()).add(letter.queue)


def survey(
    settings: Settings, choice: Choice, names: Callable[[Letter], Iterable[str]] | None = None
) -> Survey:
    """Count the chosen letters; they stay where they are.

    Args:
        settings: for the broker.
        choice: which letters.
        names: returns the ids, as given, that name a letter; absent: those of the choice. What none names is not counted.
    """
    found = Survey()

    async def read() -> None:
        with progress("reading") as bar:
            async with client_session(settings.broker, name="hub letters") as open_session:
                for queue in choice.queues:
                    async with chosen(open_session, queue, choice, bar) as every:
                        async for letter in every:
                            given = (
                                choice.ids.intersection(names_of(letter)) if names is None else names(letter)
                            )
                            if given or names is None:
                                found.add(letter, given)

    run_short(read())
    return found


def in_one_queue(choice: Choice, found: Survey) -> Choice:
    """Return the choice with the one queue that is meant where a given id lies in several.

    Raises:
        ConfigError: it cannot be asked: nobody is here, or several ids were given.
    """
    unclear = {name: sorted(queues) for name, queues in found.places.items() if len(queues) > 1}
    for letter_id, queues in sorted(unclear.items()):
        if len(choice.ids) > 1:
            raise ConfigError(
                f"expected each id to lie in one queue, {letter_id!r} lies in {' and '.join(queues)};"
                " name one with --queue"
            )
        return replace(choice, queues=(which_queue(letter_id, queues),))
    return choice


def is_about_many(choice: Choice) -> bool:
    """Return whether an action is on more than one letter that is named by its id."""
    return len(choice.ids) != 1


def need_reason(choice: Choice, reason: str) -> None:
    """Refuse an action on many letters that says no reason.

    Raises:
        ConfigError: there is none.
    """
    if is_about_many(choice) and not reason.strip():
        raise ConfigError("expected --reason to say why, since many letters may be changed; got none")


def agreed(choice: Choice, found: Survey, *, verb: str, yes: bool) -> None:
    """Show how many letters are meant and ask; ends with status 1 unless the answer is yes."""
    if not is_about_many(choice) or not found.count:
        return
    for queue, number in found.queues.items():
        note(f"{counted(number, 'letter')} in {queue}")
    if not confirmed(f"{verb} {counted(found.count, 'letter')}?", yes=yes):
        note("hub: nothing was done; all letters stay")
        raise typer.Exit(1)
