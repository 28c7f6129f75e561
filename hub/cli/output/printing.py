"""What commands print: tables for people, JSON for programs, faults on standard error.

On a terminal a table fits its width; into a pipe it is one line per row, columns separated by tabs. Texts that came
from outside are stripped of control characters, so that no message can paint on an operator's terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from hub.cli.output.tables import UNBOUNDED, Column, fitting
from hub.errors import BrokerUnavailable, ConfigError, StoreUnavailable, TopologyDrift
from hub.models.types import utc_text

Wide = Annotated[
    bool,
    typer.Option(
        "--wide", help="Every column, nothing shortened or wrapped; lines may be wider than the terminal."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# What to do about errors that a sentence of their own does not tell.
_REMEDIES: Mapping[type[Exception], str] = {
    BrokerUnavailable: "is the broker running, and is [broker] url right?",
    StoreUnavailable: "is the state store there, and is [state] url right?",
    TopologyDrift: "hub topology plan shows what differs",
}


def complain(error: Exception) -> None:
    """Print an error on standard error: one line per fault, and what to do where that is known."""
    for line in _sentences(error):
        print(f"hub: {printable(line)}", file=sys.stderr)


def note(text: str) -> None:
    """Print a remark on standard error, beside the result."""
    print(printable(text), file=sys.stderr)


def say(text: str) -> None:
    """Print one line of the result."""
    print(printable(text))


def print_json(value: Any) -> None:
    """Print a value as indented JSON; moments as RFC 3339, durations in seconds."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=plain)
    if not text.replace("\n", "").isprintable():
        # The same value, spelled so that no terminal obeys it: C1, U+2028, text direction.
        text = "".join(
            letter if letter.isprintable() or letter == "\n" else _escaped(letter) for letter in text
        )
    print(text)


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1]


def print_table(
    columns: Sequence[str | Column],
    rows: Sequence[Sequence[Any]],
    *,
    title: str = "",
    as_json: bool = False,
    on_terminal: Container[str] | None = None,
    wide: bool = False,
) -> None:
    """Print rows as a table, or as a JSON list of objects whose keys are the columns with underscores.

    Args:
        columns: a plain name is a column of text.
        rows: a value for each column.
        title: stands above the table.
        as_json: print JSON.
        on_terminal: names of the columns that a terminal has room for; absent: all.
        wide: all columns, and each row on one line, however long.
    """
    if as_json:
        print_json(as_objects(columns, rows))
    elif sys.stdout.isatty():
        shown = [
            place
            for place, column in enumerate(columns)
            if wide or on_terminal is None or _name(column) in on_terminal
        ]
        _print_rich(
            [columns[place] for place in shown],
            [[row[place] for place in shown] for row in rows],
            title,
            wide=wide,
        )
    else:
        if title:
            say(title)
        for row in ([_name(column) for column in columns], *rows):
            print("\t".join(_cell(value) for value in row))


def as_objects(columns: Sequence[str | Column], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows as objects, for JSON."""
    keys = [_name(column).replace(" ", "_") for column in columns]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def printable(text: str) -> str:
    """Replace control characters (but line ends) so that a terminal shows them instead of obeying them."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\t", " ")
    )


def flow_of(queue: str) -> str:
    """Return partner and flow of a queue, the flow as the log spells it: ``iqmetrix.update_order_status``."""
    partner, dot, name = queue.removeprefix("hub.").removesuffix(".dead").partition(".")
    # A client's name is its own, hyphens and all.
    return f"{partner}{dot}{name if partner == 'webhook' else name.replace('-', '_')}"


def counted(number: int, noun: str) -> str:
    """Say how many, with the noun's plural where it is due."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def age(since: datetime | None, now: datetime) -> str:
    """Say how long ago something was, in its largest unit."""
    if since is None:
        return ""
    seconds = max((now - since).total_seconds(), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def local(moment: datetime | None) -> str:
    """Return a moment on the clock of this machine, to the second, with its zone; none is an empty text."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def clock(moment: datetime) -> str:
    """Return the time of day on the clock of this machine, to the second, with its zone."""
    return moment.astimezone().strftime("%H:%M:%S %Z")


def _print_rich(
    columns: Sequence[str | Column], rows: Sequence[Sequence[Any]], title: str, *, wide: bool
) -> None:
    from rich.console import Console

    console = Console(highlight=False, width=UNBOUNDED if wide else None)
    table = fitting(
        [column if isinstance(column, Column) else Column(column) for column in columns],
        [[local(value) if isinstance(value, datetime) else _cell(value) for value in row] for row in rows],
        title=printable(title),
        width=console.width,
        whole=wide,
    )
    console.print(table)


def _name(column: str | Column) -> str:
    return column if isinstance(column, str) else column.name


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(plain(value))
    return printable(text).replace("\n", " ")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: moments as RFC 3339, durations in seconds, bytes as text, the rest as its text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _sentences(error: Exception) -> list[str]:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return [f"{where}{error.strerror}"]
    faults = list(error.faults) if isinstance(error, ConfigError) else []
    sentences = faults or [str(error) or type(error).__name__]
    remedy = next((remedy for kind, remedy in _REMEDIES.items() if isinstance(error, kind)), None)
    if remedy is None:
        return sentences
    return [*sentences, remedy] if len(sentences) > 1 else [f"{sentences[0]}; {remedy}"]
