"""What the texts of an entry mean: numbers, prices, flags and ids, as the Supplier Orders reference, 25-01-2016, has them.

A text that means nothing raises ``InvalidMessage``, which names the field and never quotes the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hub.errors import InvalidMessage

_NO_GUID = "00000000-0000-0000-0000-000000000000"
_PRICE = re.compile(r"\d{1,12}(\.\d{1,12})?")
_INTEGER = re.compile(r"-?\d{1,9}")
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def required(fields: Mapping[str, str], name: str, path: str = "") -> str:
    """Give a text that has to be there."""
    if name not in fields:
        raise InvalidMessage("expected a value, got none", field=path + name)
    return fields[name]


def cents(path: str, text: str | None) -> int | None:
    """Read a ``selling-price``, a decimal for one unit; half a cent is rounded up, which the third digit alone decides."""
    if text is None:
        return None
    if not _PRICE.fullmatch(text):
        raise InvalidMessage(
            "expected a decimal number such as 39.99, got another text", field=path + "selling-price"
        )
    units, _, fraction = text.partition(".")
    return (int(units + fraction[:3].ljust(3, "0")) + 5) // 10


def integer(path: str, text: str) -> int:
    """Read a whole number of up to nine digits."""
    if not _INTEGER.fullmatch(text):
        raise InvalidMessage("expected a whole number, got another text", field=path)
    return int(text)


def boolean(path: str, text: str) -> bool:
    """Read ``true`` or ``false`` in any case, or 1 or 0."""
    if text.lower() not in _BOOLEANS:
        raise InvalidMessage("expected true or false, got another text", field=path)
    return _BOOLEANS[text.lower()]


def guid(text: str | None) -> str | None:
    """Give an id, unless it is the one that stands for "unset"; its form is not checked."""
    return None if text == _NO_GUID else text
