"""``INSERT … ON CONFLICT``, which SQLite and PostgreSQL spell alike and SQLAlchemy keeps in two modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

T = TypeVar("T")

# Values in one IN list: asyncpg takes 32767 parameters in a statement, SQLite 32766.
_IN_LIST_LIMIT = 5000


def insert_into(table: Table, dialect: str) -> sqlite.Insert:
    """Return an INSERT that has ``on_conflict_do_nothing`` and ``on_conflict_do_update`` for this dialect.

    Typed as SQLite's; PostgreSQL's has the same methods with the same arguments.
    """
    if dialect == "postgresql":
        # Only here: with SQLite its modules are never needed.
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)  # type: ignore[return-value]
    return sqlite.insert(table)


def in_lists(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into parts that fit into one statement's IN list."""
    for start in range(0, len(values), _IN_LIST_LIMIT):
        yield values[start : start + _IN_LIST_LIMIT]
