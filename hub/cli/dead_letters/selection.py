"""Which letters a command is about: by id, queue, fault, order, source and age. The same options for all commands.

Several of them narrow each other down; ``--all`` alone means every letter.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import DEAD_SUFFIX, Letter
from hub.amqp.sending.client_session import ClientSession
from hub.cli.output.printing import note
from hub.cli.output.progress import Bar
from hub.config.settings import Settings, load
from hub.config.types import parse_duration
from hub.errors import NO_FACTS, ConfigError, ErrorFacts
from hub.models.input.quoting import shown_id
from hub.operations.dead_letters.facts import normalised, says_facts
from hub.operations.dead_letters.grouping import fault_of
from hub.process.lifecycle import Stop
from hub.service.flows import topology_of


def queue_names(incomplete: str) -> list[str]:
    """Complete the name of a work queue, for the shell; without settings that can be read there is nothing to offer."""
    try:
        names = [name.removesuffix(DEAD_SUFFIX) for name in dead_letter_queue.queues(topology_of(load()))]
    except ConfigError:
        return []
    return [name for name in names if name.startswith(incomplete)]


OnQueue = Annotated[
    str | None,
    typer.Option(
        "--queue", autocompletion=queue_names, help="Only this queue; the work queue's name will do."
    ),
]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters, as hub letters list shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="All letters of all queues.")]
Fault = Annotated[
    str | None, typer.Option("--fault", help="Only letters whose reason contains this text, as listed.")
]
AboutOrder = Annotated[str | None, typer.Option("--order", help="Only letters about this order id.")]
OfSource = Annotated[
    str | None, typer.Option("--source", help="Only letters about orders of iqmetrix, retailops, …")
]
OlderThan = Annotated[
    str | None, typer.Option(metavar="AGE", help="Only letters that died before: 30s, 5m, 2h, 1d.")
]
NewerThan = Annotated[str | None, typer.Option(metavar="AGE", help="Only letters that died since: 30s, 2h.")]
OfPartner = Annotated[
    str | None, typer.Option("--partner", help="Only errors with this partner or webhook client.")
]
OfOperation = Annotated[str | None, typer.Option("--operation", help="Only errors of this call, as listed.")]
WithStatus = Annotated[
    int | None, typer.Option("--status", min=100, max=599, help="Only answers with this HTTP status.")
]
WithCode = Annotated[
    str | None, typer.Option("--code", help="Only errors with this code; hub letters show has it.")
]
WithField = Annotated[
    str | None, typer.Option("--field", help="Only errors of this field; # stands for any position.")
]


def facts(
    partner: str | None, operation: str | None, status: int | None, code: str | None, field: str | None
) -> ErrorFacts:
    """Return the facts that letters must have; what is absent or empty may be anything."""
    return ErrorFacts(partner or "", operation or "", status, code or "", field or "")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a command's options say about letters; absent: any."""

    fault: str | None = None
    order: str | None = None
    source: str | None = None
    older_than: str | None = None
    newer_than: str | None = None
    facts: ErrorFacts = NO_FACTS

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self != Filters()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about; no ids: every letter of the queues that the filters let through."""

    queues: tuple[str, ...]
    ids: frozenset[str] = frozenset()
    fault: str | None = None
    order: str | None = None
    source: str | None = None
    before: datetime | None = None
    after: datetime | None = None
    facts: ErrorFacts = NO_FACTS

    def wants(self, letter: Letter) -> bool:
        """Whether the command is about this letter; one that does not tell when it died is of no age."""
        if self.ids and self.ids.isdisjoint(names_of(letter)):
            return False
        if self.order is not None and self.order not in (letter.order_id, shown_id(letter.order_id or "")):
            return False
        if self.source is not None and letter.source != self.source:
            return False
        if self.before is not None and not (letter.died_at and letter.died_at <= self.before):
            return False
        if self.after is not None and not (letter.died_at and letter.died_at >= self.after):
            return False
        if self.facts and not _has(letter, self.facts):
            return False
        return self.fault is None or _says(letter, self.fault)


def choose(
    settings: Settings,
    ids: Sequence[str] | None,
    queue: str | None,
    filters: Filters,
    *,
    everything: bool = False,
    any_will_do: bool = False,
) -> Choice:
    """Make the choice that a command's options mean.

    Args:
        settings: for the names of the queues.
        ids: letters by id.
        queue: work queue or dead-letter queue.
        filters: the other options.
        everything: ``--all``.
        any_will_do: the command only looks, so that no option means all letters.

    Raises:
        ConfigError: no such queue, no such age, nothing chosen, or ``--all`` with something else.
    """
    chosen = bool(ids) or queue is not None or filters.given
    if not chosen and not everything and not any_will_do:
        raise ConfigError(
            "expected ids of letters, --queue NAME, another filter or --all, got none;"
            " hub letters list shows what there is"
        )
    if everything and chosen:
        raise ConfigError("expected --all alone, got other choices with it")
    now = datetime.now(UTC)
    return Choice(
        _queues(settings, queue),
        frozenset(ids or ()),
        filters.fault,
        filters.order,
        filters.source,
        _moment("--older-than", filters.older_than, now),
        _moment("--newer-than", filters.newer_than, now),
        filters.facts,
    )


@asynccontextmanager
async def chosen(
    open_session: ClientSession, queue: str, choice: Choice, bar: Bar | None = None, stop: Stop | None = None
) -> AsyncIterator[AsyncGenerator[Letter, None]]:
    """Open one queue and give its chosen letters; all of them are held until the block ends. ``stop`` ends it early.

    Raises:
        BrokerUnavailable: the connection was lost.
        ConfigError: the broker has no such queue, or its user may not read it.
    """
    async with (
        dead_letter_queue.open_letters(open_session.connection, queue) as open_letters,
        aclosing(open_letters.letters()) as every,
    ):
        if bar is not None:
            bar.expect(open_letters.size)

        async def those() -> AsyncGenerator[Letter, None]:
            async for letter in every:
                if stop is not None and stop.asked:
                    return
                if bar is not None:
                    bar.advance()
                if choice.wants(letter):
                    yield letter

        async with aclosing(those()) as wanted:
            yield wanted


def names_of(letter: Letter) -> tuple[str, str]:
    """Return the id of a letter, and the id that ``hub letters list`` shows of it."""
    return letter.id, shown_id(letter.id)


def name_missing(ids: Sequence[str]) -> None:
    """Name the ids that no letter has; exit status 1 if there are any."""
    for letter_id in ids:
        note(f"hub: no letter has the id {letter_id!r}; hub letters list shows those there are")
    if ids:
        raise typer.Exit(1)


def _says(letter: Letter, text: str) -> bool:
    """Whether the reason, or what the list makes of it, contains the text in any case."""
    wanted, fault = text.casefold(), fault_of(letter)
    error = letter.book.error
    facts = (error.partner, error.operation, str(error.status or ""), error.code, error.field)
    listed = (letter.reason, str(fault), " · ".join(fault.key), normalised(letter.reason), *facts)
    return any(wanted in said.casefold() for said in listed)


def _has(letter: Letter, wanted: ErrorFacts) -> bool:
    """Whether the letter's error has these facts; letters of earlier releases have none but partner and operation."""
    return says_facts(
        letter.book.error,
        wanted,
        queue=letter.work_queue or letter.queue,
        message_type=letter.type,
        listed=fault_of(letter),
    )


def _moment(option: str, text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        age = parse_duration(text)
        return now - age  # type: ignore[operator, no-any-return]  # a text becomes a timedelta
    except (ValueError, OverflowError):
        raise ConfigError(f"{option}: expected an age such as 30s, 5m, 2h or 1d, got {text!r}") from None


def _queues(settings: Settings, queue: str | None) -> tuple[str, ...]:
    """Return the queues meant; a name that is not on the map is taken if it is one of letters, left from older settings."""
    known = dead_letter_queue.queues(topology_of(settings))
    if queue is None:
        return known
    if queue in known or queue.endswith(DEAD_SUFFIX):
        return (queue,)
    if f"{queue}{DEAD_SUFFIX}" in known:
        return (f"{queue}{DEAD_SUFFIX}",)
    names = ", ".join(sorted(name.removesuffix(DEAD_SUFFIX) for name in known))
    raise ConfigError(f"--queue: expected one of {names}; got {queue!r}")
