"""The examples of the documents are what the tests publish: each is heard, in each encoding, as what it shows."""

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
from aio_pika.abc import AbstractIncomingMessage
from jsonschema import Draft202012Validator

from hub.amqp.sending.properties import fetched, to_send
from hub.contract.asyncapi import encodings, example_message
from hub.contract.examples import EXAMPLES
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.outcome import Done
from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS
from tests.broker.rig import Handler, outsider, running
from tests.contract.rig import EVERYTHING, dead_letters, listening_hub
from tests.eventually import eventually

SCHEMAS = Path(__file__).parents[2] / "schemas"


async def test_the_hub_hears_every_example_in_every_encoding(broker_url: str) -> None:
    reported = [each for each in EXAMPLES if EVENT_TYPES[each.type].exchange == FULFILLMENT]
    sent = [(each, encoding) for each in reported for encoding in encodings(EVENT_TYPES[each.type])]

    async with listening_hub(broker_url) as handler, outsider(broker_url) as channel:
        exchange = await channel.get_exchange(FULFILLMENT, ensure=False)
        for example, encoding in sent:
            message = example_message(example, encoding)
            await exchange.publish(to_send(message), message.routing_key)
        await eventually(lambda: len(handler.seen) >= len(sent))

    assert len(sent) == 3 * len(reported)
    heard = [event for event, _ in handler.seen]
    for example in reported:
        same = [event for event in heard if event.id == f"example:{example.name}"]
        assert [event.data for event in same] == [example.event().data] * 3
        assert {event.type for event in same} == {example.type}
        # A plain message cannot say who it is from; the two others say it.
        assert sorted(event.source for event in same) == ["/amqp", "/warehouse", "/warehouse"]


async def test_a_subscriber_gets_every_example_as_the_schema_promises(broker_url: str) -> None:
    told = [each for each in EXAMPLES if EVENT_TYPES[each.type].exchange == ORDERS]
    got: list[AbstractIncomingMessage] = []

    async with (
        running(broker_url, Handler(always=Done()), queue=EVERYTHING) as rig,
        outsider(broker_url) as channel,
    ):
        queue = await channel.declare_queue("svc.test", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(ORDERS, "#")
        for example in told:
            await rig.publisher.publish(example.event())
        async with asyncio.timeout(30), queue.iterator(no_ack=True) as messages:
            async for message in messages:
                got.append(message)
                if len(got) == len(told):
                    break

    for example, message in zip(told, got, strict=True):
        published = json.loads((SCHEMAS / "cloudevents" / f"{example.type}.json").read_bytes())
        Draft202012Validator(published).validate(orjson.loads(message.body))
        assert cloudevents.decode(fetched(message, "svc.test")) == example.event()
        source = example.data["order_id"].split(":")[0]
        assert message.routing_key == f"{example.type}.{source}"
        assert (message.content_type, message.type) == ("application/cloudevents+json", example.type)
        assert message.message_id == f"example:{example.name}"


async def test_one_bad_field_in_each_type_is_a_letter_that_names_it(broker_url: str) -> None:
    bad: dict[str, dict[str, Any]] = {
        "order.shipped": {"packages": [{"tracking_number": "1Z"}]},
        "order.failed": {"status": "Broken"},
        "inventory.counted": {"items": [{"sku": "NF-CHG-30", "quantity": "many"}]},
        "unit.disposition_changed": {"from_condition": "perfect"},
    }
    paths = {
        "order.shipped": "data.packages.0.carrier: ",
        "order.failed": "data.status: ",
        "inventory.counted": "data.items.0.quantity: ",
        "unit.disposition_changed": "data.from_condition: ",
    }
    first = {example.type: example for example in reversed(EXAMPLES)}

    async with listening_hub(broker_url) as handler, outsider(broker_url) as channel:
        exchange = await channel.get_exchange(FULFILLMENT, ensure=False)
        for name, fault in bad.items():
            body = orjson.dumps({**first[name].data, **fault})
            await exchange.publish(to_send(Message(body, message_id=name)), name)
        found = await dead_letters(broker_url, len(bad))

    assert handler.seen == []
    assert {str(letter.message_id) for letter in found} == set(bad)
    for letter in found:
        assert str(letter.headers["x-hub-reason"]).startswith(paths[str(letter.message_id)])
