"""Telling iQmetrix what became of an order: once, in order, also when everything comes at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest

from consumers.iqmetrix.update_order_status import UpdateOrderStatus
from hub.errors import Busy, HubError, PartnerRejected, PartnerUnavailable, UnknownOrder
from hub.messaging.handler import Context
from hub.messaging.message import Message
from hub.messaging.outcome import Done, Outcome, Reject
from hub.models.events import AnyEvent, Event, OrderStatusUpdated, StatusLine
from hub.partners.iqmetrix.wire import ItemStatusUpdate, OrderStatusUpdate
from tests.consumers.pauses import Pauses
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.iqmetrix.samples import (
    NOW,
    ORDER_ID,
    SOURCE_ORDER_ID,
    SUPPLIER,
    accepted,
    an_event,
    backordered,
    cancelled,
    details,
    settings,
    shipped,
)

CREATED = an_event(details(2, 1), "created-1")
ALL = {"tracking_number": "9400111899223", "carrier": "UPS"}
FIRST = {**ALL, "items": [{"line_id": "A", "quantity": 2}], "package_id": "P1"}
SECOND = {**ALL, "tracking_number": "1Z2", "items": [{"line_id": "B", "quantity": 1}], "package_id": "P2"}


@dataclass
class Updates:
    """iQmetrix: keeps what it is told, and notices if it is told two things at once."""

    settings = settings()
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    errors: list[HubError] = field(default_factory=list)
    after: Callable[[], None] = lambda: None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    async def update_order(self, order_id: str, body: OrderStatusUpdate) -> None:
        await self._take("OrderStatusUpdate", order_id, body.encode())

    async def update_items(self, order_id: str, body: ItemStatusUpdate) -> None:
        await self._take("ItemStatusUpdate", order_id, body.encode())

    async def _take(self, kind: str, order_id: str, body: bytes) -> None:
        assert order_id == SOURCE_ORDER_ID
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            await self.open.wait()
            if self.errors:
                raise self.errors.pop(0)
            self.bodies.append(body)
            self.told.append((kind, orjson.loads(body)))
            self.after()
        finally:
            self.at_once -= 1

    @property
    def statuses(self) -> Sequence[Any]:
        """What was told, in short: the order's status, or the status of each item."""
        return [body["Status"] if kind == "OrderStatusUpdate" else _by_item(body) for kind, body in self.told]


def _by_item(body: dict[str, Any]) -> dict[str, str]:
    return {item["Sku"]: item["Status"] for item in body["ItemInformation"]}


@dataclass
class Scene:
    store: MemoryStore
    iqmetrix: Updates
    handler: UpdateOrderStatus

    async def hear(self, event: AnyEvent, handler: UpdateOrderStatus | None = None) -> Outcome:
        message = Message(b"{}", type=event.type, message_id=event.id)
        context = Context("update_order_status", "hub.iqmetrix.update-order-status", 1, message)
        return await (handler or self.handler)(event, context)

    def another_process(self) -> UpdateOrderStatus:
        return UpdateOrderStatus(self.store, {SUPPLIER: self.iqmetrix}, "host:2:start")


@pytest.fixture
async def scene() -> Scene:
    store, iqmetrix = MemoryStore(), Updates()
    await store.record_orders([CREATED])
    return Scene(store, iqmetrix, UpdateOrderStatus(store, {SUPPLIER: iqmetrix}, "host:1:start"))


# --- one after another ---------------------------------------------------------------------------------------


async def test_the_life_of_an_order_is_told_step_by_step(scene: Scene) -> None:
    """Edge case 18: item update goes to ItemStatusUpdate, order update to OrderStatusUpdate."""
    events = [CREATED, shipped(FIRST, event_id="ship-1"), cancelled({"line_id": "B"})]

    outcomes = [await scene.hear(event) for event in events]

    assert [kind for kind, _ in scene.iqmetrix.told] == [
        "OrderStatusUpdate",
        "ItemStatusUpdate",
        "ItemStatusUpdate",
    ]
    assert scene.iqmetrix.statuses == ["Ordered", {"SKU-A": "Shipped"}, {"SKU-B": "Cancelled"}]
    assert outcomes == [Done("told Ordered"), Done("told Shipped by item"), Done("told Cancelled by item")]


