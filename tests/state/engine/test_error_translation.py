"""What the database's exceptions become: whether it is away, or refuses what it was asked."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, ProgrammingError

from hub.errors import StatementRejected, StoreUnavailable
from hub.state.engine.error_translation import translate_errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError("INSERT", {}, Exception("database is locked")), StoreUnavailable),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), StoreUnavailable),
        (DatabaseError("INSERT", {}, Exception("database disk image is malformed")), StoreUnavailable),
        (ConnectionRefusedError("nobody there"), StoreUnavailable),
        (
            IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed: orders.order_id")),
            StatementRejected,
        ),
        (ProgrammingError("INSERT", {}, Exception("column orders.color does not exist")), StatementRejected),
    ],
    ids=lambda value: str(getattr(value, "orig", value)),
)
def test_a_database_that_is_away_is_told_from_a_statement_that_it_refuses(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(StoreUnavailable) as told, translate_errors("db", timedelta(seconds=1)):
        raise error

    assert type(told.value) is kind
