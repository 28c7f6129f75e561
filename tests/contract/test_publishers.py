"""What the pages do not show: kombu, the CloudEvents SDK in structured mode and in JavaScript, a fault from a shell."""

import json

import pytest

from hub.contract.examples import examples_of
from tests.broker.rig import depth, outsider, send
from tests.contract.rig import dead_letters, listening_hub, run
from tests.eventually import eventually

KOMBU = """
import os
from kombu import Connection

with Connection(os.environ["AMQP_URL"], transport_options={"confirm_publish": True}) as connection:
    connection.Producer().publish(
        {"order_id": "retailops:27:D48213", "estimated_ship_date": "2024-05-17T20:00:00"},
        exchange="hub.fulfillment", routing_key="order.ship_date_estimated.retailops", serializer="json",
        message_id="oms-17", mandatory=True,
    )
"""

STRUCTURED = """
import json, os, pika
from cloudevents.core.bindings.rabbitmq import to_structured_event
from cloudevents.core.v1.event import CloudEvent

data = json.loads(os.environ["DATA"])
message = to_structured_event(CloudEvent({"id": "oms-18", "type": "order.failed", "source": "/oms"}, data))
channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
channel.confirm_delivery()
properties = pika.BasicProperties(content_type=message.content_type, headers=message.headers, delivery_mode=2)
channel.basic_publish("hub.fulfillment", "order.failed", message.body, properties, mandatory=True)
channel.connection.close()
"""

JAVASCRIPT = """
import amqp from "amqplib"
import { CloudEvent, HTTP } from "cloudevents"

const event = new CloudEvent({
  id: "oms-19", type: "order.failed", source: "/oms", datacontenttype: "application/json",
  data: JSON.parse(process.env.DATA),
})
const { headers, body } = HTTP[process.env.MODE](event)
const contentType = headers["content-type"].split(";")[0]
const connection = await amqp.connect(process.env.AMQP_URL)
const channel = await connection.createConfirmChannel()
channel.publish("hub.fulfillment", "order.failed", Buffer.from(body), { contentType, headers, persistent: true })
await channel.waitForConfirms()
await connection.close()
"""

FAILED = examples_of("order.failed")[0]
DATA = json.dumps(FAILED.data)


async def test_kombu_is_heard_and_its_time_without_a_zone_is_utc(broker_url: str) -> None:
    async with listening_hub(broker_url) as handler:
        await run("python", KOMBU, broker_url)
        await eventually(lambda: len(handler.seen) == 1)

    ((event, _),) = handler.seen
    assert (event.id, event.type, event.order_id) == (
        "oms-17",
        "order.ship_date_estimated",
        "retailops:27:D48213",
    )
    assert event.data.estimated_ship_date.isoformat() == "2024-05-17T20:00:00+00:00"


async def test_the_cloudevents_sdk_for_python_is_heard_in_structured_mode(broker_url: str) -> None:
    async with listening_hub(broker_url) as handler:
        await run("python", STRUCTURED, broker_url, DATA=DATA)
        await eventually(lambda: len(handler.seen) == 1)

    ((event, _),) = handler.seen
    assert (event.id, event.source, event.data) == ("oms-18", "/oms", FAILED.event().data)


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_cloudevents_sdk_for_javascript_is_heard_in_both_modes(
    mode: str, node_js: str, broker_url: str
) -> None:
    async with listening_hub(broker_url) as handler:
        await run("js", JAVASCRIPT, broker_url, DATA=DATA, MODE=mode)
        await eventually(lambda: len(handler.seen) == 1)

    ((event, _),) = handler.seen
    assert (event.id, event.source, event.data) == ("oms-19", "/oms", FAILED.event().data)


async def test_a_mistake_from_a_shell_is_a_letter_that_names_the_field(
    tools: dict[str, str], broker_url: str
) -> None:
    command = """
    amqp-publish -u "$AMQP_URL" -e hub.fulfillment -r inventory.counted -p -C application/json \
      -b '{"items": [{"sku": "NF-CHG-30", "quantity": 4}, {"sku": "NF-CASE-GRA"}]}'
    """

    async with listening_hub(broker_url) as handler:
        await run("sh", command, broker_url, **tools)
        (letter,) = await dead_letters(broker_url)

    assert handler.seen == []
    assert letter.headers["x-hub-reason"] == "data.items.1.quantity: Field required"
    assert b'"NF-CASE-GRA"' in letter.body


async def test_a_key_that_nobody_hears_is_confirmed_and_kept(broker_url: str) -> None:
    async with listening_hub(broker_url) as handler, outsider(broker_url) as channel:
        # Mandatory: it would raise if the message came back.
        await send(channel, "hub.fulfillment", "order.shiped", b"{}")

        async def kept() -> bool:
            return await depth(broker_url, "hub.unroutable") == 1

        await eventually(kept, every=0.1)

    assert handler.seen == []
