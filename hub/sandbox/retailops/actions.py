"""What the simulated RetailOps does when it is called: fetch, mark, date, complete, list carrier classes, take inventory.

RetailOps Interaction Guide for Dropship Integrations, action by action. Called by the HTTP face with a body that is a JSON object;
it knows no HTTP. The texts of refusals are invented, in the manner of those seen on the sibling shipment calls.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from hub.sandbox.request_log import Clock
from hub.sandbox.retailops.audit import Obstacle, PurchaseLedger
from hub.sandbox.retailops.bodies import (
    Completion,
    Mark,
    Note,
    Package,
    read_advice,
    read_classes_query,
    read_completion,
    read_dates,
    read_fetch,
    read_marks,
)
from hub.sandbox.retailops.envelope import ApiError, Flaw

__all__ = ["Action", "Asked", "RetailopsActions"]

# How a repeated step is refused; clients look for "already".
_ALREADY: Final = {
    "MarkSubmitted": "PO {po} already submitted",
    "MarkAccepted": "PO {po} already accepted",
    "Complete": "PO {po} already complete",
}

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: its body, whether the client will see the answer, and who takes the violations."""

    document: dict[str, Any] = field(repr=False)
    answered: bool
    note: Note


Action = Callable[[Asked], dict[str, Any]]
"""Takes effect and returns the answer's fields; raises ApiError for a refusal."""


