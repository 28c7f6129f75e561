"""Tables that fit the terminal: numbers and moments whole, ids shortened in their middle, sentences wrapped at words.

A shortened id says so by its ``…``; whole ones are in ``--json``, in a pipe, and in a wider terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
# Columns of a terminal that nobody has: no row is wrapped.
UNBOUNDED = 1_000_000
# Between two columns.
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    ``text`` wraps at words, ``line`` is cut at its end, ``id`` in its middle, ``short`` at its end after 24 characters,
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


def _begun(text: str, width: int) -> str:
    """Take off the end of a text that is too long."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str, width: int, whole: bool = False
) -> Table:
    """Lay a table out for a terminal of this width; ``whole`` shortens and wraps nothing."""
    from rich.table import Table
    from rich.text import Text

    if not whole:
        rows = _shortened_rows(columns, rows, width)
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
    )
    for place, column in enumerate(columns):
        wraps = column.form == "text" and not whole
        table.add_column(
            column.name,
            no_wrap=not wraps,
            overflow="fold",
            justify="right" if column.form == "number" else "left",
            min_width=None if wraps else max(len(column.name), _longest(rows, place)),
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _shortened_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> Sequence[Sequence[str]]:
    rows = _cut(columns, rows, "short", lambda cell: _begun(cell, _SHORT))
    id_width = _id_width(columns, rows, width)
    rows = _cut(columns, rows, "id", lambda cell: shortened(cell, id_width))
    line_width = _line_width(columns, rows, width)
    return _cut(columns, rows, "line", lambda cell: _begun(cell, line_width))


def _cut(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], form: Form, cut: Callable[[str], str]
) -> list[list[str]]:
    """Return the rows with the cells of one form cut."""
    return [
        [cut(cell) if column.form == form else cell for column, cell in zip(columns, row, strict=True)]
        for row in rows
    ]


def _id_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return the room for each id: what the others leave, at least what shows both ends."""
    ids = [place for place, column in enumerate(columns) if column.form == "id"]
    if not ids:
        return width
    taken = _taken(columns, rows, besides="id")
    return max((width - taken) // len(ids), _SHORTEST_ID)


def _line_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return the room for each line, once ids are cut."""
    lines = sum(column.form == "line" for column in columns)
    if not lines:
        return width
    return max((width - _taken(columns, rows, besides="line")) // lines, _NARROWEST_TEXT)


def _taken(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, besides: Form) -> int:
    """Return the room that columns of other forms need at least."""
    taken = _GAP * len(columns)
    for place, column in enumerate(columns):
        if column.form != besides:
            longest = _longest(rows, place)
            least = min(longest, _NARROWEST_TEXT) if column.form in ("text", "line") else longest
            taken += max(least, len(column.name))
    return taken


def _longest(rows: Sequence[Sequence[str]], place: int) -> int:
    return max((len(row[place]) for row in rows), default=0)
