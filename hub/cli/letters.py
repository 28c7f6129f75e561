"""``hub letters``: dead letters by queue, one in full, back to work, or away for good.

A letter is named by its id (``hub letters list``). The same event may lie in several queues: ``--queue`` says which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.amqp import letters
from hub.amqp.errand import Errand, errand
from hub.amqp.letters import DEAD_SUFFIX, Letter
from hub.cli.desk import tell_timeline
from hub.cli.flows import topology_of
from hub.cli.letter_archive import archive
from hub.cli.masking import masked, readable_body
from hub.cli.output import AsJson, age, as_objects, note, print_json, print_table, say
from hub.config import Settings, load
from hub.errors import ConfigError
from hub.telemetry import LogEvent, log
from hub.topology import UNROUTABLE

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay, discard.")

OnQueue = Annotated[
    str | None, typer.Option("--queue", help="Only this queue; the work queue's name will do.")
]
WithIds = Annotated[list[str] | None, typer.Argument(help="Ids of letters, as hub letters list shows them.")]
Wanted = Callable[[Letter], bool]

# Written and flushed before the letters leave the broker; holds them whole, so it is for the operator's eyes only.
ARCHIVE = Path("var/discarded-letters.jsonl")
_COLUMNS = (
    "position", "id", "type", "order id", "reason", "attempts", "replays", "first failed", "last failed", "age",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about: of which queues, and which of their letters."""

    queues: tuple[str, ...]
    wanted: Wanted


@app.command("list")
def list_letters(
    queue: OnQueue = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that contain this text.")] = None,
    order: Annotated[str | None, typer.Option(help="Only letters about this order id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many letters of each queue.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the letters, grouped by queue; looking takes nothing away, but may change their order."""
    settings = load()

    def wanted(letter: Letter) -> bool:
        return (reason is None or reason.casefold() in letter.reason.casefold()) and (
            order is None or letter.order_id == order
        )

    groups = asyncio.run(_look(settings, Choice(_queues(settings, queue), wanted), limit))
    if as_json:
        print_json([{"queue": name, "count": size, "letters": as_objects(_COLUMNS, rows)} for name, size, rows in groups])
        return
    for name, size, rows in groups:
        shown = "" if len(rows) == size else f", {len(rows)} shown"
        print_table(_COLUMNS, rows, title=f"{name}: {size} letter{'' if size == 1 else 's'}{shown}")
    if not groups:
        say("no letters")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id.")],
    queue: OnQueue = None,
    unmask: Annotated[bool, typer.Option("--unmask", help="Show personal data too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show letters of this id in full: properties, headers, body; personal data masked."""
    settings = load()
    found: list[dict[str, Any]] = []

    async def keep(letter: Letter) -> None:
        found.append(_in_full(letter, unmask=unmask))

    asyncio.run(_each(settings, _choice(settings, [letter_id], queue), keep))
    _missing([letter_id], {letter["id"] for letter in found})
    if as_json:
        print_json(found)
        return
    for facts in found:
        _print_in_full(facts)


@app.command()
def replay(
    ids: WithIds = None,
    queue: OnQueue = None,
    everything: Annotated[bool, typer.Option("--all", help="All letters of all queues.")] = False,
) -> None:
    """Send letters back to where they died, each with a full budget of attempts."""
    settings = load()
    choice = _choice(settings, ids or [], queue, everything=everything)
    done: list[Letter] = []

    async def back(letter: Letter, sender: Errand) -> None:
        await letters.replay(letter, sender)
        log.info(LogEvent.LETTER_REPLAYED, queue=letter.queue, message_id=letter.id)
        done.append(letter)

    try:
        asyncio.run(_each(settings, choice, back))
    finally:
        asyncio.run(tell_timeline(settings, "letter replayed", _facts(done)))
        say(f"replayed {len(done)} letter{'' if len(done) == 1 else 's'}")
    _missing(ids or [], {letter.id for letter in done})
