"""JSON whose numbers keep their digits: an id beyond 64 bits must not become a rounded float.

The quick readers (orjson, pydantic) are used wherever they are exact; a text with a long number or an exponent outside
of its strings is read here. Called by the event codec and by the partners' readers.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn

# A number that may lose digits: more than a float keeps, or with an exponent.
_SUSPECT = re.compile(rb"[0-9.]{16}|[0-9.][eE]")
# Digits of a whole number that is read at all.
_MOST_DIGITS = 100
# Whole numbers below it are exact as a float.
_EXACT_BELOW = 2.0**53


class Inexact:
    """A number that no type here keeps digit by digit: a text does not take it, a measure does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text[:_MOST_DIGITS]

    def __float__(self) -> float:
        """Return the nearest float."""
        return float(self._text)

    def __repr__(self) -> str:
        return "Inexact"


def is_exact(text: bytes) -> bool:
    """Whether the quick readers keep every number of a JSON text; may say no of one that they would keep."""
    outside = text if b'\\"' in text else b"".join(text.split(b'"')[::2])
    return _SUSPECT.search(outside) is None


def loads(text: str) -> Any:
    """Read JSON: whole numbers exactly, others as floats where these are exact, as ``Inexact`` where not.

    Raises:
        ValueError: no JSON, also for NaN and Infinity.
        RecursionError: nested deeper than about 900.
    """
    return json.loads(text, parse_int=_whole, parse_float=_fraction, parse_constant=_refused)


def _whole(text: str) -> int | Inexact:
    return int(text) if len(text) <= _MOST_DIGITS else Inexact(text)


def _fraction(text: str) -> float | Inexact:
    if len(text) <= _MOST_DIGITS:
        number = float(text)
        if math.isfinite(number) and abs(number) < _EXACT_BELOW and Decimal(repr(number)) == Decimal(text):
            return number
    return Inexact(text)


def _refused(_name: str) -> NoReturn:
    raise ValueError("NaN or Infinity")
