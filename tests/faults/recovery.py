"""How long the hub took to consume again after each fault that ended its session with the broker, or its process."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.hub import Said
from tests.faults.points import CRASHES, Fault, Kind
from tests.faults.stage import RECONNECT_AT_MOST_SECONDS

# The promise: consuming again within the reconnect interval (its jitter included) plus two seconds.
PROMISED_SECONDS = RECONNECT_AT_MOST_SECONDS * 1.2 + 2
# What the start of a process costs besides: its store, its first connections, every queue declared.
_START_SECONDS = 3.0
_AWAY = frozenset(
    {Kind.connections_closed, Kind.queue_deleted, Kind.broker_frozen, Kind.broker_killed, Kind.memory_alarm}
)
_CUTS = frozenset({Kind.error_before, Kind.error_after, Kind.timeout_after})


@dataclass(slots=True)
class Met:
    """A fault that happened: from when to when (monotonic), and how long the hub took to consume again."""

    fault: Fault
    begun: float
    over: float | None = None
    recovered: float | None = None


def measure(met: Sequence[Met], said: Sequence[Said]) -> None:
    """Find the recovery of each fault that ends a session or a process."""
    for item in met:
        kind = item.fault.kind
        at_the_broker = kind in _CUTS and item.fault.point.startswith("broker.")
        if item.over is not None and (kind in CRASHES or kind in _AWAY or at_the_broker):
            item.recovered = _up_after(item, item.over, said)


def _up_after(met: Met, over: float, said: Sequence[Said]) -> float | None:
    """Give how long after the fault's end the hub consumed again; 0 when it did all the time."""
    up = next((line.at for line in said if line.event == "broker_connected" and line.at >= over), None)
    if met.fault.kind in CRASHES:
        return None if up is None else up - over
    lost = any(
        line.event == "broker_lost" and met.begun <= line.at and (up is None or line.at <= up)
        for line in said
    )
    return up - over if lost and up is not None else 0.0


def late(met: Sequence[Met]) -> tuple[str, ...]:
    """Say which recoveries took longer than promised; where faults overlap, only the last of them is held to it."""
    found = []
    for item in met:
        if item.recovered is None or item.over is None or item.recovered <= _allowed_seconds(item.fault):
            continue
        until = item.over + item.recovered
        if not any(
            other is not item and item.begun <= (other.over or until) and other.begun <= until
            for other in met
        ):
            found.append(f"late: consuming again {item.recovered:.1f} s after {item.fault}")
    return tuple(found)


def _allowed_seconds(fault: Fault) -> float:
    """Give the promise, stretched by as much as the machine has more to do than it has cores."""
    promised = PROMISED_SECONDS + (_START_SECONDS if fault.kind in CRASHES else 0)
    return promised * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
