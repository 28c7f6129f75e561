"""Group commit: many operations, one transaction, and each fails for itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from hub.errors import HubError, StatementRejected, StoreUnavailable, UnknownOrder
from hub.state.engine.database import Database, Operation, T
from hub.state.engine.factory import connect
from hub.state.engine.group_commit import Mergeable, Writer
from tests.eventually import eventually


class CountingDatabase:
    """A database that counts its write transactions, and can break right before a commit."""

    def __init__(self, real: Database) -> None:
        self.real = real
        self.where = real.where
        self.transactions = 0
        self.break_commits = False

    async def write(self, operation: Operation[T]) -> T:
        self.transactions += 1

        def and_break(connection: Connection) -> T:
            result = operation(connection)
            if self.break_commits:
                raise OSError("no space left on device")
            return result

        return await self.real.write(and_break)

    async def read(self, operation: Operation[T]) -> T:
        return await self.real.read(operation)

    def translate_errors(self) -> AbstractContextManager[None]:
        return self.real.translate_errors()

    async def prepare(self) -> None:
        await self.real.prepare()

    async def check(self) -> None:
        await self.real.check()

    async def close(self) -> None:
        await self.real.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[CountingDatabase]:
    database = CountingDatabase(
        connect(f"sqlite+aiosqlite:///{tmp_path}/t.db", busy_timeout=timedelta(seconds=1))
    )
    await database.prepare()
    await database.real.write(
        lambda connection: connection.exec_driver_sql("CREATE TABLE kept (n INTEGER UNIQUE)")
    )
    yield database
    await database.close()


@pytest.fixture
async def writer(database: CountingDatabase) -> AsyncIterator[Writer]:
    writer = Writer(database, group=100)
    yield writer
    await writer.close()


class Gate:
    """An operation that keeps the writer in its transaction until it is opened, so that others gather behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.entered.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()


def keep(number: int) -> Operation[int]:
    def insert(connection: Connection) -> int:
        connection.exec_driver_sql("INSERT INTO kept VALUES (?)", (number,))
        return number

    return insert


def keep_and_fail(number: int, error: Exception) -> Operation[int]:
    def insert_and_fail(connection: Connection) -> int:
        keep(number)(connection)
        raise error

    return insert_and_fail


async def kept(database: CountingDatabase) -> set[int]:
    return set(
        await database.read(
            lambda connection: connection.exec_driver_sql("SELECT n FROM kept").scalars().all()
        )
    )


async def behind_a_gate(writer: Writer, *operations: Operation[int]) -> list[int | BaseException]:
    """Have the operations carried out as one group."""
    gate = Gate()
    first = asyncio.create_task(writer.write(gate))
    await eventually(gate.entered.is_set)
    waiting = [asyncio.create_task(writer.write(operation)) for operation in operations]
    await eventually(lambda: len(writer._pending) == len(operations))
    gate.open()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_operations_that_wait_together_share_one_transaction(
    database: CountingDatabase, writer: Writer
) -> None:
    answers = await behind_a_gate(writer, *(keep(number) for number in range(50)))

    assert answers == list(range(50))
    assert database.transactions == 2
    assert await kept(database) == set(range(50))


