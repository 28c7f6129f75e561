"""Values that every room speaks of: the order id, and text that may hold personal data.

The order id is the hub's own key, ``<source>:<account>:<partner's order id or PO>``. A publisher that only
knows that string can report a shipment; the account in it chooses the partner client.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, StringConstraints


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
    return moment.astimezone(UTC)


OrderKey = Annotated[str, StringConstraints(max_length=400), AfterValidator(_checked_order_id)]
"""An order id as text, checked to have its three parts."""

Timestamp = Annotated[AwareDatetime, BeforeValidator(_assume_utc), AfterValidator(_in_utc)]
"""A moment in UTC; a text without a zone is read as UTC."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
"""A text that says something: not empty, not only blanks, at most 1000 characters."""


def utc_text(moment: datetime) -> str:
    """Render a moment as RFC 3339 in UTC with a ``Z``, without fractions when there are none."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
