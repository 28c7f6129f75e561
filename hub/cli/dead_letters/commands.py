"""``hub letters``: dead letters by fault, one in full, back to work, corrected, or away for good.

A letter is named by its id, as ``hub letters list`` shows it. The same event may lie in several queues: ``--queue``
says which one is meant. Looking and listing are here; what moves letters has a file of its own for each command.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import client_session
from hub.cli.context import read_settings
from hub.cli.dead_letters import refused
from hub.cli.dead_letters.archive import discard, export
from hub.cli.dead_letters.audit import AuditTrail
from hub.cli.dead_letters.edit import edit
from hub.cli.dead_letters.rendering import (
    LETTERS,
    group_objects,
    in_full,
    print_groups,
    print_in_full,
    print_letters,
    row,
)
from hub.cli.dead_letters.replay import replay
from hub.cli.dead_letters.selection import (
    AboutOrder,
    Choice,
    Filters,
    NewerThan,
    OfOperation,
    OfPartner,
    OfSource,
    OlderThan,
    OnQueue,
    WithCode,
    WithField,
    WithStatus,
    choose,
    chosen,
    facts,
    name_missing,
    names_of,
)
from hub.cli.dead_letters.survey import in_one_queue, survey
from hub.cli.output.printing import AsJson, Wide, as_objects, counted, print_json, say
from hub.cli.output.progress import progress
from hub.config.settings import Settings
from hub.observability.logging import LogEvent
from hub.operations.dead_letters.grouping import Group, Groups
from hub.process.event_loop import run_short

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay, edit, discard, export.")

_Rows = list[tuple[str, int, list[Sequence[Any]]]]


@app.command("list")
def list_letters(
    queue: OnQueue = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", "--fault", help="Only reasons that contain this text, as listed."),
    ] = None,
    order: AboutOrder = None,
    source: OfSource = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    partner: OfPartner = None,
    operation: OfOperation = None,
    status: WithStatus = None,
    code: WithCode = None,
    field: WithField = None,
    each: Annotated[bool, typer.Option("--each", help="Every letter on its own, not by reason.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --each: at most so many letters of a queue.")] = 100,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List the letters by queue and reason. Looking takes nothing away, but may change their order."""
    settings = read_settings()
    filters = Filters(
        reason, order, source, older_than, newer_than, facts(partner, operation, status, code, field)
    )
    choice = choose(settings, None, queue, filters, any_will_do=True)
    if each:
        _list_each(run_short(_rows(settings, choice, limit)), as_json=as_json, wide=wide)
        return
    groups = run_short(_groups(settings, choice))
    if as_json:
        print_json(group_objects(groups))
    elif groups:
        print_groups(groups, datetime.now(UTC), wide=wide)
    else:
        say("no letters")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id; … may stand in it.")],
    queue: OnQueue = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show personal data too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the letter of this id in full; personal data is masked.

    Who looks at personal data leaves a line in the log and in the order's timeline.
    """
    settings = read_settings()
    choice = choose(settings, None, queue, Filters(), any_will_do=True)
    found_in = survey(settings, choice, lambda letter: [letter_id] if _is_named(letter, letter_id) else [])
    choice = in_one_queue(choice, found_in)
    trail = AuditTrail(settings, "letter shown unmasked", LogEvent.LETTER_UNMASKED, names_ids=True)
    found = run_short(_in_full(settings, choice, letter_id, trail if unmask else None))
    if as_json:
        print_json(found)
    else:
        for facts in found:
            print_in_full(facts)
    name_missing([letter_id] if not found else [])


app.add_typer(refused.app, name="refused")
app.command()(replay)
app.command()(edit)
app.command()(discard)
app.command()(export)


def _list_each(queues: _Rows, *, as_json: bool, wide: bool) -> None:
    if as_json:
        print_json([
            {"queue": name, "count": size, "letters": as_objects(LETTERS, rows)} for name, size, rows in queues
        ])  # fmt: skip
        return
    for name, size, rows in queues:
        shown = "" if len(rows) == size else f", {len(rows)} shown"
        print_letters(f"{name}: {counted(size, 'letter')}{shown}", rows, wide=wide)
    if not queues:
        say("no letters")


async def _groups(settings: Settings, choice: Choice) -> list[Group]:
    groups = Groups()
    with progress("reading") as bar:
        async with client_session(settings.broker, name="hub letters") as open_session:
            for name in choice.queues:
                async with chosen(open_session, name, choice, bar) as every:
                    async for letter in every:
                        groups.add(letter)
    return groups.by_size()


async def _rows(settings: Settings, choice: Choice, limit: int) -> _Rows:
    """Return queue, number of chosen letters and the rows of the first of them, where there are any."""
    queues: _Rows = []
    now = datetime.now(UTC)
    with progress("reading") as bar:
        async with client_session(settings.broker, name="hub letters") as open_session:
            for name in choice.queues:
                rows: list[Sequence[Any]] = []
                size = 0
                async with chosen(open_session, name, choice, bar) as every:
                    async for letter in every:
                        size += 1
                        if size <= limit:
                            rows.append(row(letter, now))
                if size:
                    queues.append((name, size, rows))
    return queues


def _is_named(letter: Letter, letter_id: str) -> bool:
    head, shortened, tail = letter_id.partition("…")
    fits = letter.id.startswith(head) and letter.id.endswith(tail)
    return letter_id in names_of(letter) or (bool(shortened) and fits)


async def _in_full(
    settings: Settings, choice: Choice, letter_id: str, unmasked: AuditTrail | None
) -> list[dict[str, Any]]:
    """Return the letters of this id in full, personal data too if that is noted in ``unmasked``."""
    found = []
    async with client_session(settings.broker, name="hub letters") as open_session:
        for name in choice.queues:
            async with chosen(open_session, name, choice) as every:
                async for letter in every:
                    if _is_named(letter, letter_id):
                        found.append(in_full(letter, unmask=unmasked is not None))
                        if unmasked is not None:
                            await unmasked.add(letter)
    if unmasked is not None:
        await unmasked.flush()
        unmasked.log()
    return found
