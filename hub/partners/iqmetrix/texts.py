"""What the texts of an entry mean: numbers, prices, flags and ids, as the Supplier Orders reference, 25-01-2016, has them.

A text that means nothing raises ``InvalidMessage``, which names the field and never quotes the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.errors import InvalidMessage
from hub.models.types import same_guid
from hub.partners.numbers import price_cents, whole_number

_NO_GUID = "00000000-0000-0000-0000-000000000000"
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def required(fields: Mapping[str, str], name: str, path: str = "") -> str:
    """Return a text that has to be there."""
    if name not in fields:
        raise InvalidMessage("expected a value, got none", field=path + name)
    return fields[name]


def cents(path: str, text: str | None) -> int | None:
    """Read a ``selling-price``, a decimal for one unit (see ``hub.partners.numbers``)."""
    return None if text is None else _read(price_cents, path + "selling-price", text)


def integer(path: str, text: str) -> int:
    """Read a whole number (see ``hub.partners.numbers``)."""
    return _read(whole_number, path, text)


def _read(number: Callable[[object], int], path: str, text: str) -> int:
    try:
        return number(text)
    except ValueError as error:
        raise InvalidMessage(str(error), field=path) from None


def boolean(path: str, text: str) -> bool:
    """Read ``true`` or ``false`` in any case, or 1 or 0."""
    if text.lower() not in _BOOLEANS:
        raise InvalidMessage("expected true or false, got another text", field=path)
    return _BOOLEANS[text.lower()]


def guid(text: str | None) -> str | None:
    """Return an id, unless it is the one that stands for "unset"; its form is not checked."""
    return None if text is not None and same_guid(text) == _NO_GUID else text
