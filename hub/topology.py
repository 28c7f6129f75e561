"""THE MAP: every exchange, queue and binding, as data.

Nothing else spells a queue's name or an argument. ``hub.amqp.topology.declare`` makes a broker look like the map,
``hub.amqp.topology.definitions`` renders it as ``rabbitmq/definitions.json``, and the tests hold both against it.

    hub.orders, hub.fulfillment   topic     events out, events in
    hub.<partner>.<consumer>      queue     one per consumer, bound to its events and to hub.requeue by its name
    hub.wait.<ms>                 fanout    one rung of the ladder: TTL queue; expiry hands over to hub.requeue
    hub.requeue                   direct    key = work queue: the way back from a rung, and for replays
    hub.dead-letter               direct    key = work queue: to <queue>.dead
    hub.unroutable                fanout    alternate exchange of all of these but the rungs
    hub.installation              queue     holds one message, the installation's id; no consumer

Why each argument is as it is: at-least-once dead-lettering with reject-publish loses nothing when a broker dies;
no length limit on a work queue, since a full one would stop a shared rung; a delivery limit that is never reached,
since brokers count lost connections as deliveries and the default of newer ones is 20. Messages that end the process
that handles them are found by the hub itself (``hub.amqp.receiving.custody``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS

REQUEUE = "hub.requeue"
DEAD_LETTER = "hub.dead-letter"
UNROUTABLE = "hub.unroutable"
INSTALLATION = "hub.installation"
WAIT_PREFIX = "hub.wait."

# "Never": 3.10 refuses -1.
KEPT_DELIVERY_LIMIT = 1_000_000
# That of work queues before: twenty lost connections set a healthy message aside.
EARLIER_DELIVERY_LIMIT = 20
# 1 s to 2048 s: what Retry-After hints are put together from.
LADDER_POWERS = tuple(timedelta(seconds=2**n) for n in range(12))

_DEAD_LETTERS_SAFELY = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """A queue that one consumer or producer of the hub works on.

    ``partner`` and ``name`` make its name: ``update_order_status`` of ``iqmetrix`` is
    ``hub.iqmetrix.update-order-status``. ``hears`` are event types; with ``source`` only events of that source
    are bound, as far as the routing key tells.
    """

    partner: str
    name: str
    hears: tuple[str, ...] = ()
    sources: tuple[str, ...] | None = None

    @property
    def queue(self) -> str:
        """The queue's name on the broker."""
        return f"hub.{self.partner}.{self.name.replace('_', '-')}"

    @property
    def dead(self) -> str:
        """The name of its dead-letter queue."""
        return f"{self.queue}.dead"

    def bindings(self) -> Iterable[tuple[str, str]]:
        """Yield (exchange, routing key) for each event it hears."""
        for name in self.hears:
            kind = EVENT_TYPES[name]
            if not kind.by_source:
                yield kind.exchange, kind.name
                continue
            if kind.exchange == FULFILLMENT:
                yield kind.exchange, kind.name
            for source in self.sources if self.sources is not None else ("*",):
                yield kind.exchange, f"{kind.name}.{source}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue; ``earlier`` are the arguments that earlier releases declared it with, which still do."""

    name: str
    arguments: Mapping[str, Any]
    earlier: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """From an exchange to a queue."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that has to be on the broker; ``rungs`` are the waits of the ladder, ascending."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    work_queues: tuple[WorkQueue, ...]
    rungs: tuple[timedelta, ...]


def rung_name(wait: timedelta) -> str:
    """Name the exchange and queue of a rung; the name carries its TTL in milliseconds."""
    return f"{WAIT_PREFIX}{round(wait.total_seconds() * 1000)}"


def ladder(waits: Sequence[timedelta], powers: Sequence[timedelta] = LADDER_POWERS) -> tuple[timedelta, ...]:
    """Return all rungs, ascending: the configured waits and the powers of two between them."""
    return tuple(sorted({*waits, *powers}))


def draw(
    work_queues: Iterable[WorkQueue], waits: Sequence[timedelta], powers: Sequence[timedelta] = LADDER_POWERS
) -> Topology:
    """Draw the map for these work queues and this ladder."""
    work_queues = tuple(work_queues)
    rungs = ladder(waits, powers)
    kept = {"alternate-exchange": UNROUTABLE}
    exchanges = [
        Exchange(ORDERS, "topic", kept),
        Exchange(FULFILLMENT, "topic", kept),
        Exchange(REQUEUE, "direct", kept),
        Exchange(DEAD_LETTER, "direct", kept),
        Exchange(UNROUTABLE, "fanout"),
    ]
    queues = [
        _kept_queue(UNROUTABLE),
        Queue(INSTALLATION, _quorum(KEPT_DELIVERY_LIMIT)),
    ]
    bindings = [Binding(UNROUTABLE, UNROUTABLE, ""), Binding(REQUEUE, INSTALLATION, INSTALLATION)]
    for wait in rungs:
        name = rung_name(wait)
        exchanges.append(Exchange(name, "fanout"))
        queues.append(Queue(name, _rung_arguments(wait)))
        bindings.append(Binding(name, name, ""))
    for work in work_queues:
        queues += [_work_queue(work), _kept_queue(work.dead)]
        bindings += [Binding(exchange, work.queue, key) for exchange, key in work.bindings()]
        bindings += [Binding(REQUEUE, work.queue, work.queue), Binding(DEAD_LETTER, work.dead, work.queue)]
    return Topology(tuple(exchanges), tuple(queues), tuple(bindings), work_queues, rungs)


def _quorum(delivery_limit: int) -> dict[str, Any]:
    return {"x-queue-type": "quorum", "x-delivery-limit": delivery_limit}


def _kept_queue(name: str) -> Queue:
    """Draw a queue that keeps messages for a person: a length limit by policy refuses new ones and drops none."""
    return Queue(
        name,
        _quorum(KEPT_DELIVERY_LIMIT) | {"x-overflow": "reject-publish"},
        earlier=(_quorum(KEPT_DELIVERY_LIMIT),),
    )


def _rung_arguments(wait: timedelta) -> dict[str, Any]:
    """No dead-letter routing key: the key of the message, which is its work queue, is kept."""
    return {
        **_quorum(KEPT_DELIVERY_LIMIT),
        "x-message-ttl": round(wait.total_seconds() * 1000),
        "x-dead-letter-exchange": REQUEUE,
        **_DEAD_LETTERS_SAFELY,
    }


def _work_queue(work: WorkQueue) -> Queue:
    dead_letters = {
        "x-dead-letter-exchange": DEAD_LETTER,
        "x-dead-letter-routing-key": work.queue,
        **_DEAD_LETTERS_SAFELY,
    }
    return Queue(
        work.queue,
        _quorum(KEPT_DELIVERY_LIMIT) | dead_letters,
        earlier=(_quorum(EARLIER_DELIVERY_LIMIT) | dead_letters,),
    )
