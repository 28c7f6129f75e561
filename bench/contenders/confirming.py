"""A bare aio-pika confirm loop: publishes bodies that lie ready, persistent and mandatory, each with its confirm.

    python -m bench.contenders.confirming FILE     publishes the lines of the file to the exchange BENCH_EXCHANGE with the
                                                   routing key BENCH_KEY at BENCH_BROKER

Each number on standard input is a turn, and says how many publishes go before their confirms are waited for: 1 is the
loop of aio-pika's own documentation, ``await exchange.publish(...)``. It is answered with the events, the seconds from
the first confirm to the last, and the processor seconds meanwhile. It ends with its input.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractExchange

_KEY = os.environ["BENCH_KEY"]
_CONTENT_TYPE = "application/cloudevents+json"


async def main(bodies: Sequence[bytes]) -> None:
    """Take turns until the input ends."""
    connection = await aio_pika.connect(os.environ["BENCH_BROKER"])
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(os.environ["BENCH_EXCHANGE"], ensure=False)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await turn(exchange, bodies, int(line))), flush=True)


async def turn(exchange: AbstractExchange, bodies: Sequence[bytes], at_once: int) -> dict[str, float]:
    """Publish all; what is counted begins with the first confirm, as it does for the hub."""
    await publish(exchange, bodies[0])
    begun, used = time.perf_counter(), time.process_time()
    if at_once == 1:
        for body in bodies[1:]:
            await publish(exchange, body)
    else:
        for first in range(1, len(bodies), at_once):
            await asyncio.gather(*(publish(exchange, body) for body in bodies[first : first + at_once]))
    return {
        "events": len(bodies) - 1,
        "seconds": time.perf_counter() - begun,
        "processor": time.process_time() - used,
    }


async def publish(exchange: AbstractExchange, body: bytes) -> None:
    """Publish one body; returns with its confirm."""
    message = aio_pika.Message(
        body, content_type=_CONTENT_TYPE, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )
    await exchange.publish(message, _KEY, mandatory=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes().splitlines()))
