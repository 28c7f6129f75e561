"""A publisher speaks for itself only: it rewrites no recorded order, whatever type, key or header it gives a message."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiormq.exceptions import ChannelAccessRefused

from hub.config.settings import load
from hub.models.events import EVENT_TYPES, FULFILLMENT
from hub.service.flows import topology_of
from hub.topology import UNROUTABLE
from tests.attacks.rig import Deployment, dead
from tests.cli.conftest import EXAMPLE
from tests.eventually import eventually

STATUS = "hub.iqmetrix.update-order-status"
SOURCES = ("iqmetrix", "retailops")
KEYS = tuple(
    key for kind in EVENT_TYPES.values() if kind.exchange == FULFILLMENT for key in kind.routing_keys(SOURCES)
)


def _changed(order_id: str) -> dict[str, Any]:
    """Return the data of an order.changed that sends a known order to somebody else."""
    source, account, number = order_id.split(":")
    return {
        "order_id": order_id,
        "source": source,
        "source_account": account,
        "source_order_id": number,
        "source_event_id": "forged",
        "created_at": "2026-11-30T10:00:00Z",
        "ship_to_store": False,
        "ship_to": {"name": "Mallory"},
        "notes": [],
        "lines": [{"line_id": "1", "sku": "X", "quantity": 1}],
    }


def _structured(kind: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": "forged",
            "type": kind,
            "source": "/mallory",
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
    )


async def _reasons(deployment: Deployment, queue: str, number: int) -> list[str]:
    found: list[str] = []

    async def all_there() -> bool:
        found.extend(str(letter.headers["x-hub-reason"]) for letter in await deployment.take(dead(queue)))
        return len(found) >= number

    await eventually(all_there, within=20, every=0.1, because=f"{number} letters of {queue}")
    return found


async def test_a_publisher_is_refused_every_key_that_is_not_documented(deployment: Deployment) -> None:
    for key in (
        "zzz",
        "order.shiped",
        "order.changed.iqmetrix",
        "order.shipped.toy",
        "order.shipped.iqmetrix.x",
        "",
    ):
        with pytest.raises(ChannelAccessRefused):
            await deployment.publish_as_publisher({}, key)

    assert await deployment.depth(UNROUTABLE) == 0


@pytest.mark.parametrize("header", ["CC", "BCC"])
async def test_further_keys_in_a_header_reach_no_queue_of_another_exchange(
    deployment: Deployment, header: str
) -> None:
    """Newer brokers refuse them; 3.10 asks for a permission for the routing key only."""
    headers: dict[str, Any] = {header: ["order.changed.iqmetrix", "order.created.retailops", "zzz"]}

    with suppress(ChannelAccessRefused):
        await deployment.publish_as_publisher({}, "unit.disposition_changed", headers=headers)

    others = [queue.queue for queue in deployment.work_queues if not queue.queue.startswith("hub.webhook.")]
    assert sum([await deployment.depth(queue) for queue in others]) == 0


@pytest.mark.parametrize("kind", ["order.changed", "order.created", "order.status_updated"])
async def test_a_type_of_the_hub_is_not_taken_from_a_publisher(deployment: Deployment, kind: str) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        async with deployment.store() as store:
            before = await store.load_order(order_id)
            data = _changed(order_id)
            if kind == "order.status_updated":
                data = {"order_id": order_id, "lines": [{"status": "Shipped"}]}
            structured = {"content_type": "application/cloudevents+json"}
            await deployment.publish_as_publisher(data, "order.shipped", type=kind, message_id="plain")
            await deployment.publish_as_publisher(_structured(kind, data), "order.shipped", **structured)
            binary = {
                f"ce-{name}": value
                for name, value in orjson.loads(_structured(kind, {})).items()
                if isinstance(value, str)
            }
            await deployment.publish_as_publisher(data, "order.shipped", headers=binary)

            reasons = await _reasons(deployment, STATUS, 3)

            after = await store.load_order(order_id)
    assert all(reason.startswith("type: ") for reason in reasons)
    assert after == before


async def test_a_key_that_announces_no_type_does_not_help(deployment: Deployment) -> None:
    """Brokers whose permissions were not imported yet let any key pass; the hub itself refuses the type."""
    async with deployment.hub():
        order_id = await deployment.known_order()
        cc = {"CC": ["order.shipped"]}

        await deployment.publish_as(
            "hub",
            FULFILLMENT,
            "zzz",
            _changed(order_id),
            type="order.changed",
            message_id="forged",
            headers=cc,
        )

        (reason,) = await _reasons(deployment, STATUS, 1)
    assert reason.startswith("type: expected a type of the exchange that it came by")


async def test_a_letter_that_comes_back_keeps_the_exchange_it_came_by(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        await deployment.publish_as_publisher(
            _changed(order_id), "order.shipped", type="order.changed", message_id="forged"
        )
        await deployment.has(dead(STATUS))

        await deployment.desk("letters", "replay", "forged", "--queue", dead(STATUS))

        (reason,) = await _reasons(deployment, STATUS, 1)
    assert reason.startswith("type: ")


async def test_a_queue_takes_no_type_that_it_is_not_bound_to(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        cc = {"CC": ["order.shipped"]}

        await deployment.publish_as_publisher(
            {"items": [{"sku": order_id, "quantity": 1}]},
            "inventory.counted",
            message_id="count",
            headers=cc,
        )

        (reason,) = await _reasons(deployment, STATUS, 1)
    assert reason == "type: expected a type that this queue is bound to, got inventory.counted"


@pytest.mark.parametrize("key", KEYS)
def test_every_documented_key_reaches_a_queue(key: str) -> None:
    """So what lies in hub.unroutable was misspelt."""
    name = next(name for name in EVENT_TYPES if key == name or key.startswith(f"{name}."))
    bindings = topology_of(load(EXAMPLE, {})).bindings

    bound = {
        binding.queue
        for binding in bindings
        if binding.exchange == FULFILLMENT and binding.routing_key in (key, f"{name}.*")
    }

    assert bound


@pytest.mark.parametrize(
    ("name", "source"), [("order.ship_date_estimated", "iqmetrix"), ("order.failed", "retailops")]
)
async def test_what_a_partner_has_no_use_for_is_done_with_a_note(
    deployment: Deployment, name: str, source: str
) -> None:
    account = deployment.iqmetrix.supplier_id if source == "iqmetrix" else deployment.retailops.vendor_id
    order_id = f"{source}:{account}:unknown"
    data = {"order_id": order_id, "estimated_ship_date": "2026-12-24T00:00:00Z", "status": "Error"}

    async with deployment.hub(), deployment.store() as store:
        await deployment.publish_as_publisher(data, f"{name}.{source}", message_id="e-1")

        async def noted() -> bool:
            entries = await store.timeline_of(order_id)
            return f"{source} has no use for {name}" in [entry.facts.get("note") for entry in entries]

        await eventually(noted, within=20, every=0.05)
    assert await deployment.depth(UNROUTABLE) == 0
