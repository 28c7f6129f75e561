"""INSERT of many rows, without what SQLAlchemy does to each parameter of each row: that took more than the database itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import StatementError
from sqlalchemy.sql.dml import Insert

_Prepare = Callable[[Any], Any]

# Rows in one statement: at 20 columns far below the 32,766 parameters that SQLite takes. Each form of a statement is prepared
# once, so there are few of them: one for each small number of rows, and powers of two.
MOST_ROWS, FEW_ROWS = 64, 16


def insert_rows(
    connection: Connection, statement: Insert, columns: tuple[str, ...], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows of values in the order of ``columns``.

    Args:
        connection: in a transaction.
        statement: one that is made once, for what is prepared for it is kept.
        columns: those to fill, in the order of the table; the others are NULL, or count by themselves.
        rows: the values; none is well.

    Raises:
        StatementError: a value is none that its column can hold.
    """
    sql, prepare = _prepared(statement, columns, connection.dialect)
    try:
        values = [_bound(row, prepare) for row in rows]
    except (TypeError, ValueError) as error:
        # As SQLAlchemy itself says it of a value that never gets to the driver.
        raise StatementError("a value cannot be bound", sql, None, error, hide_parameters=True) from None
    if connection.dialect.paramstyle != "qmark":
        if values:
            connection.exec_driver_sql(sql, values)
        return
    for first, last in _pieces(len(values)):
        piece = tuple(chain.from_iterable(values[first:last]))
        connection.exec_driver_sql(_of_rows(sql, len(columns), last - first), piece)


def _pieces(rows: int) -> Iterator[tuple[int, int]]:
    first = 0
    while left := rows - first:
        size = left if left <= FEW_ROWS else min(MOST_ROWS, 1 << left.bit_length() - 1)
        yield first, first + size
        first += size


@lru_cache(maxsize=256)
def _of_rows(sql: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    assert sql.count(f" VALUES {row}") == 1, "expected a statement for one row"
    return sql.replace(f" VALUES {row}", f" VALUES {', '.join([row] * rows)}")


def _bound(row: Sequence[Any], prepare: Sequence[tuple[int, _Prepare]]) -> tuple[Any, ...]:
    values = list(row)
    for place, for_driver in prepare:
        values[place] = for_driver(values[place])
    return tuple(values)


@cache
def _prepared(
    statement: Insert, columns: tuple[str, ...], dialect: Dialect
) -> tuple[str, Sequence[tuple[int, _Prepare]]]:
    """Return the statement in the database's own words, and what turns the values of some places into the driver's."""
    compiled = statement.compile(dialect=dialect, column_keys=columns, for_executemany=True)
    assert tuple(compiled.positiontup or ()) == columns, "expected the columns in the order of the table"
    types = [statement.table.c[name].type.dialect_impl(dialect) for name in columns]
    processors = [kind.bind_processor(dialect) for kind in types]
    return str(compiled), [(place, each) for place, each in enumerate(processors) if each is not None]