class KeepMany:
    """Keeps numbers with one statement, and counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, connection: Connection, numbers: Sequence[int]) -> Sequence[int]:
        self.calls += 1
        connection.exec_driver_sql("INSERT INTO kept VALUES (?)", [(number,) for number in numbers])
        return numbers


async def test_operations_that_are_alike_share_their_statements(
    database: CountingDatabase, writer: Writer
) -> None:
    ones, others = KeepMany(), KeepMany()
    mixed = [Mergeable(ones if number % 2 else others, number) for number in range(50)]

    answers = await behind_a_gate(writer, *mixed, keep(50))

    assert answers == list(range(51))
    assert (ones.calls, others.calls, database.transactions) == (1, 1, 2)
    assert await kept(database) == set(range(51))


async def test_of_operations_that_are_alike_one_that_fails_fails_alone(
    database: CountingDatabase, writer: Writer
) -> None:
    many = KeepMany()

    answers = await behind_a_gate(
        writer, Mergeable(many, 1), Mergeable(many, 2), Mergeable(many, 1), Mergeable(many, 3)
    )

    assert [type(answer) for answer in answers] == [int, int, StatementRejected, int]
    assert await kept(database) == {1, 2, 3}


async def test_one_that_is_refused_costs_those_alike_nothing(
    database: CountingDatabase, writer: Writer
) -> None:
    many, lost = KeepMany(), UnknownOrder("gone", field="order_id")

    def all_but_two(connection: Connection, numbers: Sequence[int]) -> Sequence[int | HubError]:
        many(connection, [number for number in numbers if number != 2] or [9])
        return [lost if number == 2 else number for number in numbers]

    answers = await behind_a_gate(writer, *(Mergeable(all_but_two, number) for number in (1, 2, 3)))
    with pytest.raises(UnknownOrder):
        await writer.write(Mergeable(all_but_two, 2))

    assert answers == [1, lost, 3]
    assert many.calls == 2
    assert await kept(database) == {1, 3}


async def test_a_group_has_a_limit(database: CountingDatabase, writer: Writer) -> None:
    await behind_a_gate(writer, *(keep(number) for number in range(250)))

    assert database.transactions == 1 + 3
    assert len(await kept(database)) == 250


async def test_one_failing_operation_takes_back_its_own_writes_and_no_others(
    database: CountingDatabase, writer: Writer
) -> None:
    lost = UnknownOrder("gone", field="order_id")
    odd = KeyError("a bug")

    answers = await behind_a_gate(
        writer, keep(1), keep_and_fail(2, lost), keep(1), keep_and_fail(3, odd), keep(4)
    )

    assert (answers[0], answers[1], answers[3], answers[4]) == (1, lost, odd, 4)
    assert isinstance(answers[2], StoreUnavailable)
    assert "UNIQUE" in str(answers[2])
    assert await kept(database) == {1, 4}
    # That of the gate, the one that was rolled back, and the one with savepoints.
    assert database.transactions == 3


async def test_a_lone_operation_that_fails_leaves_nothing(database: CountingDatabase, writer: Writer) -> None:
    with pytest.raises(UnknownOrder):
        await writer.write(keep_and_fail(1, UnknownOrder("gone")))

    assert await kept(database) == set()
    assert await writer.write(keep(1)) == 1


async def test_a_failing_commit_fails_the_whole_group_and_nothing_is_written(
    database: CountingDatabase, writer: Writer
) -> None:
    database.break_commits = True

    answers = await asyncio.gather(
        *(writer.write(keep(number)) for number in range(10)), return_exceptions=True
    )

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert len({id(answer) for answer in answers}) == 10
    assert await kept(database) == set()
    database.break_commits = False
    assert await writer.write(keep(1)) == 1


async def test_a_transaction_that_the_database_gives_up_fails_the_whole_group(
    database: CountingDatabase, writer: Writer
) -> None:
    def gives_up(connection: Connection) -> int:
        # What SQLite does by itself when the disk is full.
        connection.exec_driver_sql("ROLLBACK")
        raise OSError("disk full")

    answers = await behind_a_gate(writer, keep(1), gives_up, keep(2))

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert await kept(database) == set()
    assert await writer.write(keep(3)) == 3


async def test_a_caller_that_is_canceled_while_it_waits_is_skipped(
    database: CountingDatabase, writer: Writer
) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.write(gate))
    await eventually(gate.entered.is_set)
    canceled = asyncio.create_task(writer.write(keep(1)))
    other = asyncio.create_task(writer.write(keep(2)))
    await eventually(lambda: len(writer._pending) == 2)

    canceled.cancel()
    gate.open()
    await asyncio.gather(first, other)

    assert canceled.cancelled()
    assert await kept(database) == {2}


async def test_a_caller_that_is_canceled_during_its_operation_disturbs_nobody(
    database: CountingDatabase, writer: Writer
) -> None:
    gate = Gate()
    canceled = asyncio.create_task(writer.write(gate))
    await eventually(gate.entered.is_set)

    canceled.cancel()
    await asyncio.wait([canceled])
    gate.open()

    assert await writer.write(keep(1)) == 1
    assert await kept(database) == {1}


async def test_callers_beyond_the_limit_wait_for_room(database: CountingDatabase) -> None:
    writer = Writer(database, waiting=5)

    answers = await asyncio.gather(*(writer.write(keep(number)) for number in range(50)))

    assert answers == list(range(50))
    assert database.transactions >= 10
    await writer.close()


async def test_a_closed_writer_finishes_what_waits_and_refuses_the_rest(
    database: CountingDatabase, writer: Writer
) -> None:
    gate = Gate()
    first = asyncio.create_task(writer.write(gate))
    await eventually(gate.entered.is_set)
    pending = asyncio.create_task(writer.write(keep(1)))
    await eventually(lambda: len(writer._pending) == 1)

    closing = asyncio.create_task(writer.close())
    gate.open()
    await asyncio.gather(closing, first, pending)

    assert await kept(database) == {1}
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.write(keep(2))
