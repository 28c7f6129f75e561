"""What is wrong with input, field by field, in words for whoever sent it: made of pydantic's errors.

Called wherever a model refuses something: the codec, the partners' translators, ``hub publish``. The input itself is
left out, since it may be personal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

# Each fault becomes some kilobytes of Python objects: a body of a megabyte can have half a million, which would keep
# every consumer waiting for seconds. Whoever has so many has other worries than their names.
MOST_FAULTS = 1000
# Characters of a key, and of a path, that a fault names.
LONGEST_KEY = 80
LONGEST_PATH = 200
_EMPTY = (
    "expected a list with at least one item, got an empty one; leave an optional list out to mean all of it"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the path of its field, dotted, and what was expected there."""

    field: str
    message: str
    kind: str
    """pydantic's own name of the fault: ``missing``, ``json_invalid``, …"""


def faults_of(error: ValidationError) -> Sequence[Fault]:
    """Return the faults, in the order of the model's fields.

    A list whose items are all refused counts as empty for pydantic too; that is no fault of its own.
    """
    if error.error_count() > MOST_FAULTS:
        return [Fault("", f"expected what the type asks for, got {error.error_count()} faults", "too_many")]
    found = error.errors(include_url=False, include_input=False, include_context=False)
    paths = [item["loc"] for item in found]
    return [
        Fault(_path(item["loc"]), _message(item["type"], item["msg"]), item["type"])
        for item in found
        if not (item["type"] == "too_short" and any(_is_within(path, item["loc"]) for path in paths))
    ]


def _message(kind: str, said: str) -> str:
    return _EMPTY if kind == "too_short" else said.removeprefix("Value error, ")


def _path(parts: tuple[int | str, ...]) -> str:
    """Join a path; a key in it may be whatever the sender likes, so both are cut."""
    whole = ".".join(str(part)[:LONGEST_KEY] for part in parts)
    return whole if len(whole) <= LONGEST_PATH else whole[: LONGEST_PATH - 1] + "…"


def _is_within(path: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(path) > len(whole) and path[: len(whole)] == whole
