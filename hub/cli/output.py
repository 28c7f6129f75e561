"""What commands print: tables for people, JSON for programs, faults on standard error.

On a terminal a table fits its width; into a pipe it is one line per row, columns separated by tabs. Texts that came
from outside are stripped of control characters, so that no message can paint on an operator's terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from hub.errors import BrokerUnavailable, ConfigError, StoreUnavailable, TopologyDrift
from hub.models.values import utc_text

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
    print(json.dumps(value, indent=2, ensure_ascii=False, default=plain))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "", as_json: bool = False
) -> None:
    """Print rows as a table, or as a JSON list of objects whose keys are the columns with underscores."""
    if as_json:
        print_json(as_objects(columns, rows))
    elif sys.stdout.isatty():
        _print_rich(columns, rows, title)
    else:
        if title:
            say(title)
        for row in (columns, *rows):
            print("\t".join(_cell(value) for value in row))


def as_objects(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Give the rows as objects, for JSON."""
    keys = [column.replace(" ", "_") for column in columns]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def printable(text: str) -> str:
    """Replace control characters (but line ends) so that a terminal shows them instead of obeying them."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\t", " ")
    )


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


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)) if title else None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(plain(value))
    return printable(text).replace("\n", " ")


def plain(value: Any) -> Any:
    """Give a value as JSON has it: moments as RFC 3339, durations in seconds, bytes as text, the rest as its text."""
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
