"""Many purchase orders, one call: what the consumers that mark POs at RetailOps have in common.

Called by ``submit_purchase_orders``, ``accept_purchase_orders`` and ``update_ship_dates``, each with a function that
makes a ``Mark`` of an event.

Each PO is an effect of its own in the ledger, however it was batched. A call that RetailOps refuses is taken apart, one
call for each PO, so that one bad PO does not sink the rest. The one window that remains is a crash between the answer
and the records: then the POs are marked again, which RetailOps takes, or calls already done.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from consumers.effects.batched_calls import Claims, Same, call_in_parts, parts_of, singles
from consumers.effects.once import Sleep, recorded
from hub.config.settings import Retailops
from hub.errors import ErrorFacts, HubError, StoreUnavailable
from hub.messaging.dispatch import guarded, outcome_of
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import AnyEvent
from hub.models.input.quoting import shown_id
from hub.models.order import Line, Order
from hub.models.types import OrderId
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.client import BATCH
from hub.partners.retailops.wire import PurchaseOrderItem, PurchaseOrderMark
from hub.state.protocols import EffectStore

PARTNER = "retailops"

# One call with a renewal is two requests, and the accounts of a key take turns: the poller and five consumers.
_REQUESTS_PER_CALL = 2
_FLOWS_OF_A_KEY = 6
_LEASE_MARGIN = timedelta(seconds=30)


class Account(Protocol):
    """The client of one vendor account."""

    @property
    def settings(self) -> Retailops:
        """The settings of the account."""


C = TypeVar("C", bound=Account)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Mark(Generic[R]):
    """One PO in a call: its record, the key of its effect, and what is recorded before the effect is.

    ``apart_from`` names other effects that must not be under way at the same time; ``why_superseded`` is asked once
    the claim is held, and gives the reason why the mark is not wanted any more, or nothing; ``ended`` is told the
    outcome.
    """

    account: str
    key: str
    record: R
    remember: Callable[[], Awaitable[None]] | None = None
    apart_from: tuple[str, ...] = ()
    same: Same | None = None
    why_superseded: Callable[[], Awaitable[str]] | None = None
    ended: Callable[[Outcome], Awaitable[None]] | None = None


MarkOf = Callable[[AnyEvent, Context], Awaitable[Mark[R] | Outcome]]
"""Returns the mark that an event asks for, or the outcome where there is nothing to mark."""


def unfit(event: AnyEvent, accounts: Mapping[str, object]) -> Done | Reject | None:
    """Return why an event is nothing for these vendor accounts, if so."""
    order_id = OrderId.parse(event.data.order_id)
    if order_id.source != PARTNER:
        return Done("not a retailops order")
    if order_id.account not in accounts:
        known = ", ".join(sorted(accounts)) or "none"
        return Reject(
            f"expected an order of a configured retailops account ({known}), got {shown_id(order_id.account)}",
            ErrorFacts("retailops", code="unknown_account"),
        )
    return None


def call_lease(settings: Retailops, calls: int = 1) -> timedelta:
    """How long so many calls can take, with the turns of the others that use the key."""
    return settings.timeout * _REQUESTS_PER_CALL * _FLOWS_OF_A_KEY * calls + _LEASE_MARGIN


def whole(order: Order) -> PurchaseOrderMark:
    """Return a PO with all the lines that RetailOps orders now."""
    lines = order.details.lines
    return PurchaseOrderMark(
        po=order.details.source_order_id,
        items=tuple(PurchaseOrderItem(po_item_id=line.line_id, quantity=line.quantity) for line in lines),
    )


def units_left(po_lines: Sequence[Line]) -> tuple[PurchaseOrderItem, ...]:
    """Return the units of these lines that are still to leave."""
    return tuple(
        PurchaseOrderItem(po_item_id=line.line_id, quantity=line.left) for line in po_lines if line.left
    )


# --- the batches ---------------------------------------------------------------------------------------------


class Marking(Generic[C, R]):
    """Sends the marks of many events in as few calls as there may be.

    Args:
        store: the ledger of effects.
        clients: by vendor account.
        holder: who claims the effects, this process.
        send: makes one call for up to ``BATCH`` records.
        sleep: waits between attempts to record what was marked, for tests.
    """

    def __init__(
        self,
        store: EffectStore,
        clients: Mapping[str, C],
        holder: str,
        send: Callable[[C, Sequence[R]], Awaitable[None]],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._claims = Claims(store, holder, before="marked before", sleep=sleep)
        self._send = send
        self._sleep = sleep
        # A claim is taken for one call, so it must not wait behind other batches while its lease runs.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(
        self, events: Sequence[tuple[AnyEvent, Context]], mark_of: MarkOf[R]
    ) -> Sequence[Outcome]:
        """Return each event its own outcome; no error of one PO or account is another's.

        Args:
            events: of any orders and accounts, and how they came.
            mark_of: asked about each.
        """
        wanted = await asyncio.gather(*(self._wanted(*event, mark_of) for event in events))
        # By key: an event that is there twice is marked once.
        marks = {mark.key: mark for mark in wanted if isinstance(mark, Mark)}
        accounts: defaultdict[str, list[Mark[R]]] = defaultdict(list)
        for mark in marks.values():
            accounts[mark.account].append(mark)
        outcomes: dict[str, Outcome] = {}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._marked(account, own)) for account, own in accounts.items()]
        for task in tasks:
            outcomes |= task.result()
        await asyncio.gather(*(mark.ended(outcomes[mark.key]) for mark in marks.values() if mark.ended))
        return [outcomes[mark.key] if isinstance(mark, Mark) else mark for mark in wanted]

    async def _wanted(self, event: AnyEvent, context: Context, mark_of: MarkOf[R]) -> Mark[R] | Outcome:
        ignored = unfit(event, self._clients)
        if ignored is not None:
            return ignored
        try:
            return await guarded(mark_of(event, context), "a mark of a purchase order")
        except HubError as error:
            return outcome_of(error)

    async def _marked(self, account: str, marks: Sequence[Mark[R]]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}

        async def call(part: Sequence[Mark[R]]) -> None:
            outcomes.update(await self._call_once(self._clients[account], part))

        async with self._turns[account]:
            for part, failure in await call_in_parts(parts_of(marks, BATCH), call, singles):
                if failure is not None:
                    outcomes |= {mark.key: outcome_of(failure) for mark in part}
        return outcomes

    async def _call_once(self, client: C, marks: Sequence[Mark[R]]) -> dict[str, Outcome]:
        """Claim, call with what is not marked yet, and record (see ``consumers.effects.once.once``)."""
        attempt, others = await self._claims.take(
            {mark.key: mark.apart_from for mark in marks},
            call_lease(client.settings),
            {mark.key: mark.same for mark in marks if mark.same},
        )
        others |= await self._superseded([mark for mark in marks if mark.key not in others], attempt)
        ours = {mark.key: mark for mark in marks if mark.key not in others}
        if not ours:
            return others
        taken = False
        try:
            await self._call(client, [mark.record for mark in ours.values()])
            taken = True
        finally:
            if not taken:
                await self._claims.give_back(list(ours), attempt)
        # Before the effects: a repeated event must not find its own done with this still missing.
        await asyncio.gather(
            *(recorded(mark.remember, sleep=self._sleep) for mark in ours.values() if mark.remember)
        )
        await self._claims.record(list(ours))
        return {**others, **dict.fromkeys(ours, Done("marked"))}

    async def _call(self, client: C, records: Sequence[R]) -> None:
        try:
            await self._send(client, records)
        except Refused as refusal:
            # Of several records nothing says which of them it is about.
            if not (refusal.already_done and len(records) == 1):
                raise

    async def _superseded(self, marks: Sequence[Mark[R]], attempt: str) -> Mapping[str, Outcome]:
        """Look again now that the claims are held; give back those whose marks are not wanted any more."""
        asked = [mark for mark in marks if mark.why_superseded is not None]
        answers = await asyncio.gather(*(self._why_superseded(mark) for mark in asked))
        unwanted = {
            mark.key: outcome for mark, outcome in zip(asked, answers, strict=True) if outcome is not None
        }
        await self._claims.give_back(list(unwanted), attempt)
        return unwanted

    async def _why_superseded(self, mark: Mark[R]) -> Outcome | None:
        if mark.why_superseded is None:
            return None
        try:
            reason = await mark.why_superseded()
        except StoreUnavailable as error:
            return outcome_of(error)
        return Done(reason) if reason else None