async def test_a_whole_shipment_is_told_with_its_tracking_number_as_text(scene: Scene) -> None:
    """Edge case 17: tracking number that looks numeric is sent as a JSON string."""
    await scene.hear(shipped(ALL))

    (body,) = scene.iqmetrix.bodies
    assert b'"Status":"Shipped"' in body
    assert b'"TrackingInfo":"9400111899223"' in body


async def test_every_update_says_a_status(scene: Scene) -> None:
    """Edge case 19: no update without Status."""
    for event in (CREATED, backordered("A"), shipped(FIRST, event_id="1"), shipped(SECOND, event_id="2")):
        await scene.hear(event)

    assert len(scene.iqmetrix.told) == 4
    for kind, body in scene.iqmetrix.told:
        stated = [body] if kind == "OrderStatusUpdate" else body["ItemInformation"]
        assert all(part["Status"] for part in stated)


async def test_a_repeated_shipment_is_told_once(scene: Scene) -> None:
    """Edge case 20: repeated fulfillment message: no second Shipped, also not by another process."""
    event = shipped(ALL)
    await scene.hear(event)

    outcomes = [await scene.hear(event), await scene.hear(event, scene.another_process())]

    assert scene.iqmetrix.statuses == ["Shipped"]
    assert set(outcomes) == {Done("nothing to tell: superseded or told before")}


async def test_a_late_ordered_is_superseded(scene: Scene) -> None:
    await scene.hear(shipped(ALL))

    outcomes = [await scene.hear(late) for late in (CREATED, accepted())]

    assert scene.iqmetrix.statuses == ["Shipped"]
    assert set(outcomes) == {Done("nothing to tell: superseded or told before")}


async def test_what_the_feed_shows_is_noted_and_not_told_back(scene: Scene) -> None:
    data = OrderStatusUpdated(
        order_id=ORDER_ID, lines=(StatusLine(status="Shipped"), StatusLine(status="Shipped"))
    )
    event = Event(
        id="feed-1",
        type="order.status_updated",
        source="/tests",
        subject=ORDER_ID,
        time=NOW,
        data=data,
    )

    assert await scene.hear(event) == Done("the feed shows 2 of Shipped")
    assert scene.iqmetrix.told == []


def echo(*states: str) -> AnyEvent:
    data = OrderStatusUpdated(order_id=ORDER_ID, lines=tuple(StatusLine(status=state) for state in states))
    return Event("feed-2", "order.status_updated", "/tests", ORDER_ID, NOW, data)


async def test_a_report_waits_until_the_feed_shows_it(scene: Scene) -> None:
    await scene.hear(echo("Ordered"))
    await scene.hear(CREATED)
    first = await scene.store.awaits_echo_since("iqmetrix", ORDER_ID)
    await scene.hear(echo("Ordered", "Ordered"))
    between = await scene.store.awaits_echo_since("iqmetrix", ORDER_ID)
    await scene.hear(shipped(ALL))
    last = await scene.store.awaits_echo_since("iqmetrix", ORDER_ID)

    assert (first is None, between, last is None) == (False, None, False)


@pytest.mark.parametrize(
    ("shown", "waits"),
    [
        (("Shipped", "Shipped"), False),
        (("Shipped",), False),
        ((" shipped ",), False),
        ((), False),
        (("InDispute",), False),
        (("Ordered",), True),
        (("PendingSupplier", "BackOrdered", "PartiallyShipped"), True),
    ],
)
async def test_the_echo_of_an_earlier_state_is_none_of_the_last_report(
    scene: Scene, shown: Sequence[str], waits: bool
) -> None:
    await scene.hear(shipped(ALL))

    await scene.hear(echo(*shown))

    assert (await scene.store.awaits_echo_since("iqmetrix", ORDER_ID) is not None) == waits


async def test_the_echo_of_what_came_after_the_report_ends_its_wait(scene: Scene) -> None:
    await scene.hear(CREATED)

    await scene.hear(echo("Cancelled"))

    assert await scene.store.awaits_echo_since("iqmetrix", ORDER_ID) is None


