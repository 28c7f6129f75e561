"""Values that every room speaks of: the order id, and text that may hold personal data.

The order id is the hub's own key, ``<source>:<account>:<partner's order id or PO>``. A publisher that only
knows that string can report a shipment; the account in it chooses the partner client.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, StringConstraints

# PostgreSQL holds no NUL, XML none of the others but tab and line breaks, and nobody means any of them in a name.
_CONTROL = re.compile(r"[\x00-\x1f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NUL = re.compile(r"\x00")


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
            raise ValueError(f"expected <source>:<account>:<order id>, got {text!r}")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.source}:{self.account}:{self.source_order_id}"


def _checked_order_id(text: str) -> str:
    OrderId.parse(text)
    return text


def _one_line(text: str) -> str:
    return _without(_CONTROL, text)


def _lines(text: str) -> str:
    return _without(_CONTROL_IN_LINES, text)


def _no_nul(text: str) -> str:
    return _without(_NUL, text)


def _without(control: re.Pattern[str], text: str) -> str:
    if found := control.search(text):
        # Not the text: it may be personal.
        raise ValueError(
            f"expected a text without control characters, got U+{ord(found[0]):04X} at position {found.start() + 1}"
        )
    return text


def _assume_utc(value: object) -> object:
    """Read a timestamp without a zone as UTC, as every partner document means it."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, str) and len(value) >= 19:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # pydantic turns a ValueError alone into a fault of the field.
        raise ValueError(
            f"expected a moment from year 1 to year 9999 in UTC, got {moment.isoformat()}"
        ) from None


OrderKey = Annotated[
    str, StringConstraints(max_length=400), AfterValidator(_one_line), AfterValidator(_checked_order_id)
]
"""An order id as text, checked to have its three parts; no control characters."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=400), AfterValidator(_one_line)]
"""The id or the source of an event: not empty, at most 400 characters, no control characters."""

Timestamp = Annotated[AwareDatetime, BeforeValidator(_assume_utc), AfterValidator(_in_utc)]
"""A moment in UTC; a text without a zone is read as UTC."""

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), AfterValidator(_one_line)
]
"""A text that says something: not empty, not only blanks, at most 1000 characters, no control characters."""

Remark = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000), AfterValidator(_lines)
]
"""A ``Text`` that a person wrote: may have tabs and several lines."""

AnyText = Annotated[str, AfterValidator(_no_nul)]
"""A text that is passed on as it came, also empty; only NUL is refused, which not every store can hold."""


def utc_text(moment: datetime) -> str:
    """Render a moment as RFC 3339 in UTC with a ``Z``, without fractions when there are none."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
