"""Group commit: many small writes share one transaction, and with it one fsync.

A commit costs one wait for the disk, however much is in it. So one task owns all writing: callers hand it an operation
and wait, and while one transaction is on its way to the disk the next group gathers. Under load groups grow by
themselves, and a lone write waits for nobody.

* A result is durable when it is returned: futures are resolved only after the commit.
* An operation that fails (an unknown order) takes back only its own statements. Hardly one ever does, and a SAVEPOINT
  for each costs more than the operations themselves; so a group runs without any, and only if one of it has failed it is
  rolled back and run again with one for each, which takes several times as long. A group of one is never run again.
* If the transaction cannot be begun or committed, or the database has given it up in the middle (SQLite does when the
  disk is full), the whole group fails with ``StoreUnavailable``; nothing of it was written.
* Operations that are alike (``Mergeable``) and wait together share their statements as well: none of them has been answered
  yet, so any order among them is as good as theirs. One of them that is refused before anything was written for it is
  answered with its error, and costs the others nothing.
* A caller that is canceled before its turn is skipped; after that its operation may still be carried out. It never
  stops half-way, since operations run to their end away from the caller's task.
* The number of waiting callers is bounded; who comes later waits for room (backpressure), and is not refused.

On SQLite the one writer is also what keeps tasks of one process from fighting for the file's write lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from hub.errors import HubError, StoreUnavailable
from hub.models.frozen import value
from hub.observability.metrics import STORE_WRITES
from hub.state.engine.database import Database, Operation

A = TypeVar("A")
T = TypeVar("T")

# Operations in one transaction: far past the point where the fsync is a small part of the cost (about 20), and short
# enough (some tens of milliseconds) for the last in the group and for other processes that wait for the lock.
GROUP_SIZE = 256

# Callers that may wait at once, some groups' worth; more only grows memory.
WAITING_LIMIT = 2048


@value(frozen=True, slots=True)
class Mergeable(Generic[A, T]):
    """An operation that others of its kind can share statements with: one call for the arguments of all of them."""

    for_all: Callable[[Connection, Sequence[A]], Sequence[T | HubError]]
    """Returns for each argument, in their order, the result, or why it is refused: then nothing was written for it.

    Raises if any of them fails half-way.
    """
    argument: A

    def __call__(self, connection: Connection) -> T:
        """Carry it out alone."""
        (result,) = self.for_all(connection, [self.argument])
        if isinstance(result, HubError):
            raise result
        return result


@value(frozen=True, slots=True, eq=False)
class _Write:
    operation: Operation[Any]
    done: asyncio.Future[Any]


class _Attempt:
    """Keeps what an operation gave or raised, for its own caller: it must not end the transaction of the others."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self.value = value
        self.error = error

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


class Writer:
    """Carries out write operations in groups; must be created inside a running event loop."""

    def __init__(self, database: Database, *, group: int = GROUP_SIZE, waiting: int = WAITING_LIMIT) -> None:
        self._database = database
        self._group = group
        self._room = asyncio.Semaphore(waiting)
        self._pending: deque[_Write] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="state-writer")

    async def write(self, operation: Operation[T]) -> T:
        """Carry out an operation and give its result once it is durable.

        Raises:
            StoreUnavailable: the database did not take it, or the writer is closed; nothing was written.
            HubError: what the operation itself raised; nothing of it was written.
        """
        async with self._room:
            if self._closing:
                raise StoreUnavailable(f"expected an open state store, {self._database.where} was closed")
            write = _Write(operation, asyncio.get_running_loop().create_future())
            self._pending.append(write)
            self._wake.set()
            result: T = await write.done
            return result

    async def close(self) -> None:
        """Carry out what is pending, then stop; later writes are refused."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            group = self._take()
            if group:
                await self._carry_out(group)
            elif self._closing:
                return
            else:
                self._wake.clear()

    def _take(self) -> list[_Write]:
        group: list[_Write] = []
        while self._pending and len(group) < self._group:
            write = self._pending.popleft()
            if not write.done.done():
                group.append(write)
        return group

    async def _carry_out(self, group: list[_Write]) -> None:
        transaction = asyncio.ensure_future(self._transaction([write.operation for write in group]))
        with STORE_WRITES.time():
            await asyncio.wait([transaction])
        failure = transaction.exception()
        if failure is not None:
            for write in group:
                _fail(write, failure)
            return
        for write, attempt in zip(group, transaction.result(), strict=True):
            if attempt.error is not None:
                _fail(write, attempt.error)
            elif not write.done.done():
                write.done.set_result(attempt.value)

    async def _transaction(self, operations: Sequence[Operation[Any]]) -> Sequence[_Attempt]:
        if len(operations) == 1:
            return [_Attempt(await self._database.write(operations[0]))]
        try:
            return await self._database.write(partial(_run_without_savepoints, operations))
        except _RetryWithSavepoints:
            return await self._database.write(partial(self._one_by_one, operations))

    def _one_by_one(self, operations: Sequence[Operation[Any]], connection: Connection) -> Sequence[_Attempt]:
        return [self._one_of(operation, connection) for operation in operations]

    def _one_of(self, operation: Operation[Any], connection: Connection) -> _Attempt:
        # Always the same name: a new one for each would push every other statement out of the driver's cache.
        connection.exec_driver_sql("SAVEPOINT operation")
        attempt = _Attempt()
        with attempt, self._database.translate_errors():
            attempt.value = operation(connection)
        if attempt.error is not None:
            # Raises if the database has given up the whole transaction, which then fails for all.
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
        connection.exec_driver_sql("RELEASE SAVEPOINT operation")
        return attempt


class _RetryWithSavepoints(Exception):
    """Ends a transaction in which an operation has failed, so that nothing of it stays."""


def _run_without_savepoints(
    operations: Sequence[Operation[Any]], connection: Connection
) -> Sequence[_Attempt]:
    try:
        return _by_kind(operations, connection)
    except Exception as error:
        raise _RetryWithSavepoints from error


def _by_kind(operations: Sequence[Operation[Any]], connection: Connection) -> Sequence[_Attempt]:
    """Carry out those that are alike with one call, and give what became of each."""
    kinds: dict[object, list[int]] = {}
    for index, operation in enumerate(operations):
        kind = operation.for_all if isinstance(operation, Mergeable) else index
        kinds.setdefault(kind, []).append(index)
    attempts: dict[int, _Attempt] = {}
    for indexes in kinds.values():
        members = [operations[index] for index in indexes]
        attempts.update(zip(indexes, _of_a_kind(members, connection), strict=True))
    return [attempts[index] for index in range(len(operations))]


def _of_a_kind(members: Sequence[Operation[Any]], connection: Connection) -> Sequence[_Attempt]:
    first = members[0]
    if not isinstance(first, Mergeable):
        return [_Attempt(first(connection))]
    results = first.for_all(
        connection, [member.argument for member in members if isinstance(member, Mergeable)]
    )
    return [
        _Attempt(error=result) if isinstance(result, HubError) else _Attempt(result) for result in results
    ]


def _fail(write: _Write, error: BaseException) -> None:
    if write.done.done():
        return
    if isinstance(error, StoreUnavailable):
        # One error object raised in many tasks would collect the tracebacks of all of them.
        own = type(error)(str(error))
        own.__cause__ = error.__cause__
        write.done.set_exception(own)
    else:
        write.done.set_exception(error)
