"""Tables that fit the terminal: numbers and moments whole, ids shortened in their middle, sentences wrapped at words.

A shortened id says so by its ``…``; whole ones are in ``--json``, in a pipe, and in a wider terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

Form = Literal["text", "line", "short", "id", "number"]
# Narrower than this a sentence is a column of syllables.
_NARROWEST_TEXT = 16
_SHORTEST_ID = 17
# A name that has to leave room for others.
_SHORT = 24
# Between two columns.
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    ``text`` wraps at words, ``line`` is cut at its end, ``id`` in its middle, ``short`` likewise to 24 characters,
    ``number`` stays whole.
    """

    name: str
    form: Form = "text"


def shortened(text: str, width: int) -> str:
    """Take out the middle of a text that is too long; ids differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    tail = width - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str, width: int) -> Table:
    """Lay a table out for a terminal of this width."""
    from rich.table import Table
    from rich.text import Text

    rows = [
        [
            shortened(cell, _SHORT) if column.form == "short" else cell
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    id_width = _id_width(columns, rows, width)
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
    )
    for column in columns:
        table.add_column(
            column.name,
            no_wrap=column.form != "text",
            overflow="ellipsis" if column.form == "line" else "fold",
            justify="right" if column.form == "number" else "left",
            min_width=None if column.form in ("text", "line") else _longest(columns, rows, column, id_width),
        )
    for row in rows:
        cells = (
            shortened(cell, id_width) if column.form == "id" else cell
            for column, cell in zip(columns, row, strict=True)
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _id_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> int:
    """Give the room for each id: what the others leave, at least what shows both ends."""
    ids = [place for place, column in enumerate(columns) if column.form == "id"]
    if not ids:
        return width
    taken = _GAP * len(columns)
    for place, column in enumerate(columns):
        if column.form != "id":
            cells = (row[place] for row in rows)
            longest = max((len(cell) for cell in cells), default=0)
            least = min(longest, _NARROWEST_TEXT) if column.form in ("text", "line") else longest
            taken += max(least, len(column.name))
    return max((width - taken) // len(ids), _SHORTEST_ID)


def _longest(columns: Sequence[Column], rows: Sequence[Sequence[str]], column: Column, id_width: int) -> int:
    place = list(columns).index(column)
    longest = max((len(row[place]) for row in rows), default=0)
    return max(len(column.name), min(longest, id_width) if column.form == "id" else longest)