@dataclass(eq=False)
class RetailopsActions:
    """All actions of one vendor account.

    `whole_batch` refuses a batch for one bad record; otherwise the good ones take effect, and the answer is an error all the same.
    No page of a fetch is longer than `longest_page`, whatever limit is asked for: the real maximum is not public.
    """

    vendor_id: str
    ledger: PurchaseLedger
    whole_batch: bool
    longest_page: int
    now: Clock
    carrier_classes: dict[int, str] = field(default_factory=dict)
    inventory: dict[str, int] = field(default_factory=dict)
    _classes_told: bool = False

    def by_operation(self) -> Mapping[str, Action]:
        """Return the actions by the names that faults, calls and violations use."""
        return {
            "Fetch": self._fetch,
            "MarkSubmitted": lambda asked: self._mark("MarkSubmitted", asked),
            "MarkAccepted": lambda asked: self._mark("MarkAccepted", asked),
            "UpdateEstShipDate": self._date,
            "CarrierClass": self._classes,
            "Complete": self._complete,
            "ExternalSku": self._advise,
        }

    def _fetch(self, asked: Asked) -> dict[str, Any]:
        """Answer a window over the POs that match now: marking shrinks the set, and later offsets then skip POs."""
        query = read_fetch(asked.document, asked.note)
        if query.vendor_id != self.vendor_id:
            raise ApiError("invalid vendor", "1041")
        found = self.ledger.selected(query.statuses)[query.start :][: min(query.limit, self.longest_page)]
        return {
            "records": [order.as_record(self.ledger.status(order.po), query.with_items) for order in found]
        }

    def _mark(self, step: Literal["MarkSubmitted", "MarkAccepted"], asked: Asked) -> dict[str, Any]:
        marks = read_marks(asked.document, asked.note)
        flaws = [self._flaw(step, mark.po, mark.items) for mark in marks]
        for position in _repeats([mark.po for mark in marks]):
            asked.note(f"records[{position}].po: the same PO twice in one call")
            flaws[position] = flaws[position] or Flaw(f"PO {marks[position].po} is listed twice", "1043")
        refused = self._hinder(step, [mark.po for mark in marks], flaws, asked)
        for mark in self._good(marks, flaws):
            self._watch_mark(mark, asked.note)
            self.ledger.take(step, mark.po, asked.answered and refused is None)
        return _settle(refused)

    def _date(self, asked: Asked) -> dict[str, Any]:
        dates = read_dates(asked.document, asked.note)
        flaws = [self._flaw("UpdateEstShipDate", date.po, date.items) for date in dates]
        refused = self._hinder("UpdateEstShipDate", [date.po for date in dates], flaws, asked)
        for date in self._good(dates, flaws):
            self.ledger.estimate(date, asked.answered and refused is None)
        return _settle(refused)

    def _complete(self, asked: Asked) -> dict[str, Any]:
        completion = read_completion(asked.document, asked.note)
        obstacle = self.ledger.obstacle("Complete", completion.po)
        if obstacle is Obstacle.too_early:
            asked.note("po: completed before MarkSubmitted succeeded")
        if obstacle is not None:
            self.ledger.hinder("Complete", completion.po, obstacle, asked.answered)
            raise ApiError(*_worded("Complete", completion.po, obstacle))
        if not self._classes_told:
            asked.note("ship_class_id: must be chosen from CarrierClass.fetch, which was never called")
        self._check_packages(completion, asked.note)
        self.ledger.complete(completion, asked.answered)
        return {}

    def _classes(self, asked: Asked) -> dict[str, Any]:
        read_classes_query(asked.document, asked.note)
        self._classes_told = True
        return {"records": [{"id": number, "name": name} for number, name in self.carrier_classes.items()]}

    def _advise(self, asked: Asked) -> dict[str, Any]:
        advices = read_advice(asked.document, asked.note)
        flaws: list[Flaw | None] = []
        for position, advice in enumerate(advices):
            flaw = None
            if advice.quantity < 0:
                asked.note(f"records[{position}].quantity: negative")
                flaw = Flaw(f"invalid quantity for {advice.vpc}", "1051")
            elif advice.vendor_id not in {None, self.vendor_id}:
                flaw = Flaw("invalid vendor", "1041")
            flaws.append(flaw)
        for advice in self._good(advices, flaws):
            self.inventory[advice.vpc] = advice.quantity
        return _settle(next(filter(None, flaws), None))

    def _good(self, records: Sequence[_Record], flaws: Sequence[Flaw | None]) -> list[_Record]:
        """Return the records that take effect."""
        if self.whole_batch and any(flaws):
            return []
        return [record for record, flaw in zip(records, flaws, strict=True) if flaw is None]

    def _flaw(self, operation: str, po: str, items: tuple[tuple[int, int], ...]) -> Flaw | None:
        obstacle = self.ledger.obstacle(operation, po)
        if obstacle is not None:
            return Flaw(*_worded(operation, po, obstacle))
        known = {line.po_item_id for lines in self.ledger.lines_told(po) for line in lines}
        if any(line_id not in known for line_id, _ in items):
            return Flaw(f"invalid po item of PO {po}", "1044")
        return None

    def _hinder(
        self, operation: str, pos: Sequence[str], flaws: Sequence[Flaw | None], asked: Asked
    ) -> Flaw | None:
        """Remember the refused records of a batch and return the first refusal."""
        alone = asked.answered and len(pos) == 1
        for po, flaw in zip(pos, flaws, strict=True):
            obstacle = self.ledger.obstacle(operation, po)
            if flaw is not None and obstacle is not None:
                self.ledger.hinder(operation, po, obstacle, alone)
        return next(filter(None, flaws), None)

    def _watch_mark(self, mark: Mark, note: Note) -> None:
        """Note what the guide forbids about a mark that the partner cannot or will not refuse."""
        if not self.ledger.orders[mark.po].is_due(self.now()):
            note("po: marked although its date_submit is in the future or unreadable")
        told = [
            {(line.po_item_id, line.quantity) for line in lines} for lines in self.ledger.lines_told(mark.po)
        ]
        if set(mark.items) not in told or not mark.items:
            note("items: not all lines of the PO with their quantities")

    def _check_packages(self, completion: Completion, note: Note) -> None:
        """Check parcels against their PO; the guide wants `unit_count` to be the number of units in the parcel."""
        ordered: Counter[str] = Counter()
        for line in self.ledger.orders[completion.po].lines or ():
            ordered[line.vpc] += line.quantity
        for position, package in enumerate(completion.packages):
            self._check_package(package, ordered, f"packages[{position}].", note)
        shipped: Counter[str] = Counter()
        for package in completion.packages:
            for vpc, quantity in package.items:
                shipped[vpc] += quantity
        if shipped - ordered:
            note("packages: more of a vpc than was ordered")
            raise ApiError(f"invalid quantity for PO {completion.po}", "1046")

    def _check_package(self, package: Package, ordered: Counter[str], where: str, note: Note) -> None:
        if package.ship_class_id not in self.carrier_classes:
            raise ApiError("invalid ship_class_id", "1045")
        vpcs = [vpc for vpc, _ in package.items]
        if not vpcs or any(quantity < 1 for _, quantity in package.items):
            note(f"{where}items: empty, or a quantity below 1")
            raise ApiError("invalid items")
        if any(vpc not in ordered for vpc in vpcs):
            note(f"{where}items: a vpc that the PO does not have")
            raise ApiError("invalid vpc", "1047")
        if len(set(vpcs)) < len(vpcs):
            note(f"{where}items: one vpc twice, which the partner cannot tell apart")
        if package.unit_count != sum(quantity for _, quantity in package.items):
            note(f"{where}unit_count: not the sum of the quantities")
            raise ApiError("invalid unit_count", "1048")


def _repeats(values: Sequence[str]) -> list[int]:
    """Return where a value stands that stood before."""
    first: dict[str, int] = {}
    return [at for at, value in enumerate(values) if first.setdefault(value, at) < at]


def _worded(operation: str, po: str, obstacle: Obstacle) -> tuple[str, str]:
    match obstacle:
        case Obstacle.unknown:
            return "invalid po", "1042"
        case Obstacle.too_early:
            return f"PO {po} has not been submitted", "1049"
        case Obstacle.already:
            return _ALREADY[operation].format(po=po), "1050"
        case Obstacle.closed:
            return f"PO {po} already complete", "1050"


def _settle(refused: Flaw | None) -> dict[str, Any]:
    if refused is not None:
        raise ApiError(refused.text, refused.code)
    return {}
