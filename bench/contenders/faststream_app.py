"""The same with FastStream: a subscriber with a typed parameter, acked when it returns.

python -m bench.contenders.faststream_app
"""

import asyncio

import aiohttp
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from pydantic import BaseModel

from bench.contenders import delivering
from hub.models.fulfillment_events import UnitDispositionChanged


class CloudEvent(BaseModel):
    """The envelope, as far as it matters here."""

    id: str
    type: str
    data: UnitDispositionChanged


async def main() -> None:
    """Deliver until the process is ended."""
    broker = RabbitBroker(
        delivering.BROKER, default_channel=Channel(prefetch_count=delivering.PREFETCH), logger=None
    )
    queue = RabbitQueue(delivering.QUEUE, queue_type=QueueType.QUORUM, durable=True)
    connector = aiohttp.TCPConnector(limit=delivering.CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers=delivering.HEADERS) as session:

        async def deliver(event: CloudEvent) -> None:
            async with session.post(delivering.RECEIVER, data=delivering.body_of(event.data)) as answer:
                await answer.read()
                answer.raise_for_status()

        broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)(deliver)
        await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
