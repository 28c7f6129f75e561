"""What became of each PO, in order, so that a checker can find what a correct vendor never does.

The states of the RetailOps Interaction Guide for Dropship Integrations: open, ready, submitted, accepted, complete. The partner
refuses a step that is done already, so here an effect is doubled when it is asked for again. That is excused as long as the vendor
could not know: its answer was lost, or it was refused together with other records of a batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from hub.sandbox.request_log import Clock
from hub.sandbox.retailops.bodies import Completion, EstimatedDate
from hub.sandbox.retailops.purchase_orders import PurchaseLine, PurchaseOrder

__all__ = [
    "AskedEffect",
    "Completed",
    "Estimated",
    "Obstacle",
    "OrderState",
    "PurchaseLedger",
    "PurchaseRegression",
    "Step",
]

Step = Literal["MarkSubmitted", "MarkAccepted", "Complete"]

_STATE_AFTER: Final[dict[Step, str]] = {
    "MarkSubmitted": "submitted",
    "MarkAccepted": "accepted",
    "Complete": "complete",
}

# The partner may still change these: the vendor has not committed.
_CHANGEABLE: Final = frozenset({"open", "ready", "submitted"})


class Obstacle(StrEnum):
    """Why the partner does not do a step."""

    unknown = "unknown"
    """There is no such PO."""
    too_early = "too_early"
    """The PO is not submitted yet."""
    already = "already"
    """The step is done."""
    closed = "closed"
    """The PO is complete, and this step never was done."""


@dataclass(frozen=True, slots=True)
class OrderState:
    """One state of a PO; `by` is the call that led to it, empty when the partner did it itself."""

    at: datetime
    status: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """A PO with its parcels; `answered` is False when the vendor never saw the answer."""

    at: datetime
    completion: Completion
    answered: bool


@dataclass(frozen=True, slots=True)
class Estimated:
    """An estimated ship date that took effect."""

    at: datetime
    date: EstimatedDate
    answered: bool


@dataclass(slots=True)
class AskedEffect:
    """An effect that was asked for; `needless` times the vendor knew that it was there.

    `moments` are when it was asked for, oldest first, each with whether the answer told the vendor that it is there. `last` is the
    position of the last time, to compare with a checkpoint.
    """

    operation: str
    po: str
    moments: list[tuple[datetime, bool]]
    last: int = field(repr=False)
    needless: int = 0

    @property
    def times(self) -> int:
        """How many times it was asked for."""
        return len(self.moments)

    @property
    def excused(self) -> bool:
        """Whether the vendor could not know, each time that it asked again."""
        return self.needless == 0


@dataclass(frozen=True, slots=True)
class PurchaseRegression:
    """A call that would have taken a PO back, or came before the PO was taken; `asked` is its position."""

    at: datetime
    po: str
    before: str
    operation: str
    asked: int


@dataclass(eq=False)
class PurchaseLedger:
    """All POs of one simulated vendor account and what became of them."""

    now: Clock
    orders: dict[str, PurchaseOrder] = field(default_factory=dict)
    completions: list[Completed] = field(default_factory=list)
    estimates: list[Estimated] = field(default_factory=list)
    _states: dict[str, list[OrderState]] = field(default_factory=dict, repr=False)
    _versions: dict[str, list[PurchaseOrder]] = field(default_factory=dict, repr=False)
    _effects: dict[tuple[object, ...], AskedEffect] = field(default_factory=dict, repr=False)
    _dates: dict[tuple[str, frozenset[int]], list[EstimatedDate]] = field(default_factory=dict, repr=False)
    _regressions: list[PurchaseRegression] = field(default_factory=list, repr=False)
    _asked: int = 0

    def open(self, order: PurchaseOrder, status: str) -> None:
        """Take in a new PO."""
        self.orders[order.po] = order
        self._versions[order.po] = [order]
        self._states[order.po] = [OrderState(self.now(), status)]

    def history(self, po: str) -> tuple[OrderState, ...]:
        """Return the states of a PO, oldest first.

        Raises:
            KeyError: there is no such PO.
        """
        return tuple(self._states[po])

    def status(self, po: str) -> str:
        """Return the present state of a PO.

        Raises:
            KeyError: there is no such PO.
        """
        return self._states[po][-1].status

    def selected(self, statuses: Iterable[str]) -> list[PurchaseOrder]:
        """Return the POs that are in one of these states now, oldest first; all when none is named."""
        wanted = frozenset(statuses)
        return [order for order in self.orders.values() if not wanted or self.status(order.po) in wanted]

    def move(self, po: str, status: str) -> None:
        """Set a PO's state as the partner itself does."""
        self._states[po].append(OrderState(self.now(), status))

    def change(self, order: PurchaseOrder, reopen: bool) -> None:
        """Put a PO in place of the one with its number.

        Raises:
            ValueError: the vendor has accepted or completed it, after which nothing changes.
        """
        if self.status(order.po) not in _CHANGEABLE:
            raise ValueError(f"PO {order.po} is {self.status(order.po)}: only an uncommitted PO can change")
        self.orders[order.po] = order
        self._versions[order.po].append(order)
        if reopen and self.status(order.po) == "submitted":
            self.move(order.po, "ready")

    def lines_told(self, po: str) -> list[tuple[PurchaseLine, ...]]:
        """Return the lines of each version of a PO, oldest first; a vendor may have read any of them."""
        return [version.lines or () for version in self._versions[po]]

    def obstacle(self, operation: str, po: str) -> Obstacle | None:
        """Say why a step of a PO, or a date for it, cannot be taken now; None when it can."""
        if po not in self.orders:
            return Obstacle.unknown
        status = self.status(po)
        if operation == "MarkSubmitted":
            return None if status in {"open", "ready"} else Obstacle.already
        if status in {"open", "ready"}:
            return Obstacle.too_early
        if operation == "MarkAccepted" and any(state.status == "accepted" for state in self._states[po]):
            return Obstacle.already
        if status == "complete":
            return Obstacle.already if operation == "Complete" else Obstacle.closed
        return None

    def take(self, step: Step, po: str, known: bool) -> None:
        """Move a PO; `known` tells whether the vendor learns of it."""
        self._asked += 1
        self._states[po].append(OrderState(self.now(), _STATE_AFTER[step], step))
        self._effects[self._key(step, po)] = AskedEffect(step, po, [(self.now(), known)], self._asked)

    def complete(self, completion: Completion, known: bool) -> None:
        """Complete a PO."""
        self.take("Complete", completion.po, known)
        self.completions.append(Completed(self.now(), completion, known))

    def estimate(self, date: EstimatedDate, known: bool) -> None:
        """Keep an estimated date; the last one of the same lines, told once more, is doubled."""
        lines = (date.po, frozenset(line_id for line_id, _ in date.items))
        told = self._dates.setdefault(lines, [])
        self.estimates.append(Estimated(self.now(), date, known))
        if told and told[-1] == date:
            self._again((lines, len(told)), "UpdateEstShipDate", date.po, known)
            return
        told.append(date)
        self._asked += 1
        asked = AskedEffect("UpdateEstShipDate", date.po, [(self.now(), known)], self._asked)
        self._effects[lines, len(told)] = asked

    def hinder(self, operation: str, po: str, obstacle: Obstacle, known: bool) -> None:
        """Remember a refused step; `known` tells whether the answer settles this PO for the vendor."""
        if obstacle is Obstacle.already:
            self._again(self._key(operation, po), operation, po, known)
        elif obstacle is Obstacle.closed or (obstacle is Obstacle.too_early and self._was_never_taken(po)):
            self._asked += 1
            self._regressions.append(
                PurchaseRegression(self.now(), po, self.status(po), operation, self._asked)
            )

    def _was_never_taken(self, po: str) -> bool:
        """Whether the vendor has not submitted a PO yet; one that changed since may be called about in good faith."""
        return all(state.status in {"open", "ready"} for state in self._states[po])

    def checkpoint(self) -> int:
        """Return a mark; `doubled` and `regressions` can be asked for what came after it."""
        return self._asked

    def doubled(self, since: int = 0) -> list[AskedEffect]:
        """Return the effects asked for more than once that were asked for again after the mark."""
        return [effect for effect in self._effects.values() if effect.times > 1 and effect.last > since]

    def regressions(self, since: int = 0) -> list[PurchaseRegression]:
        """Return the calls after the mark that would have taken a PO back."""
        return [step for step in self._regressions if step.asked > since]

    def _again(self, key: tuple[object, ...], operation: str, po: str, known: bool) -> None:
        self._asked += 1
        effect = self._effects.get(key)
        if effect is None:
            # Done by the partner itself: the vendor has not asked before, and could not know.
            effect = self._effects[key] = AskedEffect(operation, po, [(self.now(), False)], self._asked)
        effect.needless += any(heard for _, heard in effect.moments)
        effect.moments.append((self.now(), known))
        effect.last = self._asked

    def _key(self, operation: str, po: str) -> tuple[object, ...]:
        """Name an effect: a PO that the partner made ready again is submitted anew, which doubles nothing."""
        return operation, po, sum(not state.by for state in self._states[po])
