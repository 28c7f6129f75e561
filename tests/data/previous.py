"""What the previous release left behind, put back where a test wants it."""

import base64
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import aio_pika
import orjson

HERE = Path(__file__).parent / "previous"


def put_store(folder: Path) -> Path:
    """Copy the state store into a folder, and return the file."""
    return Path(shutil.copy(HERE / "hub.db", folder / "hub.db"))


def messages() -> list[dict[str, Any]]:
    """Return the messages in the order in which they were taken."""
    found: list[dict[str, Any]] = orjson.loads((HERE / "messages.json").read_bytes())
    return found


async def put_messages(broker_url: str) -> None:
    """Declare what the previous release had declared, let its waiting copies come back, and put its letters into their queues."""
    definitions = orjson.loads((HERE / "definitions.json").read_bytes())
    connection = await aio_pika.connect(broker_url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        for exchange in definitions["exchanges"]:
            await channel.declare_exchange(
                exchange["name"], exchange["type"], durable=True, arguments=exchange["arguments"]
            )
        for queue in definitions["queues"]:
            await channel.declare_queue(queue["name"], durable=True, arguments=queue["arguments"])
        for binding in definitions["bindings"]:
            target = await channel.get_queue(binding["destination"], ensure=False)
            await target.bind(binding["source"], binding["routing_key"])
        sent = set()
        for message in messages():
            way = _way(message)
            if way not in sent:
                sent.add(way)
                await _publish(channel, message, way[0], way[1])


def _way(message: dict[str, Any]) -> tuple[str, str, str]:
    """Return by which exchange and routing key a message comes to its queue, and its id: one goes to several queues at once."""
    queue, exchange, message_id = message["queue"], message["exchange"], message["properties"]["message_id"]
    if queue.startswith("hub.wait."):
        exchange = "hub.requeue"
    return exchange, message["routing_key"], message_id


async def _publish(
    channel: aio_pika.abc.AbstractChannel, message: dict[str, Any], exchange: str, routing_key: str
) -> None:
    properties = {name: _value(value) for name, value in message["properties"].items()}
    headers = {name: _value(value) for name, value in message["headers"].items()}
    body = base64.b64decode(message["body"])
    copy = aio_pika.Message(
        body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, headers=headers, **properties
    )
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(copy, routing_key)


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "@time" in value:
        return datetime.fromisoformat(value["@time"])
    if isinstance(value, dict) and "@bytes" in value:
        return base64.b64decode(value["@bytes"])
    return value
