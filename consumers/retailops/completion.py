"""What RetailOps was told with Complete, and how Complete and the marks of the same PO stay out of each other's way.

A mark after Complete would be a step back. It cannot happen, in whichever processes the two run, since each claims its
effect in the ledger apart from the other's and looks again once it has the claim:

    mark      claims apart from Complete, then looks whether Complete is recorded: if so, the mark is superseded
    Complete  claims apart from MarkAccepted, then looks whether the PO is still finished, and submitted as it is now

So of Complete and MarkAccepted one at a time is under way, and the later one has seen what the earlier one recorded. The
same holds for MarkSubmitted once Complete is claimed. A MarkSubmitted that was claimed before is of a state of the PO
that was recorded before, which Complete sees when it looks: that state is not submitted yet, and Complete waits. Nobody
else waits: the POs of a batch call are claimed one by one. A claim lapses after longer than its call can take; what
remains is a call of a process that died in it, which RetailOps may take up late.

What Complete was told is kept as long as the order, unlike its effect, so that what changes later is noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumers.retailops.batch_marking import PARTNER
from consumers.retailops.manual_work import listed
from hub.models.input.quoting import shown_id
from hub.models.order import Order, Package
from hub.partners.retailops.steps import NEVER_AFTER, Step
from hub.state.protocols import ReportedStateStore

_COMPLETED = f"{PARTNER}:completed"
# Characters of each list of units: three of them and the sentence around them share a reason of 500.
_LONGEST_LIST = 60


def complete_key(order_id: str) -> str:
    """Name the effect of Complete."""
    return f"{PARTNER}:{order_id}:complete"


def accept_key(order_id: str) -> str:
    """Name the effect of MarkAccepted."""
    return f"{PARTNER}:{order_id}:accept"


async def remember_completed(store: ReportedStateStore, order: Order) -> None:
    """Keep that Complete succeeded for the PO as it is in ``order``."""
    await store.tell(
        _COMPLETED,
        order.order_id,
        {
            "ordered": _ordered(order),
            "shipped": _units(order, order.packages),
            "packages": [parcel.package_id for parcel in order.packages],
        },
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """What Complete was told about a PO: units by product code, and parcels."""

    ordered: Mapping[str, int]
    shipped: Mapping[str, int]
    packages: frozenset[str]

    def to_settle(self, order: Order) -> str | None:
        """Say what a person must do about a PO that is not what it was completed as, or None where it is.

        RetailOps may well order what it was told to be shipped: the rest that never came is taken off a PO.
        """
        ordered = _ordered(order)
        since = [parcel for parcel in order.packages if parcel.package_id not in self.packages]
        found = []
        if ordered not in (self.ordered, self.shipped):
            found.append(f"RetailOps orders {_listed(ordered)} now")
        if since:
            parcels = "parcel" if len(since) == 1 else "parcels"
            found.append(f"{len(since)} {parcels} with {_listed(_units(order, since))} left since")
        if not found:
            return None
        details = order.details
        return (
            "RetailOps has no call to change what was completed, so a person must settle it on the RetailOps purchase"
            f" order screen, in PO {shown_id(details.source_order_id)} of vendor {details.source_account}, then discard this"
            f" letter: it was completed with {_listed(self.shipped)}, but {' and '.join(found)}"
        )


async def completion_of(store: ReportedStateStore, order_id: str) -> Completion | None:
    """Return what Complete has reported of a PO, or None before it has."""
    told = await store.told(_COMPLETED, order_id)
    if told is None:
        return None
    return Completion(told["ordered"], told["shipped"], frozenset(told["packages"]))


async def why_superseded(store: ReportedStateStore, order_id: str, *, step: Step = Step.SUBMIT) -> str:
    """Say why a PO is not to be marked any more, or nothing."""
    completed = await completion_of(store, order_id) if Step.COMPLETE in NEVER_AFTER[step] else None
    return "" if completed is None else "superseded: the PO was completed, a mark would be a step back"


def _ordered(order: Order) -> Mapping[str, int]:
    """Count the units that RetailOps orders, by product code: it may number its lines anew."""
    units: Counter[str] = Counter()
    for line in order.details.lines:
        units[line.sku] += line.quantity
    return dict(units)


def _units(order: Order, parcels: Sequence[Package]) -> Mapping[str, int]:
    units: Counter[str] = Counter()
    lines = order.lines_by_id()
    for parcel in parcels:
        for item in parcel.items:
            units[lines[item.line_id].sku] += item.quantity
    return dict(units)


def _listed(units: Mapping[str, int]) -> str:
    entries = [f"{quantity} x {shown_id(sku)}" for sku, quantity in sorted(units.items())]
    return listed(entries, longest=_LONGEST_LIST, what="products") or "nothing"
