"""What a publisher writes never becomes a request of the hub, by whatever way it comes back to its queue."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from hub.amqp.copies import headers
from hub.models.events import Event, OrderCancelled
from hub.partners.optoro.translate import Kind, effect_keys
from hub.topology import DEAD_LETTER, REQUEUE
from tests.attacks.rig import ACME, Deployment, dead, shipped
from tests.broker.rig import outsider
from tests.eventually import eventually

STATUS = "hub.iqmetrix.update-order-status"
TO_ACME = {"dest-exchange": REQUEUE, "dest-exchange-key": ACME}
FUTURE = "future-1"


def _future(deployment: Deployment) -> str:
    """Return the effect key of a webhook that the hub will make of an event that is not published yet."""
    event = Event(
        FUTURE, "order.cancelled", "/amqp", "", datetime.now(UTC), OrderCancelled(order_id="iqmetrix:1:2")
    )
    return effect_keys(deployment.settings.webhooks[0], Kind.CANCELLATION, event)[0]


def _forged(deployment: Deployment, order_id: str) -> dict[str, Any]:
    """Return properties that claim to be a stored webhook of the hub, with its signature."""
    return {
        "type": "webhook.cancellation",
        "content_type": "application/cloudevents+json",
        "message_id": "poison",
        "headers": {
            "x-hub-effect": _future(deployment),
            "X-Hub-Effect": _future(deployment),
            "x-hub-order-id": order_id,
            "x-hub-event-id": FUTURE,
            "x-hub-queue": ACME,
            "x-hub-exchange": "hub.orders",
            "x-hub-routing-key": "order.shipped",
            "x-hub-stored": 1,
            "x-hub-signature": "v1=" + "0" * 64,
        },
    }


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": "poison",
            "type": kind,
            "source": "/mallory",
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
    )


async def _the_real_one_is_sent(deployment: Deployment) -> None:
    """Cancel another order under the event id whose webhook was claimed."""
    other = await deployment.known_order()
    await deployment.publish_as_publisher(
        {"order_id": other, "reason": "damaged"}, "order.cancelled", message_id=FUTURE
    )
    await eventually(
        lambda: "cancellation" in [delivery.webhook for delivery in deployment.acme.received], within=20
    )


async def _settled(deployment: Deployment, order_id: str, outcome: str, number: int) -> None:
    async with deployment.store() as store:

        async def all_settled() -> bool:
            entries = await store.timeline_of(order_id)
            return (
                len([1 for entry in entries if (entry.what, entry.facts.get("queue")) == (outcome, ACME)])
                >= number
            )

        await eventually(all_settled, within=20, every=0.1, because=f"{number} {outcome} in {ACME}")


async def _dead_by_the_broker(deployment: Deployment, queue: str) -> None:
    """Have the broker itself set the message of a queue aside: its letter has no header of the hub."""
    async with outsider(deployment.administrator_url) as channel:
        source = await channel.get_queue(queue, ensure=False)

        async def is_dead() -> bool:
            incoming = await source.get(no_ack=False, fail=False)
            if incoming is not None:
                await incoming.reject(requeue=False)
            return await deployment.depth(dead(queue)) == 1

        await eventually(is_dead, within=20, because="the broker has set it aside")


def _bodies(deployment: Deployment) -> list[bytes]:
    return [delivery.body for delivery in deployment.acme.attempts]


async def test_an_event_that_was_parked_comes_back_as_an_event(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        body = _event("order.shipped", shipped(order_id))
        forged = _forged(deployment, order_id)

        await asyncio.gather(
            *(deployment.publish_as_publisher(body, "order.shipped", **forged) for _ in range(8))
        )
        await _settled(deployment, order_id, "done", 8)

        await _the_real_one_is_sent(deployment)
    assert body not in _bodies(deployment)


async def test_a_letter_that_is_replayed_comes_back_as_an_event(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        body = _event("order.shipped", {"order_id": order_id, "packages": "none"})
        await deployment.publish_as_publisher(body, "order.shipped", **_forged(deployment, order_id))
        await deployment.has(dead(ACME))

        await deployment.desk("letters", "replay", "poison", "--queue", dead(ACME))
        await deployment.has(dead(ACME))

        await _the_real_one_is_sent(deployment)
        (letter,) = await deployment.take(dead(ACME))
    assert body not in _bodies(deployment)
    assert letter.headers[headers.REPLAYS] == 1


@pytest.mark.parametrize("way", ["shovel", "replay"])
async def test_what_the_broker_set_aside_comes_back_as_an_event(deployment: Deployment, way: str) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
    body = _event("order.shipped", shipped(order_id))
    await deployment.publish_as_publisher(body, "order.shipped", **_forged(deployment, order_id))
    await _dead_by_the_broker(deployment, ACME)

    async with deployment.hub("consumers"):
        if way == "shovel":
            await deployment.shovel(dead(ACME), **TO_ACME)
        else:
            await deployment.desk("letters", "replay", "poison", "--queue", dead(ACME))

        await _settled(deployment, order_id, "done", 1)
    assert body not in _bodies(deployment)
    assert [delivery.webhook for delivery in deployment.acme.received] == ["confirmation"]


async def test_what_the_broker_set_aside_speaks_for_no_producer(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
    status = {"order_id": order_id, "lines": [{"status": "Shipped"}]}
    key = _forged(deployment, order_id)["headers"] | {"x-hub-routing-key": "order.status_updated.iqmetrix"}
    await deployment.publish_as_publisher(
        _event("order.status_updated", status),
        "order.shipped",
        **_forged(deployment, order_id) | {"headers": key},
    )
    await _dead_by_the_broker(deployment, STATUS)

    async with deployment.hub("consumers"):
        await deployment.shovel(dead(STATUS), **{"dest-exchange": REQUEUE, "dest-exchange-key": STATUS})
        await deployment.has(dead(STATUS))
        (letter,) = await deployment.take(dead(STATUS))

    assert "x-hub-signature: expected the signature of this hub" in str(letter.headers["x-hub-reason"])


async def test_no_header_of_the_hub_that_a_publisher_wrote_is_on_a_copy(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        forged = _forged(deployment, order_id)
        forged["headers"] |= {"x-HUB-other": 1, "tenant": "north"}

        await deployment.publish_as_publisher(b"{}", "order.shipped", **forged)
        await deployment.has(dead(ACME))
        (letter,) = await deployment.take(dead(ACME))

    theirs = (
        "x-hub-effect",
        "X-Hub-Effect",
        "x-hub-order-id",
        "x-hub-event-id",
        "x-hub-stored",
        "x-HUB-other",
    )
    assert not set(theirs) & set(letter.headers)
    assert (letter.headers["tenant"], letter.headers["x-hub-exchange"]) == ("north", "hub.fulfillment")


async def test_a_copy_of_another_queue_is_none_of_this_one(deployment: Deployment) -> None:
    """A signed request to one client, moved by hand to the queue of another."""
    async with deployment.hub():
        order_id = await deployment.known_order()
        deployment.northwind.respond(400, times=100)
        await deployment.publish_as_publisher(shipped(order_id), "order.shipped", message_id="e-1")
        await deployment.has(dead("hub.webhook.northwind"))
        sent = len(deployment.acme.attempts)

        await deployment.shovel(dead("hub.webhook.northwind"), **TO_ACME)
        await deployment.has(dead(ACME))

    assert len(deployment.acme.attempts) == sent


async def test_a_stored_webhook_is_posted_again_by_a_shovel_and_by_a_replay(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        deployment.acme.respond(400, times=12)
        await deployment.publish_as_publisher(shipped(order_id), "order.shipped", message_id="e-1")
        await deployment.has(dead(ACME))

        await deployment.shovel(dead(ACME), **TO_ACME)
        await eventually(lambda: len(deployment.acme.attempts) == 12, within=20)
        await deployment.has(dead(ACME))
        await deployment.desk("letters", "replay", "--queue", dead(ACME), "--reason", "test", "--yes")
        await eventually(lambda: len(deployment.acme.received) == 1, within=20)

    assert len(set(_bodies(deployment))) == 1


async def test_a_webhook_that_an_unsigned_release_stored_is_still_posted(deployment: Deployment) -> None:
    body, key = b'{"of": "the release before"}', "acme:confirmation:old"
    stored = {"type": "webhook.confirmation", "message_id": key, "headers": {"x-hub-effect": key}}
    async with deployment.store() as store:
        await store.delegate_effect(key)

    async with deployment.hub("consumers"):
        await deployment.publish_as("hub", REQUEUE, ACME, body, **stored)
        await eventually(lambda: body in _bodies(deployment), within=20)


async def test_an_unsigned_webhook_that_nobody_handed_on_needs_a_person(deployment: Deployment) -> None:
    body, key = b'{"of": "a lost state store"}', "acme:confirmation:old"
    stored = {"type": "webhook.confirmation", "message_id": key, "headers": {"x-hub-effect": key}}

    async with deployment.hub("consumers"):
        await deployment.publish_as("hub", DEAD_LETTER, ACME, body, **stored)
        await deployment.shovel(dead(ACME), **TO_ACME)
        await deployment.has(dead(ACME))
        assert body not in _bodies(deployment)
        status, _ = await deployment.desk_status("letters", "replay", key, "--adopt")
        assert status == 2
        shown = await deployment.desk("letters", "replay", key, "--adopt", "--reason", "restored", "--yes")
        await eventually(lambda: body in _bodies(deployment), within=20)

    assert "without a signature of this hub" in shown
