"""The least that delivers webhooks: aio-pika, aiohttp and nothing else. It keeps no records and retries nothing.

python -m bench.contenders.bare
"""

import asyncio

import aio_pika
import aiohttp
import orjson
from aio_pika.abc import AbstractIncomingMessage

from bench.contenders import delivering


async def main() -> None:
    """Deliver until the process is ended."""
    connection = await aio_pika.connect(delivering.BROKER)
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=delivering.PREFETCH)
    queue = await channel.get_queue(delivering.QUEUE, ensure=False)
    connector = aiohttp.TCPConnector(limit=delivering.CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers=delivering.HEADERS) as session:

        async def deliver(message: AbstractIncomingMessage) -> None:
            body = delivering.body_of(delivering.validated(orjson.loads(message.body)))
            async with session.post(delivering.RECEIVER, data=body) as answer:
                await answer.read()
                answer.raise_for_status()
            await message.ack()

        await queue.consume(deliver)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
