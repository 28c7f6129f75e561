"""A small warehouse: another service that hears of new orders and answers with shipments and cancellations.

It talks to the hub as any service would: a queue of its own bound to ``hub.orders``, plain JSON to ``hub.fulfillment``.
What happens to an order is drawn from the seed and the order id alone, and every message has a fixed id, so that a
redelivered order is answered with the same messages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from hub.amqp.receiving.delivery import Delivery
from hub.amqp.sending.properties import received
from hub.amqp.sending.publisher import AmqpPublisher
from hub.amqp.supervisor import Subscription, Supervisor
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, PermanentError
from hub.messaging.cloudevents import decode
from hub.messaging.message import Message
from hub.models.events import FULFILLMENT, ORDERS, OrderCreated, OrderLine
from hub.topology import UNROUTABLE, Binding, Exchange, Queue, Topology

QUEUE = "svc.warehouse"
CARRIERS = (
    ("UPS", "Ground", "1Z863YY6"),
    ("FedEx", "Home Delivery", "7946"),
    ("USPS", "Priority Mail", "9405"),
)

Step = tuple[str, Mapping[str, Any]]


def answers(order: OrderCreated, seed: int) -> Iterator[Step]:
    """Yield what the warehouse says about an order, in order: (event type, data)."""
    rng = random.Random(f"{seed}:{order.order_id}")
    plan = rng.choices(
        ("whole", "parcels", "in_two_steps", "one_line_cancelled", "cancelled", "backordered_first"),
        (40, 15, 15, 15, 8, 7),
    )[0]
    lines = order.lines
    if plan == "cancelled" and order.source == "retailops":
        # RetailOps has no call for it: such a PO would stay a person's work, and never be final.
        plan = "whole"
    if plan in ("parcels", "in_two_steps", "one_line_cancelled") and len(lines) < 2:
        plan = "whole"
    order_id = {"order_id": order.order_id}
    match plan:
        case "whole":
            yield "order.shipped", {**order_id, "packages": [_parcel(rng, "1", None)]}
        case "parcels":
            parcels = [_parcel(rng, str(n), [line]) for n, line in enumerate(lines, 1)]
            yield "order.shipped", {**order_id, "packages": parcels}
        case "in_two_steps":
            yield "order.shipped", {**order_id, "packages": [_parcel(rng, "1", lines[:1])]}
            # By line: two messages may be worked on in either order, and "all that is left" depends on it.
            yield "order.shipped", {**order_id, "packages": [_parcel(rng, "2", lines[1:])]}
        case "one_line_cancelled":
            cancelled = [
                {
                    "line_id": lines[0].line_id,
                    "quantity": lines[0].quantity,
                    "reason": "Not found in warehouse",
                }
            ]
            yield "order.cancelled", {**order_id, "lines": cancelled}
            yield "order.shipped", {**order_id, "packages": [_parcel(rng, "1", lines[1:])]}
        case "cancelled":
            yield "order.cancelled", {**order_id, "reason": "Inventory damaged"}
        case "backordered_first":
            yield "order.backordered", {**order_id, "message": "Expected next week"}
            yield "order.accepted", order_id
            yield "order.shipped", {**order_id, "packages": [_parcel(rng, "1", None)]}


def _parcel(rng: random.Random, number: str, lines: Sequence[OrderLine] | None) -> dict[str, Any]:
    carrier, service, prefix = rng.choice(CARRIERS)
    parcel: dict[str, Any] = {
        "package_id": f"PKG-{number}",
        "carrier": carrier,
        "service": service,
        "tracking_number": f"{prefix}{rng.randrange(10**10):010}",
        "weight_lb": round(rng.uniform(0.2, 12), 1),
        "shipping_cost_cents": rng.randrange(500, 2500),
    }
    if lines is not None:
        parcel["items"] = [{"line_id": line.line_id, "quantity": line.quantity} for line in lines]
    return parcel


class Warehouse:
    """Answers every new order; with the first one it also counts its stock and moves a unit.

    Args:
        broker: whom it hears the orders from.
        speaks: the account that it answers by, where that of ``broker`` may only listen; the hub's exchanges must be
            there then, as such accounts may not make them.
        seed: for what it answers.
        pause_seconds: before each answer.
    """

    def __init__(
        self, broker: Broker, *, speaks: Broker | None = None, seed: int = 0, pause_seconds: float = 0.3
    ) -> None:
        orders = Exchange(ORDERS, "topic", {"alternate-exchange": UNROUTABLE})
        self._topology = Topology(
            exchanges=() if speaks else (orders,),
            queues=(Queue(QUEUE, {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}),),
            bindings=(Binding(ORDERS, QUEUE, "order.created.*"),),
            work_queues=(),
            rungs=(),
        )
        self._seed = seed
        self._pause = pause_seconds
        self._supervisor = Supervisor(broker, self._topology, name="warehouse")
        self._speaker = self._supervisor
        if speaks:
            self._speaker = Supervisor(speaks, Topology((), (), (), (), ()), name="warehouse")
        self._publisher = AmqpPublisher(self._speaker, timeout=broker.publish_timeout)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered: set[str] = set()
        self.webhooks_due = 0
        """How many webhooks each client that hears of everything must get: parcels, cancellations, units."""

    @property
    def answered(self) -> frozenset[str]:
        """The ids of the orders that it has begun to answer."""
        return frozenset(self._answered)

    async def listening(self) -> None:
        """Wait until its queue is there: it only hears of orders that are announced after that."""
        await self._supervisor.wait_until_up()

    async def run(self) -> None:
        """Work until cancelled."""
        self._supervisor.subscribe(Subscription(QUEUE, 50, self._spawning(self._answer)))
        running = [
            asyncio.create_task(supervisor.run(), name="warehouse")
            for supervisor in dict.fromkeys((self._supervisor, self._speaker))
        ]
        try:
            await asyncio.gather(*running)
        finally:
            for task in (*running, *self._tasks):
                task.cancel()
            await asyncio.gather(*running, *self._tasks, return_exceptions=True)

    def _spawning(self, work: Callable[[Delivery], Any]) -> Callable[[Delivery], None]:
        def begin(delivery: Delivery) -> None:
            task = asyncio.create_task(work(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return begin

    async def _answer(self, delivery: Delivery) -> None:
        with suppress(PermanentError):
            event = decode(received(delivery.delivered, QUEUE))
            said = list(answers(event.data, self._seed))
            if not self._answered:
                self.webhooks_due += 1
                said += [
                    ("inventory.counted", _stock(self._seed)),
                    ("unit.disposition_changed", _disposition()),
                ]
            if event.order_id not in self._answered:
                self._answered.add(event.order_id or "")
                self.webhooks_due += sum(_webhooks(kind, content) for kind, content in said)
            # What it says goes on with the trace of the order, as any service can.
            trace = {"traceparent": event.traceparent} if event.traceparent else {}
            for number, (kind, content) in enumerate(said, 1):
                await asyncio.sleep(self._pause)
                await self._say(kind, content, f"wh:{event.order_id}:{number}", trace)
        delivery.ack()

    async def _say(
        self, kind: str, content: Mapping[str, Any], message_id: str, trace: Mapping[str, str]
    ) -> None:
        message = Message(
            orjson.dumps(content), content_type="application/json", message_id=message_id, headers=trace
        )
        while True:
            try:
                await self._publisher.send(message, exchange=FULFILLMENT, routing_key=kind)
            except BrokerUnavailable:
                await asyncio.sleep(self._pause)
            else:
                return


def _webhooks(kind: str, content: Mapping[str, Any]) -> int:
    return len(content["packages"]) if kind == "order.shipped" else int(kind == "order.cancelled")


def _stock(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    return {"items": [{"sku": f"NF-{n:04}", "quantity": rng.randrange(-2, 200)} for n in range(20)]}


def _disposition() -> dict[str, Any]:
    return {
        "from_disposition": "rtv",
        "to_disposition": "rts_drop_ship",
        "timestamp": "2024-05-16T11:03:27Z",
        "location_identifier": "RTS-2041",
        "warehouse_identifier": "22",
        "optiturn_lp": "LPNF0093127",
        "program_identifier": "parcel_returns",
        "upc": "0812345678905",
        "from_condition": "TT",
        "to_condition": "N",
    }
