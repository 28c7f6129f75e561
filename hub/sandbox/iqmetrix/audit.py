"""What the simulated partner was told about each order, in order, so that a checker can find what a correct hub never does.

Two questions are answered: was an effect applied twice, and did a state go backward? The ranks are the hub's ruling on the state
diagrams of the iQmetrix Supplier Orders reference, 25-01-2016 (what the partner enforces is not documented, so it enforces nothing
and this ledger remembers).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import orjson

from hub.sandbox.iqmetrix.orders import SandboxLine, SandboxOrder
from hub.sandbox.iqmetrix.updates import LineUpdate, OrderUpdate
from hub.sandbox.request_log import Clock, Refused

__all__ = ["Applied", "Doubled", "Ledger", "LineHistory", "LineState", "Regression"]

FINAL: Final = frozenset({"Shipped", "Cancelled"})

# States without a rank (BackOrdered, NotAvailable, Error, Other) may be entered from any state that is not final, and left for
# any but the first.
_RANK: Final = {"PendingSupplier": 0, "Ordered": 1, "PartiallyShipped": 2, "Shipped": 3, "Cancelled": 3}


@dataclass(frozen=True, slots=True)
class LineState:
    """What one update said of one line; `path` is the last segment of the address it came by, empty for the order itself."""

    at: datetime
    status: str
    quantity: int | None = None
    tracking: str | None = None
    provider: str | None = None
    info: str | None = None
    message: str | None = None
    path: str = ""


@dataclass(slots=True, eq=False)
class LineHistory:
    """One line's states, oldest first; the first is the new order's PendingSupplier."""

    line: SandboxLine
    states: list[LineState]

    @property
    def status(self) -> str:
        """The line's present state."""
        return self.states[-1].status


@dataclass(frozen=True, slots=True)
class Applied:
    """One update that took effect; `answered` is False when the client never saw the answer."""

    at: datetime
    order_id: str
    path: str
    digest: bytes
    answered: bool


@dataclass(frozen=True, slots=True)
class Regression:
    """A line's state that went backward; `applied` is the position of the update that did it."""

    at: datetime
    order_id: str
    catalog_id: str
    before: str
    after: str
    reason: str
    applied: int


@dataclass(frozen=True, slots=True)
class Doubled:
    """The same body applied to the same order more than once.

    `unanswered` of these times the connection was cut, so that the client had to repeat; `excused` tells whether that
    explains all repetitions.
    """

    order_id: str
    path: str
    times: int
    unanswered: int

    @property
    def excused(self) -> bool:
        """Whether the client saw no more than one answer."""
        return self.times - self.unanswered <= 1


@dataclass(eq=False)
class Ledger:
    """All orders of one simulated partner and what became of them."""

    now: Clock
    orders: dict[str, SandboxOrder] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    _histories: dict[str, tuple[LineHistory, ...]] = field(default_factory=dict, repr=False)
    _regressions: list[Regression] = field(default_factory=list, repr=False)

    def open(self, order: SandboxOrder, at: datetime) -> None:
        """Take in a new order, every line PendingSupplier."""
        self.orders[order.order_id] = order
        self._histories[order.order_id] = tuple(
            LineHistory(line, [LineState(at, "PendingSupplier")]) for line in order.lines
        )

    def history(self, order_id: str) -> tuple[LineHistory, ...]:
        """Return the history of each line of an order.

        Raises:
            KeyError: there is no such order.
        """
        return self._histories[order_id]

    def is_final(self, order_id: str) -> bool:
        """Return whether every line of an order is shipped or cancelled."""
        return all(line.status in FINAL for line in self._histories[order_id])

    def apply(
        self, order_id: str, update: OrderUpdate, path: str, body: bytes, answered: bool
    ) -> tuple[tuple[SandboxLine, LineState], ...]:
        """Apply one update to a known order and return the lines it touched.

        Raises:
            Refused: 400, when it names a line that the order does not have; nothing is applied then.
        """
        at = self.now()
        matched = list(self._match(order_id, update))
        for history, told in matched:
            state = LineState(
                at, told.status, told.quantity, told.tracking, told.provider, told.info, told.message, path
            )
            self._watch(order_id, history, state)
            history.states.append(state)
        self.applied.append(Applied(at, order_id, path, _digest(body), answered))
        return tuple((history.line, history.states[-1]) for history, _ in matched)

    def checkpoint(self) -> int:
        """Return a mark; `regressions` and `doubled` can be asked for what came after it."""
        return len(self.applied)

    def regressions(self, since: int = 0) -> list[Regression]:
        """Return the states that went backward after the mark."""
        return [regression for regression in self._regressions if regression.applied >= since]

    def doubled(self, since: int = 0) -> list[Doubled]:
        """Return the updates applied more than once, counted from the beginning, that were repeated after the mark."""
        groups: dict[tuple[str, bytes], list[int]] = {}
        for position, applied in enumerate(self.applied):
            groups.setdefault((applied.order_id, applied.digest), []).append(position)
        return [
            self._doubled(positions)
            for positions in groups.values()
            if len(positions) > 1 and positions[-1] >= since
        ]

    def _doubled(self, positions: list[int]) -> Doubled:
        times = [self.applied[position] for position in positions]
        return Doubled(
            times[0].order_id, times[0].path, len(times), sum(not applied.answered for applied in times)
        )

    def _match(self, order_id: str, update: OrderUpdate) -> Iterable[tuple[LineHistory, LineUpdate]]:
        histories = self._histories[order_id]
        if update.every_line is not None:
            return [(history, update.every_line) for history in histories]
        pairs: list[tuple[LineHistory, LineUpdate]] = []
        for told in update.lines:
            named = [history for history in histories if _names(told, history.line)]
            if not named:
                raise Refused(400, "The request is invalid")
            pairs.extend((history, told) for history in named)
        return pairs

    def _watch(self, order_id: str, history: LineHistory, state: LineState) -> None:
        reason = _backward(history.status, state.status)
        if reason is not None:
            self._regressions.append(
                Regression(
                    state.at,
                    order_id,
                    history.line.catalog_id,
                    history.status,
                    state.status,
                    reason,
                    len(self.applied),
                )
            )


def _names(told: LineUpdate, line: SandboxLine) -> bool:
    return told.sku == line.sku and told.catalog_id in {None, line.catalog_id}


def _backward(before: str, after: str) -> str | None:
    if before == after:
        return None
    if before in FINAL:
        return "changed after a final state"
    if after == "PendingSupplier":
        return "reset to PendingSupplier"
    if before in _RANK and after in _RANK and _RANK[after] < _RANK[before]:
        return "went back"
    return None


def _digest(body: bytes) -> bytes:
    """Fingerprint of the document, whatever its spacing and the order of its keys."""
    return hashlib.sha256(orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)).digest()
