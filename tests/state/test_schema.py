"""Times come back as aware UTC, on either database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import ClauseElement, DateTime, Dialect, make_url

from hub.state.schema import Moment
from hub.state.sql.cursors import _move, _remember
from hub.state.sql.effects import _claim, _hand_on, _record, _tell
from hub.state.sql.leases import _acquire

SQLITE = make_url("sqlite://").get_dialect()()
POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()

ZURICH = timezone(timedelta(hours=2))
NOON = datetime(2026, 5, 14, 12, tzinfo=ZURICH)


@pytest.mark.parametrize(
    ("dialect", "stored"),
    [
        (SQLITE, datetime(2026, 5, 14, 10)),
        (POSTGRESQL, datetime(2026, 5, 14, 10, tzinfo=UTC)),
    ],
    ids=["sqlite", "postgresql"],
)
def test_a_moment_is_stored_in_utc_and_comes_back_aware(dialect: Dialect, stored: datetime) -> None:
    moment = Moment()

    bound = moment.process_bind_param(NOON, dialect)
    back = moment.process_result_value(bound, dialect)

    assert bound == stored
    assert back == NOON
    assert back is not None
    assert back.tzinfo is UTC
    assert moment.process_bind_param(None, dialect) is None


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="with a zone"):
        Moment().process_bind_param(datetime(2026, 5, 14), SQLITE)


@pytest.mark.parametrize("moment", [NOON, NOON.replace(year=987, microsecond=7), NOON.astimezone(UTC)])
def test_the_text_of_a_moment_on_sqlite_is_the_one_that_sqlalchemy_writes_and_reads(moment: datetime) -> None:
    kind = DateTime().dialect_impl(SQLITE)
    theirs, ours = kind.bind_processor(SQLITE), Moment().bind_processor(SQLITE)
    assert theirs is not None
    assert ours is not None

    assert ours(moment) == theirs(moment.astimezone(UTC))
    with pytest.raises(ValueError, match="expected a datetime with a zone"):
        ours(datetime(2026, 5, 14))


@pytest.mark.parametrize(
    "statement",
    [_move, _remember, _claim, _hand_on, _record, _tell, _acquire],
    ids=lambda make: make.__module__,
)
def test_upserts_are_spelled_alike_for_both_databases(statement: Callable[[str], ClauseElement]) -> None:
    spelled = str(statement("postgresql").compile(dialect=POSTGRESQL))

    assert "ON CONFLICT" in spelled
    assert ("RETURNING" in spelled) == ("RETURNING" in str(statement("sqlite").compile(dialect=SQLITE)))
