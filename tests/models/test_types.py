"""Values refuse what no store and no partner can hold, and say why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hub.models.events import EVENT_TYPES
from hub.models.types import AnyText, Identifier, OrderKey, Remark, Text, Timestamp

ORDER = {
    "order_id": "iqmetrix:1:a",
    "source": "iqmetrix",
    "source_account": "1",
    "source_order_id": "a",
    "source_event_id": "1",
    "created_at": "2026-05-14T11:00:00Z",
    "lines": [{"line_id": "1", "sku": "A", "quantity": 1}],
}


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    "moment",
    [
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00:00+02:00",
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_that_has_no_utc_is_a_fault_of_its_field(moment: object) -> None:
    with pytest.raises(ValidationError, match="from year 1 to year 9999 in UTC, got"):
        read(Timestamp, moment)


def test_a_date_without_a_time_is_that_day() -> None:
    assert read(Timestamp, "2024-05-14") == datetime(2024, 5, 14, tzinfo=UTC)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z"])
def test_the_first_and_the_last_moment_in_utc_are_read(text: str) -> None:
    assert read(Timestamp, text) == datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (OrderKey, "iqmetrix:1:\0"),
        (OrderKey, "iqmetrix:\n:a"),
        (Text, "red\0"),
        (Text, "red\x1b[31m"),
        (Text, "red\nblue"),
        (Identifier, "17\0"),
        (Identifier, "17\r\n"),
        (Remark, "in May\0"),
        (Remark, "in\x0bMay"),
        (AnyText, "\0"),
        (AnyText, "Boi\ud800se"),
    ],
)
def test_control_characters_are_refused_without_quoting_the_text(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(kind, text)

    (fault,) = refused.value.errors(include_input=False)
    assert fault["msg"].startswith("expected a text without control characters, got one of U+0000")

    assert refused.value.error_count() == 1


def test_what_people_write_may_have_lines_and_what_is_passed_on_may_be_empty() -> None:
    assert read(Remark, " in May,\n\tor June ") == "in May,\n\tor June"
    assert read(AnyText, "") == ""
    assert read(AnyText, "2nd floor\x0bleft") == "2nd floor\x0bleft"
    assert read(Text, " Zürich\n") == "Zürich"


def test_an_identifier_is_neither_empty_nor_endless() -> None:
    for text in ("", "x" * 401):
        with pytest.raises(ValidationError):
            read(Identifier, text)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_number": "\0"},
        {"po_reference": "PO\0"},
        {"source": "iq\0"},
        {"notes": ["\0"]},
        {"ship_to": {"name": "\0"}},
        {"lines": [{"line_id": "1", "sku": "A", "quantity": 1, "catalog_id": "\0"}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_no_text_of_an_order_holds_a_nul(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"U\+0000"):
        EVENT_TYPES["order.created"].payload.model_validate({**ORDER, **changes})
