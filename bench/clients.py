"""Webhook clients for benchmarks, the units they are told of, and how long each was on its way."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from hub.amqp.sending.client_session import ClientSession
from hub.messaging.message import Message
from hub.models.events import FULFILLMENT
from hub.sandbox import WebhookReceiver

UNIT_MOVED = "unit.disposition_changed"
_UNIT = {
    "from_disposition": "rtv",
    "to_disposition": "rts",
    "timestamp": "2024-05-16T11:03:27Z",
    "location_identifier": "L",
    "warehouse_identifier": "22",
    "program_identifier": "parcel_returns",
    "upc": "0812345678905",
    "from_condition": "TT",
    "to_condition": "N",
}


def settings_of(receivers: Sequence[WebhookReceiver]) -> dict[str, str]:
    """Give the environment of a hub that tells these clients of units."""
    environ = {}
    for number, receiver in enumerate(receivers):
        environ[f"HUB_WEBHOOKS__{number}__NAME"] = receiver.name
        environ[f"HUB_WEBHOOKS__{number}__DISPOSITION_URL"] = receiver.url_of("disposition")
    return environ


def unit(name: str) -> Message:
    """Give the event that a unit was moved, which makes one webhook for each client."""
    return Message(
        orjson.dumps(_UNIT | {"optiturn_lp": name}), content_type="application/json", message_id=name
    )


@dataclass(slots=True)
class Stopwatch:
    """When each unit was published, and how long it took to a client."""

    published: dict[str, datetime] = field(default_factory=dict)

    async def publish(self, client_session: ClientSession, name: str) -> None:
        """Publish a unit, and start its time."""
        self.published[name] = datetime.now(UTC)
        await client_session.send(unit(name), exchange=FULFILLMENT, routing_key=UNIT_MOVED)

    def seconds(self, arrived: Mapping[str, datetime]) -> Mapping[str, float]:
        """Give how long each of the units that have arrived was on its way."""
        return {
            name: (at - self.published[name]).total_seconds()
            for name, at in arrived.items()
            if name in self.published
        }


def arrivals(receiver: WebhookReceiver) -> Mapping[str, datetime]:
    """Give when each unit came to a client; the last time, if it came twice."""
    return {item.json["optiturn_lp"]: item.at for item in receiver.received}


async def at_rate(count: int, per_second: float, begin: Callable[[int], Awaitable[None]]) -> None:
    """Begin ``count`` pieces of work evenly in time, however long each takes, and return when all are done."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(begun + number / per_second - time.monotonic(), 0))
            group.create_task(_done(begin(number)))


async def _done(work: Awaitable[None]) -> None:
    await work


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that so large a share of all is not above."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
