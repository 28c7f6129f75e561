"""What is wrong with input, field by field, in words for whoever sent it: made of pydantic's errors.

Called wherever a model refuses something: the codec, the partners' translators, ``hub publish``. The input itself is
left out, since it may be personal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the path of its field, dotted, and what was expected there."""

    field: str
    message: str
    kind: str
    """pydantic's own name of the fault: ``missing``, ``json_invalid``, …"""


def faults_of(error: ValidationError) -> Sequence[Fault]:
    """Give the faults, in the order of the model's fields.

    A list whose items are all refused counts as empty for pydantic too; that is no fault of its own.
    """
    found = error.errors(include_url=False, include_input=False, include_context=False)
    paths = [item["loc"] for item in found]
    return [
        Fault(".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, "), item["type"])
        for item in found
        if not (item["type"] == "too_short" and any(_is_within(path, item["loc"]) for path in paths))
    ]


def _is_within(path: tuple[int | str, ...], whole: tuple[int | str, ...]) -> bool:
    return len(path) > len(whole) and path[: len(whole)] == whole