async def test_no_report_waits_where_the_feed_shows_no_updates(scene: Scene) -> None:
    scene.iqmetrix.settings = settings().model_copy(update={"echo_within": timedelta(0)})

    await scene.hear(CREATED)

    assert scene.iqmetrix.statuses == ["Ordered"]
    assert await scene.store.awaits_echo_since("iqmetrix", ORDER_ID) is None


async def test_an_order_of_an_account_without_settings_is_rejected(scene: Scene) -> None:
    handler = UpdateOrderStatus(scene.store, {"1": scene.iqmetrix}, "host:1:start")

    outcome = await scene.hear(shipped(ALL), handler)

    assert isinstance(outcome, Reject)
    assert SUPPLIER in outcome.reason


async def test_an_order_that_nobody_announced_is_an_error() -> None:
    store, iqmetrix = MemoryStore(), Updates()
    scene = Scene(store, iqmetrix, UpdateOrderStatus(store, {SUPPLIER: iqmetrix}, "host:1:start"))

    for event in (CREATED, shipped(ALL)):
        with pytest.raises(UnknownOrder):
            await scene.hear(event)
    assert iqmetrix.told == []


# --- what fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PartnerUnavailable("503"), PartnerRejected("400", status=400)])
async def test_what_could_not_be_told_is_told_by_the_next_event(scene: Scene, error: HubError) -> None:
    scene.iqmetrix.errors = [error]
    with pytest.raises(type(error)):
        await scene.hear(shipped(FIRST, event_id="ship-1"))

    await scene.hear(shipped(SECOND, event_id="ship-2"))

    (told,) = scene.iqmetrix.told
    assert told[1]["Status"] == "Shipped"
    assert told[1]["TrackingInfo"] == "9400111899223,1Z2"
    assert await scene.store.leases() == {}


async def test_what_was_taken_is_recorded_however_long_the_store_is_away(scene: Scene) -> None:
    pauses = Pauses(scene.store, back_after=3)
    handler = UpdateOrderStatus(scene.store, {SUPPLIER: scene.iqmetrix}, "host:1:start", sleep=pauses)
    scene.iqmetrix.after = lambda: setattr(scene.store, "away", "disk full")

    outcome = await scene.hear(shipped(ALL), handler)
    scene.iqmetrix.after = lambda: None
    again = await scene.hear(shipped(ALL))

    assert outcome == Done("told Shipped")
    assert again == Done("nothing to tell: superseded or told before")
    assert scene.iqmetrix.statuses == ["Shipped"]
    assert pauses.seconds == [0.2, 0.4, 0.8]


async def test_what_another_process_told_meanwhile_is_not_overwritten(scene: Scene) -> None:
    newer = {"lines": {"A": "as another process told it"}, "tracked_by_item": False}

    async def another_tells(_seconds: float) -> None:
        scene.store.away = ""
        await scene.store.tell("iqmetrix", ORDER_ID, newer)

    handler = UpdateOrderStatus(scene.store, {SUPPLIER: scene.iqmetrix}, "host:1:start", sleep=another_tells)
    scene.iqmetrix.after = lambda: setattr(scene.store, "away", "disk full")

    await scene.hear(shipped(ALL), handler)

    assert await scene.store.told("iqmetrix", ORDER_ID) == newer


async def test_a_stop_ends_the_repetition_and_the_redelivery_says_it_once_more(scene: Scene) -> None:
    pauses = Pauses(scene.store, back_after=0)
    handler = UpdateOrderStatus(scene.store, {SUPPLIER: scene.iqmetrix}, "host:1:start", sleep=pauses)
    scene.iqmetrix.after = lambda: setattr(scene.store, "away", "disk full")
    delivery = asyncio.create_task(scene.hear(shipped(ALL), handler))
    await pauses.begun.wait()

    delivery.cancel()
    await asyncio.wait([delivery])
    scene.store.away, scene.iqmetrix.after = "", lambda: None
    await scene.hear(shipped(ALL))

    assert delivery.cancelled()
    assert scene.iqmetrix.bodies[0] == scene.iqmetrix.bodies[1]
    assert len(scene.iqmetrix.bodies) == 2


# --- at once -------------------------------------------------------------------------------------------------


