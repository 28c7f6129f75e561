"""Questions to whoever runs a command: asked on a terminal, refused where nobody can answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hub.cli.output.printing import note, printable
from hub.errors import ConfigError

Yes = Annotated[bool, typer.Option("--yes", help="Do it without a question.")]


def at_terminal() -> bool:
    """Return whether somebody can see a question and answer it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask, unless ``yes``; without a terminal, or when it is interrupted, the answer is no."""
    if yes:
        return True
    if not at_terminal():
        note("hub: nobody is here to be asked; with --yes it is done without a question")
        return False
    try:
        return typer.confirm(printable(question))
    except typer.Abort:
        return False


def which_queue(letter_id: str, queues: Sequence[str]) -> str:
    """Ask which of several queues is meant.

    Raises:
        ConfigError: nobody is here to be asked.
    """
    if not at_terminal():
        raise ConfigError(
            f"expected one queue that holds the id {letter_id!r}, got {' and '.join(queues)};"
            " name one with --queue"
        )
    for place, queue in enumerate(queues, start=1):
        note(f"{place}  {queue}")
    while True:
        try:
            number: int = typer.prompt(f"Which queue, 1 to {len(queues)}", type=int)
        except typer.Abort:
            raise typer.Exit(130) from None
        if 1 <= number <= len(queues):
            return queues[number - 1]
