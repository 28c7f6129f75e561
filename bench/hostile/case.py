"""One hostile input for one way in, and what fills it up to the limits of a body."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hub.errors import HubError
from hub.models.input.body_limits import LARGEST_BODY, MOST_VALUES

# Milliseconds of processor time: no callback of the event loop takes longer.
LOOP_MS = 100.0
# What runs in a thread shares the interpreter with the loop, and others may wait for its transaction.
THREAD_MS = 500.0
# A command keeps one person waiting, and many callbacks together hold up no single one.
BESIDE_MS = 1000.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile input for one way into the hub."""

    entry: str
    name: str
    size: int
    work: Callable[[], object]
    budget_ms: float = LOOP_MS

    def milliseconds(self) -> float:
        """Return the processor time of one run on this thread; infinity when it fails, as too deep a recursion does."""
        begun = time.thread_time()
        try:
            # A refusal is an answer like any other.
            with suppress(HubError):
                self.work()
        except Exception:
            return math.inf
        return (time.thread_time() - begun) * 1000

    def best(self) -> float:
        """Return the least time of some runs."""
        return min(self.milliseconds() for _ in range(ROUNDS))


def filled(head: bytes, unit: bytes, tail: bytes, most: int = LARGEST_BODY) -> bytes:
    """Return a JSON list of as many units as there is room for."""
    return head + (unit * ((most - len(head) - len(tail)) // len(unit))).rstrip(b",") + tail


def legal(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """Return the same with no more values than a body may have."""
    marks = sum(unit.count(mark) for mark in b"{[,")
    return filled(head, unit, tail, len(head) + len(tail) + len(unit) * ((MOST_VALUES - 10) // marks))