async def test_two_events_of_one_order_at_once_make_updates_in_order(scene: Scene) -> None:
    outcomes = await asyncio.gather(
        scene.hear(CREATED),
        scene.hear(shipped(FIRST, event_id="ship-1")),
        scene.hear(shipped(SECOND, event_id="ship-2")),
        scene.hear(accepted()),
    )

    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert scene.iqmetrix.most_at_once == 1
    assert _ends_shipped(scene.iqmetrix)
    assert "Ordered" not in scene.iqmetrix.statuses[1:]


async def test_an_event_that_waits_for_its_turn_tells_what_has_come_to_be_meanwhile(scene: Scene) -> None:
    scene.iqmetrix.open.clear()
    picked_up = asyncio.create_task(scene.hear(CREATED))
    await eventually(lambda: scene.iqmetrix.at_once == 1)
    parts = [
        asyncio.create_task(scene.hear(shipped(package, event_id=event_id)))
        for package, event_id in ((FIRST, "ship-1"), (SECOND, "ship-2"))
    ]
    await eventually(lambda: _all_shipped(scene.store))

    scene.iqmetrix.open.set()
    outcomes = [await task for task in (picked_up, *parts)]

    assert scene.iqmetrix.statuses == ["Ordered", "Shipped"]
    assert outcomes[2] == Done("nothing to tell: superseded or told before")


async def test_those_who_wait_behind_a_failed_update_do_not_wait_for_a_failure_each(scene: Scene) -> None:
    scene.iqmetrix.open.clear()
    scene.iqmetrix.errors = [PartnerUnavailable("no complete answer in time")]
    first = asyncio.create_task(scene.hear(CREATED))
    await eventually(lambda: scene.iqmetrix.at_once == 1)
    second = asyncio.create_task(scene.hear(shipped(ALL)))
    await eventually(lambda: _all_shipped(scene.store))

    scene.iqmetrix.open.set()
    await asyncio.wait([first, second])

    assert {str(task.exception()) for task in (first, second)} == {"no complete answer in time"}
    assert await scene.hear(shipped(ALL)) == Done("told Shipped")


async def test_two_processes_do_not_speak_about_one_order_at_once(scene: Scene) -> None:
    scene.iqmetrix.open.clear()
    ours = asyncio.create_task(scene.hear(CREATED))
    await eventually(lambda: scene.iqmetrix.at_once == 1)
    other = scene.another_process()

    with pytest.raises(Busy):
        await scene.hear(shipped(ALL), other)

    scene.iqmetrix.open.set()
    await ours
    await scene.hear(shipped(ALL), other)
    assert scene.iqmetrix.statuses == ["Ordered", "Shipped"]
    assert scene.iqmetrix.most_at_once == 1


async def test_two_processes_with_events_at_once_end_in_one_right_state(scene: Scene) -> None:
    other = scene.another_process()
    events = [CREATED, shipped(FIRST, event_id="ship-1"), shipped(SECOND, event_id="ship-2"), accepted()]

    async def until_done(event: AnyEvent, handler: UpdateOrderStatus) -> None:
        while True:
            try:
                await scene.hear(event, handler)
            except Busy:
                # The ladder's part: it comes again.
                await asyncio.sleep(0)
            else:
                return

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(until_done(event, handler) for event in events for handler in (scene.handler, other))
        )

    assert scene.iqmetrix.most_at_once == 1
    assert _ends_shipped(scene.iqmetrix)
    assert scene.iqmetrix.statuses == list(_unrepeated(scene.iqmetrix.statuses))


async def _all_shipped(store: MemoryStore) -> bool:
    return not any(line.left for line in (await store.load_order(ORDER_ID)).lines)


def _ends_shipped(iqmetrix: Updates) -> bool:
    """Whether both lines were last told as shipped, for the order or by item."""
    last: dict[str, str] = {}
    for status in iqmetrix.statuses:
        last.update(status if isinstance(status, dict) else dict.fromkeys(("SKU-A", "SKU-B"), status))
    return last == {"SKU-A": "Shipped", "SKU-B": "Shipped"}


def _unrepeated(statuses: Sequence[Any]) -> Sequence[Any]:
    return [status for place, status in enumerate(statuses) if status not in statuses[:place]]
