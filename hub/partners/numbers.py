"""Numbers as partners write them: whole numbers and prices, read alike for every partner.

A value that can be read in one way only is read exactly; any other raises ``ValueError``, whose text says what was
expected and never quotes the value. Called by the partners' translation, which names the field.
"""

from __future__ import annotations

import re
from decimal import Decimal

# Digits, or groups of three behind commas. A single group needs a decimal point behind it: "1,299" is 1.299 where the
# comma is the decimal sign, as in Québec.
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})(?:(?:,\d{3})+(?:\.\d*)?|\.\d+)")
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+")
# What nearly all numbers look like: read at once.
_USUAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,12})?")
# Digits before and behind the point: beyond them it is no quantity and no price of anybody.
_MOST_UNITS = 12
_MOST_FRACTION = 12
_MOST_WHOLE = 9
# Characters that are looked at.
_LONGEST = 64


def whole_number(value: object) -> int:
    """Read a whole number: ``2``, ``2.0``, ``1.0000``, ``1,299.00``, ``-1``, as a text or a JSON number.

    Raises:
        ValueError: it is no number, has a fraction, or more than nine digits.
    """
    if type(value) is str and _USUAL.fullmatch(value) and value.isdigit():
        return int(value)
    negative, units, fraction = _parts(value, "a whole number such as 2 or 2.0")
    if fraction.strip("0"):
        raise ValueError("expected a whole number such as 2 or 2.0, got one with a fraction")
    if len(units) > _MOST_WHOLE:
        raise ValueError(f"expected at most {_MOST_WHOLE} digits, got {len(units)}")
    number = int(units or "0")
    return -number if negative else number


def price_cents(value: object) -> int:
    """Read a price in cents: ``39.99``, ``.99``, ``1,299.00``; half a cent is rounded up, which the third digit decides.

    Raises:
        ValueError: it is no price, or negative: an order event has no place for a discount line.
    """
    if type(value) is str and _USUAL.fullmatch(value):
        units, _, fraction = value.partition(".")
        negative = False
    else:
        negative, units, fraction = _parts(value, "a decimal number such as 39.99")
    cents = (int(units + fraction[:3].ljust(3, "0")) + 5) // 10
    if negative and (cents or fraction.strip("0")):
        raise ValueError("expected a price of 0 or more, got a negative one (a discount line?)")
    return cents


def _parts(value: object, expected: str) -> tuple[bool, str, str]:
    """Split a number into its sign, the digits before the point without leading zeros, and those behind it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"expected {expected}, got no number")
    # A float becomes the shortest text that means it, which is what the partner wrote.
    text = (
        value.strip()
        if isinstance(value, str)
        else format(value, "f")
        if isinstance(value, Decimal)
        else repr(value)
    )
    if len(text) > _LONGEST:
        raise ValueError(f"expected {expected}, got a text of {len(text)} characters")
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not (_PLAIN.fullmatch(digits) or _GROUPED.fullmatch(digits)):
        comma = ", got one with a comma that may be a decimal sign" if "," in digits else ", got another text"
        raise ValueError(f"expected {expected}{comma}")
    units, _, fraction = digits.replace(",", "").partition(".")
    units = units.lstrip("0")
    if len(units) > _MOST_UNITS or len(fraction) > _MOST_FRACTION:
        raise ValueError(
            f"expected at most {_MOST_UNITS} digits before the decimal point and {_MOST_FRACTION} behind it, got more"
        )
    return text.startswith("-"), units, fraction
