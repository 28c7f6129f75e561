"""``hub letters``: dead letters by queue, one in full, back to work, or away for good.

A letter is named by its id, as ``hub letters list`` shows it. The same event may lie in several queues: ``--queue``
says which one is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.amqp import letters
from hub.amqp.errand import Errand, errand
from hub.amqp.letters import DEAD_SUFFIX, Letter
from hub.cli.desk import read_settings, tell_timeline
from hub.cli.flows import topology_of
from hub.cli.letter_forms import COLUMNS, append_line, as_line, in_full, print_in_full, row
from hub.cli.output import AsJson, as_objects, counted, note, print_json, print_table, say
from hub.config import Settings
from hub.errors import ConfigError
from hub.models.values import utc_text

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay, discard, export.")

OnQueue = Annotated[
    str | None, typer.Option("--queue", help="Only this queue; the work queue's name will do.")
]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters, as hub letters list shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="All letters of all queues.")]
Act = Callable[[Letter, Errand], Awaitable[None]]

# Holds discarded letters whole, personal data too: for the operator's eyes only.
ARCHIVE = Path("var/discarded-letters.jsonl")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about: ``ids`` empty means every letter of the queues."""

    queues: tuple[str, ...]
    ids: frozenset[str] = frozenset()

    def wants(self, letter: Letter) -> bool:
        """Whether the command is about this letter."""
        return not self.ids or letter.id in self.ids


