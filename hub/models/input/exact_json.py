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

# Bytes of a JSON text by what they are to a number: one of its digits, an exponent, what stands before it, or nothing.
_DIGITS, _EXPONENTS, _BEFORE = b"0123456789.", b"eE", b'":,['
_SHAPE = bytes(
    ord("0") if byte in _DIGITS else ord("e") if byte in _EXPONENTS else byte if byte in _BEFORE else ord(" ")
    for byte in range(256)
)
_BETWEEN = b" \t\r\n-"
# Numbers that Python writes in other digits: with zeros at the end of a fraction, or a zero below zero.
_ENDS_IN_ZERO = re.compile(rb"\.[0-9]+0(?![0-9])")
_BELOW_ZERO = re.compile(rb"-0(?=[,}\].eE\s]|\Z)")
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


class Written(float):
    """A number whose text is the digits that were sent, as ``12.50`` or ``1E5``; any measure takes it as a float."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> Written:
        """Read the number that `text` is."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __str__(self) -> str:
        """Return the digits as they were sent."""
        return self._text


def is_exact(text: bytes) -> bool:
    """Whether the quick readers keep every number of a JSON text; may say no of one that they would keep."""
    shape = text.translate(_SHAPE, _BETWEEN)
    # Few texts hold digits that look like a suspect number, and fewer hold numbers beside; of the rest, strings are cut out.
    suspect = _has_suspect(shape) or _is_rewritten(text)
    if not suspect or not (_has_number(shape) or shape.startswith(b"0")):
        return True
    outside = text if b'\\"' in text else b"".join(text.split(b'"')[::2])
    return not (_has_suspect(outside.translate(_SHAPE)) or _is_rewritten(outside))


def _has_suspect(shape: bytes) -> bool:
    """Whether there is a number that may lose digits: more than a float keeps, or with an exponent."""
    return b"0" * 16 in shape or b"0e" in shape


def _is_rewritten(text: bytes) -> bool:
    """Whether there is a number that Python writes in other digits."""
    fraction = b"." in text and (b"0.0000" in text or _ENDS_IN_ZERO.search(text) is not None)
    return fraction or (b"-0" in text and _BELOW_ZERO.search(text) is not None)


def _has_number(shape: bytes) -> bool:
    return b'":0' in shape or b",0" in shape or b"[0" in shape


def loads(text: str) -> Any:
    """Read JSON: whole numbers exactly, others as floats (or ``Written``) where these are exact, else as ``Inexact``.

    Raises:
        ValueError: no JSON, also for NaN and Infinity.
        RecursionError: nested deeper than about 900.
    """
    return json.loads(text, parse_int=_whole, parse_float=_fraction, parse_constant=_refused)


def _whole(text: str) -> int | Written | Inexact:
    if text == "-0":
        return Written(text)
    return int(text) if len(text) <= _MOST_DIGITS else Inexact(text)


def _fraction(text: str) -> float | Inexact:
    if len(text) <= _MOST_DIGITS:
        number = float(text)
        if math.isfinite(number) and abs(number) < _EXACT_BELOW:
            shortest = repr(number)
            if shortest == text:
                return number
            if Decimal(shortest) == Decimal(text):
                return Written(text)
    return Inexact(text)


def _refused(_name: str) -> NoReturn:
    raise ValueError("NaN or Infinity")
