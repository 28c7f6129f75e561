"""Letters moved by the broker's own tools: the shovel plugin, and the button "Move messages" of its management pages.

The session's broker has both plugins. A letter is moved by nobody who knows the hub, so all that counts is in its headers.
"""

import asyncio
import base64
import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from hub.local_broker.node import PrivateNode
from hub.messaging.outcome import Done, Reject, Retry
from tests.broker.rig import ORDER_ID, QUEUE, WAITS, Handler, depth, outsider, running, send
from tests.eventually import eventually

# RabbitMQ 3.10: a prefetch of its own, no forward headers, confirmed by the broker before the letter is gone.
COMMON = {
    "src-protocol": "amqp091",
    "src-queue": QUEUE.dead,
    "src-prefetch-count": 1000,
    "src-delete-after": "queue-length",
    "dest-protocol": "amqp091",
    "ack-mode": "on-confirm",
}
TO_REQUEUE = {"dest-exchange": "hub.requeue", "dest-exchange-key": QUEUE.queue}
# "dest-add-forward-headers" puts an x-shovelled header on each message, which is to be ignored.
SHOVEL = {**COMMON, **TO_REQUEUE, "dest-add-forward-headers": True}
STRAIGHT = {**COMMON, "dest-queue": QUEUE.queue, "dest-add-forward-headers": True}
# What the button sends: the fields of its form in priv/www/js/tmpl/queue.ejs of rabbitmq_management 3.10.8, and the
# argument that rabbitmq_shovel_management's own script adds.
BUTTON = {
    **COMMON,
    "src-consumer-args": {},
    "dest-add-forward-headers": False,
    "dest-queue": QUEUE.queue,
}


async def move(node: PrivateNode, url: str, name: str, value: dict[str, Any]) -> None:
    """Start a dynamic shovel, as the management interface does."""
    vhost = urllib.parse.urlsplit(url).path.lstrip("/")
    uri = f"amqp:///{vhost}"
    parameter = {
        "component": "shovel",
        "vhost": urllib.parse.unquote(vhost),
        "name": name,
        "value": {**value, "src-uri": uri, "dest-uri": uri},
    }
    path = f"/api/parameters/shovel/{vhost}/{urllib.parse.quote(name, safe='')}"
    login = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    request = urllib.request.Request(
        f"{node.management_url}{path}",
        data=json.dumps(parameter).encode(),
        method="PUT",
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )

    def ask() -> None:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20):
            pass

    await asyncio.to_thread(ask)


async def publish(url: str, *ids: str) -> None:
    async with outsider(url) as channel:
        for message_id in ids:
            body = json.dumps({"order_id": ORDER_ID}).encode()
            await send(channel, "hub.fulfillment", "order.accepted", body, message_id=message_id)


async def eventually_holds(url: str, queue: str, number: int) -> None:
    async def holds() -> bool:
        return await depth(url, queue) == number

    await eventually(holds, within=20, every=0.1, because=f"expected {number} in {queue}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replay", SHOVEL),
        ("replay straight", STRAIGHT),
        (f"Move from {QUEUE.dead}", BUTTON),
    ],
)
async def test_a_moved_letter_is_delivered_once_and_with_a_full_budget(
    node: PrivateNode, broker_url: str, name: str, value: dict[str, Any]
) -> None:
    handler = Handler(always=Reject("vendor not found"))
    async with running(broker_url, handler):
        await publish(broker_url, "good", "poor")
        await eventually_holds(broker_url, QUEUE.dead, 2)
        handler.seen.clear()
        handler.always = None
        # The first attempts of both fail, the second ones succeed: with a budget that was spent they would die at once.
        handler.script = [Retry("partner away"), Retry("partner away"), Done(), Done()]

        await move(node, broker_url, name, value)
        await eventually(lambda: len(handler.seen) == 4, within=20, because="not worked on four times")
        await eventually_holds(broker_url, QUEUE.dead, 0)

    attempts = sorted((event.id, context.attempt) for event, context in handler.seen)
    assert attempts == [("good", 1), ("good", 2), ("poor", 1), ("poor", 2)]
    assert not any("x-shovelled" in context.message.headers for _, context in handler.seen[2:])


async def test_a_moved_letter_that_fails_on_has_all_its_attempts_and_dies_as_a_letter_again(
    node: PrivateNode, broker_url: str
) -> None:
    handler = Handler(always=Reject("vendor not found"))
    async with running(broker_url, handler):
        await publish(broker_url, "bad")
        await eventually_holds(broker_url, QUEUE.dead, 1)
        handler.seen.clear()
        handler.always = Retry("still away")

        await move(node, broker_url, f"Move from {QUEUE.dead}", BUTTON)
        await eventually(lambda: len(handler.seen) == 1 + len(WAITS), within=20, because="not all attempts")
        await eventually_holds(broker_url, QUEUE.dead, 1)

    assert [context.attempt for _, context in handler.seen] == list(range(1, 2 + len(WAITS)))
