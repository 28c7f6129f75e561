"""The matrix: every point where the hub waits for the world, what may happen there, and the plan that a seed makes of it.

A point is named `<whom>.<what>`: a method of the state store, a frame between hub and broker, an endpoint of a partner.
A fault is a kind that happens when a point is passed for the n-th time. A plan is data: the same seed is the same plan.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What goes wrong."""

    error_before = "error before"
    """Refused, and nothing was done. Between hub and broker: the connection is cut and the frame never arrives."""
    error_after = "error after"
    """Done, and the answer is an error or lost. Between hub and broker: the connection is cut once the frame has arrived."""
    timeout_after = "time-out after"
    """Done, and no answer comes for longer than the hub waits."""
    crash_before = "crash before"
    """kill -9 of the hub, and nothing was done."""
    crash_after = "crash after"
    """kill -9 of the hub once it is done, and before the hub has heard of it."""
    connections_closed = "all connections cut"
    queue_deleted = "queue deleted"
    store_locked = "store locked"
    disk_full = "disk full"
    clock_forward = "clock an hour ahead"
    clock_back = "clock 2 s back"
    broker_frozen = "broker frozen"
    memory_alarm = "memory alarm"
    broker_killed = "broker killed"


AT_THE_POINT = (
    Kind.error_before,
    Kind.error_after,
    Kind.timeout_after,
    Kind.crash_before,
    Kind.crash_after,
)
CRASHES = frozenset({Kind.crash_before, Kind.crash_after})
IN_THE_WORLD = (
    Kind.connections_closed,
    Kind.queue_deleted,
    Kind.store_locked,
    Kind.disk_full,
    Kind.clock_forward,
    Kind.clock_back,
)
# They hit every schedule that runs on the broker, and cost seconds: such a schedule runs alone.
ALONE = (Kind.broker_frozen, Kind.memory_alarm, Kind.broker_killed)
# One schedule in so many is one of them.
_ALONE_EVERY = 40

STORE = (
    "store.acquire_lease",
    "store.cursor",
    "store.unseen",
    "store.record_orders",
    "store.commit",
    "store.known_orders",
    "store.load_order",
    "store.apply",
    "store.claim_effect",
    "store.record_effect",
    "store.release_effect",
    "store.delegate_effect",
    "store.told",
    "store.tell",
    "store.add_to_timeline",
)
BROKER = (
    "broker.publish",
    "broker.confirm",
    "broker.deliver",
    "broker.ack",
    "broker.wait",
    "broker.letter",
    "broker.consume",
    "broker.replay",
)
PARTNERS = (
    "iqmetrix.token",
    "iqmetrix.feed",
    "iqmetrix.orders/update",
    "iqmetrix.items/update",
    "iqmetrix.availability",
    "retailops.Fetch",
    "retailops.MarkSubmitted",
    "retailops.Complete",
    "retailops.ExternalSku",
    "acme.token",
    "acme.confirmation",
    "acme.cancellation",
    "acme.partial_cancellation",
    "acme.disposition",
    "northwind.confirmation",
)
# Points that every schedule passes: what happens in the world begins at one of them.
_MOMENTS = (
    "broker.publish",
    "broker.confirm",
    "broker.deliver",
    "broker.ack",
    "iqmetrix.feed",
    "iqmetrix.orders/update",
    "retailops.MarkSubmitted",
    "acme.confirmation",
)
# A second and third passing needs some traffic; these are passed once or twice in a schedule.
_RARE = frozenset(
    {
        "store.release_effect",
        "store.delegate_effect",
        "broker.wait",
        "broker.letter",
        "broker.replay",
        "iqmetrix.token",
        "iqmetrix.availability",
        "retailops.ExternalSku",
        "acme.token",
        "acme.cancellation",
        "acme.partial_cancellation",
        "acme.disposition",
    }
)

CELLS = tuple((point, kind) for point in (*STORE, *BROKER, *PARTNERS) for kind in AT_THE_POINT) + tuple(
    (point, kind) for kind in IN_THE_WORLD for point in _MOMENTS
)
CELLS_ALONE = tuple((point, kind) for kind in ALONE for point in _MOMENTS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong when ``point`` is passed for the ``nth`` time (from 1)."""

    point: str
    kind: Kind
    nth: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.point} #{self.nth}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one schedule does; ``refusals`` is how many webhooks the first client refuses, to fill ladder and dead letters."""

    seed: int
    faults: tuple[Fault, ...]
    orders: int
    purchase_orders: int
    refusals: int

    @property
    def alone(self) -> bool:
        return any(fault.kind in ALONE for fault in self.faults)

    def __str__(self) -> str:
        told = "; ".join(map(str, self.faults))
        return (
            f"seed {self.seed}: {self.orders} orders, {self.purchase_orders} purchase orders,"
            f" {self.refusals} webhooks refused; {told}"
        )


def plan(seed: int) -> Plan:
    """Make the plan of a seed: the first fault goes round the matrix, so that every cell is met, the others are drawn."""
    rng = random.Random(f"schedule {seed}")
    alone = seed % _ALONE_EVERY == _ALONE_EVERY - 1
    number = seed // _ALONE_EVERY
    first = _at(CELLS_ALONE, number) if alone else _at(CELLS, seed - number)
    cells = [first, *rng.sample(CELLS, rng.choice((0, 0, 1, 1, 2, 3)))]
    faults = tuple(
        Fault(point, kind, 1 if point in _RARE else rng.choice((1, 1, 2, 3, 4))) for point, kind in cells
    )
    points = {fault.point for fault in faults}
    letters = points & {"broker.letter", "broker.replay"}
    waits = points & {"broker.wait", "store.release_effect", "store.delegate_effect"}
    return Plan(
        seed,
        faults,
        orders=rng.randrange(3, 6),
        purchase_orders=rng.randrange(1, 3),
        # Every attempt until there is a letter, after which the client relents; a few refusals make waits.
        refusals=1000 if letters else rng.randrange(1, 4) if waits else rng.choice((0, 0, 1)),
    )


def _at(cells: Sequence[tuple[str, Kind]], position: int) -> tuple[str, Kind]:
    # A stride that shares no factor with the length visits every cell, and puts neighbors far apart.
    stride = next(step for step in (89, 97, 101, 103, 107) if len(cells) % step)
    return cells[position * stride % len(cells)]


class Script:
    """Faults that are still to come at some points, and how often each point was passed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._left = list(faults)
        self._passed: dict[str, int] = {}
        self.met: list[Fault] = []

    @property
    def left(self) -> tuple[Fault, ...]:
        return tuple(self._left)

    def passing(self, point: str) -> Fault | None:
        """Count a passing of the point; gives the fault that happens now, if one does."""
        self._passed[point] = self._passed.get(point, 0) + 1
        for fault in self._left:
            if fault.point == point and fault.nth <= self._passed[point]:
                self._left.remove(fault)
                self.met.append(fault)
                return fault
        return None

    def passed(self, point: str) -> int:
        return self._passed.get(point, 0)

    def end(self) -> None:
        """Let nothing more happen."""
        self._left.clear()
