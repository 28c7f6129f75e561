"""Many rows in few statements: all of them arrive, in their order, whatever their number is."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, event, insert, select
from sqlalchemy.exc import StatementError

from hub.state.engine.bulk_insert import FEW_ROWS, MOST_ROWS, insert_rows
from hub.state.schema import Moment

ROWS = Table(
    "rows",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("at", Moment),
)
INSERT = insert(ROWS)
COLUMNS = ("number", "name", "at")
AT = datetime(2024, 10, 27, 2, 30, tzinfo=UTC)


@pytest.fixture
def connection(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path / 'rows.db'}")
    with engine.begin() as opened:
        ROWS.metadata.create_all(opened)
        yield opened
    engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 2, MOST_ROWS - 1, MOST_ROWS, MOST_ROWS + 1, 3 * MOST_ROWS + 37])
def test_as_many_rows_are_there_as_were_given_each_with_its_own_values(connection, count: int) -> None:
    rows = [(number, f"row {number}", AT + timedelta(seconds=number)) for number in range(count)]

    insert_rows(connection, INSERT, COLUMNS, rows)

    assert [tuple(row) for row in connection.execute(select(ROWS).order_by(ROWS.c.number))] == rows


def test_many_rows_take_few_statements_of_few_forms(connection) -> None:
    said: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *about: said.append(about[2]))

    for size in range(2 * MOST_ROWS):
        insert_rows(connection, INSERT, COLUMNS, [(1000 * size + number, "", None) for number in range(size)])

    assert len(set(said)) == FEW_ROWS + (MOST_ROWS // FEW_ROWS).bit_length() - 1
    assert len(said) < 2 * MOST_ROWS * 4


def test_a_value_that_cannot_be_bound_keeps_every_row_out(connection) -> None:
    rows = [(1, "good", AT), (2, "bad", AT.replace(tzinfo=None))]

    with pytest.raises(StatementError):
        insert_rows(connection, INSERT, COLUMNS, rows)

    assert connection.execute(select(ROWS)).all() == []


def test_the_two_hours_of_an_autumn_night_stay_two_moments(connection) -> None:
    summer, winter = (timezone(timedelta(hours=hours)) for hours in (2, 1))
    first, second = (datetime(2024, 10, 27, 2, 30, tzinfo=zone) for zone in (summer, winter))

    insert_rows(connection, INSERT, COLUMNS, [(1, "first", first), (2, "second", second)])

    stored = connection.scalars(select(ROWS.c.at).order_by(ROWS.c.number)).all()
    assert stored == [first, second]
    assert stored[1] - stored[0] == timedelta(hours=1)