@app.command("list")
def list_letters(
    queue: OnQueue = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that contain this text.")] = None,
    order: Annotated[str | None, typer.Option(help="Only letters about this order id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many letters of each queue.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the letters, grouped by queue. Looking takes nothing away, but may change their order."""
    settings = read_settings()

    def fits(letter: Letter) -> bool:
        return (reason is None or reason.casefold() in letter.reason.casefold()) and (
            order is None or letter.order_id == order
        )

    groups = asyncio.run(_look(settings, _queues(settings, queue), fits, limit))
    if as_json:
        print_json([
            {"queue": name, "count": size, "letters": as_objects(COLUMNS, rows)} for name, size, rows in groups
        ])  # fmt: skip
        return
    for name, size, rows in groups:
        shown = "" if len(rows) == size else f", {len(rows)} shown"
        print_table(COLUMNS, rows, title=f"{name}: {counted(size, 'letter')}{shown}")
    if not groups:
        say("no letters")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id.")],
    queue: OnQueue = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show personal data too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the letter of this id in full, from every queue that holds it; personal data is masked."""
    settings = read_settings()
    found: list[dict[str, Any]] = []

    async def keep(letter: Letter, _: Errand) -> None:
        found.append(in_full(letter, unmask=unmask))

    asyncio.run(_each(settings, Choice(_queues(settings, queue), frozenset({letter_id})), keep))
    if as_json:
        print_json(found)
    else:
        for facts in found:
            print_in_full(facts)
    _name_missing([letter_id] if not found else [])


@app.command()
def replay(
    ids: Ids = None,
    queue: OnQueue = None,
    everything: Everything = False,
) -> None:
    """Send letters back to where they died, each with a full budget of attempts."""
    settings = read_settings()
    choice = _choice(settings, ids, queue, everything=everything)

    async def back(letter: Letter, sender: Errand) -> None:
        await letters.replay(letter, sender)

    _carry_out(settings, choice, back, "letter replayed", {})


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why; kept in the archive and in the order's timeline.")],
    ids: Ids = None,
    queue: OnQueue = None,
    archive: Annotated[Path, typer.Option(help="Where the letters are kept, whole.")] = ARCHIVE,
) -> None:
    """Take letters away for good, after they were appended to the archive file."""
    if not reason.strip():
        raise ConfigError("--reason: expected a text that says why, got an empty one")
    settings = read_settings()
    choice = _choice(settings, ids, queue)

    async def away(letter: Letter, _: Errand) -> None:
        line = as_line(letter, discarded_at=utc_text(datetime.now(UTC)), discarded_because=reason)
        append_line(archive, line)
        await letters.remove(letter)

    _carry_out(settings, choice, away, "letter discarded", {"why": reason})


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="The file to append to, one JSON line per letter (0600).")],
    ids: Ids = None,
    queue: OnQueue = None,
    everything: Everything = False,
) -> None:
    """Copy letters, whole and with personal data, to a file; they stay where they are."""
    settings = read_settings()
    count = 0

    async def copy(letter: Letter, _: Errand) -> None:
        nonlocal count
        append_line(to, as_line(letter))
        count += 1

    asyncio.run(_each(settings, _choice(settings, ids, queue, everything=everything), copy))
    say(f"{counted(count, 'letter')} exported")


def _carry_out(settings: Settings, choice: Choice, act: Act, what: str, facts: dict[str, Any]) -> None:
    """Act on each chosen letter; whatever ends it, say how far it came and tell the orders' timelines."""
    done: list[Letter] = []

    async def act_and_count(letter: Letter, sender: Errand) -> None:
        await act(letter, sender)
        done.append(letter)

    try:
        asyncio.run(_each(settings, choice, act_and_count))
    finally:
        told = [(item.order_id, {"queue": item.queue, "message_id": item.id, **facts}) for item in done]
        asyncio.run(tell_timeline(settings, what, told))
        say(f"{counted(len(done), 'letter')} {what.split()[-1]}")
    _name_missing(sorted(choice.ids - {letter.id for letter in done}))


async def _look(
    settings: Settings, names: Sequence[str], fits: Callable[[Letter], bool], limit: int
) -> list[tuple[str, int, list[Sequence[Any]]]]:
    """Give queue, number of letters and rows for each queue that has letters that fit."""
    groups = []
    async with errand(settings.broker, name="hub letters") as open_errand:
        for name in names:
            async with letters.pile(open_errand.connection, name) as pile:
                rows: list[Sequence[Any]] = []
                async with aclosing(pile.letters()) as every:
                    async for letter in every:
                        if fits(letter):
                            rows.append(row(letter, datetime.now(UTC)))
                        if len(rows) == limit:
                            break
                if rows:
                    groups.append((name, pile.size, rows))
    return groups


async def _each(settings: Settings, choice: Choice, act: Act) -> None:
    async with errand(settings.broker, name="hub letters") as open_errand:
        for name in choice.queues:
            async with letters.pile(open_errand.connection, name) as pile, aclosing(pile.letters()) as every:
                async for letter in every:
                    if choice.wants(letter):
                        await act(letter, open_errand)


def _choice(
    settings: Settings, ids: Sequence[str] | None, queue: str | None, *, everything: bool = False
) -> Choice:
    if not ids and queue is None and not everything:
        raise ConfigError("expected ids of letters or --queue NAME, got neither; hub letters list shows both")
    if everything and (ids or queue):
        raise ConfigError("expected --all alone, got ids or --queue with it")
    return Choice(_queues(settings, queue), frozenset(ids or ()))


def _queues(settings: Settings, queue: str | None) -> tuple[str, ...]:
    """Give the queues meant; a name that is not on the map is taken if it is one of letters, left from older settings."""
    known = letters.queues(topology_of(settings))
    if queue is None:
        return known
    if queue in known or queue.endswith(DEAD_SUFFIX):
        return (queue,)
    if f"{queue}{DEAD_SUFFIX}" in known:
        return (f"{queue}{DEAD_SUFFIX}",)
    names = ", ".join(sorted(name.removesuffix(DEAD_SUFFIX) for name in known))
    raise ConfigError(f"--queue: expected one of {names}; got {queue!r}")


def _name_missing(ids: Sequence[str]) -> None:
    """Name the ids that no letter has; exit status 1 if there are any."""
    for letter_id in ids:
        note(f"hub: no letter has the id {letter_id!r}; hub letters list shows those there are")
    if ids:
        raise typer.Exit(1)
