"""What the hub keeps its state in, behind one small door: ``read`` and ``write`` of a function.

An operation is a plain function of a SQLAlchemy ``Connection``: it runs its statements and returns a value, and knows
neither threads nor asyncio. How it gets its connection and its transaction is the business of ``hub.state.engine.sqlite`` and
``hub.state.engine.postgresql``; ``hub.state.engine.factory`` chooses between them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeVar

import orjson
from sqlalchemy import Connection

from hub.errors import StoreUnavailable

T = TypeVar("T")
Operation = Callable[[Connection], T]
"""Statements of one transaction and what they give; it may be tried again on a new connection by its caller."""

# Reads are short; two threads keep a long search from delaying the others, more would only fight for the interpreter.
READERS = 2


class Database(Protocol):
    """A place for the state: runs operations, translates what the driver raises."""

    where: str
    """The file or the host, without credentials, for messages."""

    async def prepare(self) -> None:
        """Make ready what can be made without the tables; called once, before anything else."""

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation on one snapshot; it must not write. Raises ``StoreUnavailable``."""

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction that is durable on return. Raises ``StoreUnavailable``.

        One process at a time writes, on either database: what an operation has read stays true until its commit.
        """

    def translate_errors(self) -> AbstractContextManager[None]:
        """Translate the driver's exceptions inside the block."""

    async def check(self) -> None:
        """Raise ``StoreUnavailable`` if what is connected is not the configured place any more."""

    async def close(self) -> None:
        """Close all connections."""


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()


JSON: Final[dict[str, Any]] = {
    "json_serializer": _to_json,
    "json_deserializer": orjson.loads,
    # A statement's parameters may be personal data and must not reach a log through an error's text.
    "hide_parameters": True,
}
"""What both engines are made with."""


def closed(where: str) -> StoreUnavailable:
    """Return the error for a database that was closed."""
    return StoreUnavailable(f"expected an open state store, {where} was closed")
