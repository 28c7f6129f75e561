"""``value``: a dataclass that the type checker holds to be frozen, and that costs at run time what any other does.

A frozen dataclass sets each field past its own guard, which takes several times as long as setting it, and every event on
its way makes a dozen such objects. Who writes to a field of one is told by mypy, which this project does not pass without.
For what is made once, or rarely, ``dataclass(frozen=True)`` is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["value"]

C = TypeVar("C")

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool, eq: bool = True) -> Callable[[type[C]], type[C]]:
        """Make a dataclass with slots that is equal, and hashed, by its fields."""
        assert frozen, "expected frozen=True: for fields that change there is dataclass"
        return dataclass(slots=slots, eq=eq, unsafe_hash=eq)
