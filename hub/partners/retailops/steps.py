"""In which order the calls about one purchase order may be made: one table, for the consumers and for the checkers.

By the RetailOps Interaction Guide a vendor takes a PO first, and nothing is said of it before; what is complete is not
touched again. Read by ``consumers.retailops.submission`` and ``consumers.retailops.completion``, and by the fault schedules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Step(StrEnum):
    """A call about one PO, as RetailOps names it."""

    SUBMIT = "MarkSubmitted"
    ACCEPT = "MarkAccepted"
    DATE = "UpdateEstShipDate"
    COMPLETE = "Complete"


WAITS_FOR: Mapping[Step, frozenset[Step]] = {
    Step.SUBMIT: frozenset(),
    Step.ACCEPT: frozenset({Step.SUBMIT}),
    Step.DATE: frozenset({Step.SUBMIT}),
    Step.COMPLETE: frozenset({Step.SUBMIT}),
}
"""What must have succeeded before a step."""

NEVER_AFTER: Mapping[Step, frozenset[Step]] = {
    Step.SUBMIT: frozenset({Step.COMPLETE}),
    Step.ACCEPT: frozenset({Step.COMPLETE}),
    Step.DATE: frozenset({Step.COMPLETE}),
    Step.COMPLETE: frozenset(),
}
"""What must not have succeeded before a step."""


def out_of_order(taken: Iterable[tuple[str, Step]]) -> tuple[str, ...]:
    """Return what is wrong with steps that RetailOps took, each with its PO, in the order it took them."""
    done: dict[str, set[Step]] = {}
    wrong = []
    for po, step in taken:
        before = done.setdefault(po, set())
        wrong += [f"{po}: {step} before {first}" for first in sorted(WAITS_FOR[step] - before)]
        wrong += [f"{po}: {step} after {last}" for last in sorted(NEVER_AFTER[step] & before)]
        before.add(step)
    return tuple(wrong)
