"""Values that every room speaks of: the order id, and text that may hold personal data.

The order id is the hub's own key, ``<source>:<account>:<partner's order id or PO>``. A publisher that only
knows that string can report a shipment; the account in it chooses the partner client.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class Without:
    """Refuses texts with one of ``characters`` (a regular expression's class), and what is no Unicode text; ``named`` tells both.

    PostgreSQL holds no NUL, XML no control characters but tab and line breaks, and nobody means any of them in a name.
    It is part of pydantic's own schema and not a function of ours: an order has some thirty texts.
    """

    characters: str
    named: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text last, with a message that says what was expected; not the text, which may be personal."""
        checked = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=f"^[^{self.characters}]*$"),
            custom_error_type="control_character",
            custom_error_message=f"expected a text without control characters, got one of {self.named}",
        )
        return core_schema.chain_schema([handler(source), checked])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the limits of the text itself, for what is read and what is written; a pattern tells the rest below."""
        found: Any = schema
        while found["type"] == "function-after":
            found = found["schema"]
        return handler(found["steps"][0])


_ONE_LINE = Without(r"\x00-\x1f", "U+0000 to U+001F or half a surrogate pair")
_LINES = Without(
    r"\x00-\x08\x0b\x0c\x0e-\x1f", "U+0000 to U+001F that is no tab or line break, or half a surrogate pair"
)
_NO_NUL = Without(r"\x00", "U+0000 or half a surrogate pair")


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LEAP_SECOND = re.compile(r"(?<=:[0-5][0-9]):60(?![0-9])")
# What pydantic reads as a count of seconds or milliseconds since 1970, also where somebody means 1 December 2024 by
# 20241201; so only counts from 2000 to 2100 are one.
_COUNT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_FIRST_SECOND, _LAST_SECOND = 946_684_800, 4_102_444_800
_GUID = re.compile(r"[{(]?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})[)}]?", re.IGNORECASE)


def same_guid(text: str) -> str:
    """Return a GUID in small letters without braces, so that its spellings compare; any other text as it is."""
    found = _GUID.fullmatch(text)
    return found[1].lower() if found else text


class OrderId(NamedTuple):
    """The three parts of an order id; ``str(order_id)`` joins them again."""

    source: str
    account: str
    source_order_id: str

    @classmethod
    def parse(cls, text: str) -> OrderId:
        """Split ``text``; the last part may itself contain colons.

        Raises:
            ValueError: if a part is missing or empty.
        """
        parts = text.split(":", 2)
        if len(parts) != 3 or not all(parts):
            # Not the text: what is no id may be anything.
            raise ValueError(
                f"expected <source>:<account>:<order id>, got {len(text)} characters of another form"
            )
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.source}:{self.account}:{self.source_order_id}"


def _checked_order_id(text: str) -> str:
    OrderId.parse(text)
    return text


def moment_of(text: str) -> datetime:
    """Read an RFC 3339 date; without a zone it is in UTC, and a leap second counts as the second before it.

    Raises:
        ValueError: it is no such date.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(_LEAP_SECOND.sub(":59", text.upper()))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _assume_utc(value: object) -> object:
    """Read a timestamp without a zone as UTC, as every partner document means it."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        # A date without a time is that day, from its beginning.
        if len(value) >= 19 or _DAY.fullmatch(value):
            try:
                return moment_of(value)
            except ValueError:
                pass  # it may be a count
        if _COUNT.fullmatch(value):
            _check_count(float(value))
    elif isinstance(value, int | float):
        _check_count(value)
    return value


def _check_count(number: float) -> None:
    """Refuse a number that counts neither seconds nor milliseconds up to a moment of our times."""
    if not (
        _FIRST_SECOND <= number < _LAST_SECOND or _FIRST_SECOND * 1000 <= number < _LAST_SECOND * 1000
    ) or isinstance(number, bool):
        raise ValueError(
            "expected an RFC 3339 timestamp such as 2024-05-14T16:02:09Z, got a number that counts no seconds since 1970"
        )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # pydantic turns a ValueError alone into a fault of the field.
        raise ValueError(
            f"expected a moment from year 1 to year 9999 in UTC, got {moment.isoformat()}"
        ) from None


# The checks above as patterns of JSON Schema, which never run here: a text that fits is taken. They refuse a little
# more, blanks and line breaks around a text, which the hub strips.
_KEY_SCHEMA = Field(
    json_schema_extra={"pattern": r"^[^:\u0000-\u001f]+:[^:\u0000-\u001f]+:[^\u0000-\u001f]+$"}
)
_LINE_SCHEMA = Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f]+$"})
_TEXT_SCHEMA = Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f]*[^\s\u0000-\u001f][^\u0000-\u001f]*$"})
_REMARK_SCHEMA = Field(
    json_schema_extra={
        "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]*[^\s\u0000-\u001f]"
        r"[^\u0000-\u0008\u000b\u000c\u000e-\u001f]*$"
    }
)
_ANY_SCHEMA = Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})

# Characters of an order's key, and of the id and source of an event.
LONGEST_ID = 400

OrderKey = Annotated[
    str, StringConstraints(max_length=LONGEST_ID), _ONE_LINE, AfterValidator(_checked_order_id), _KEY_SCHEMA
]
"""An order id as text, checked to have its three parts; no control characters."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID), _ONE_LINE, _LINE_SCHEMA]
"""The id or the source of an event: not empty, at most 400 characters, no control characters."""

Timestamp = Annotated[AwareDatetime, BeforeValidator(_assume_utc), AfterValidator(_in_utc)]
"""A moment in UTC; a text without a zone is read as UTC."""

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Between them lie the moments that somebody may mean: .NET writes year 1 or 9999 for "none"."""


def _of_our_times(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError(
            f"expected a moment of our times, got one in the year {moment.year}; leave out what is not known"
        )
    return moment


Reported = Annotated[Timestamp, AfterValidator(_of_our_times)]
"""A moment that somebody reports, from 1990 to 2199."""

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), _ONE_LINE, _TEXT_SCHEMA
]
"""A text that says something: not empty, not only blanks, at most 1000 characters, no control characters."""

Remark = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), _LINES, _REMARK_SCHEMA
]
"""A ``Text`` that a person wrote: may have tabs and several lines."""

AnyText = Annotated[str, _NO_NUL, _ANY_SCHEMA]
"""A text that is passed on as it came, also empty; only NUL is refused, which not every store can hold."""


def utc_text(moment: datetime) -> str:
    """Render a moment as RFC 3339 in UTC with a ``Z``, without fractions when there are none."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
