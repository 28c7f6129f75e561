"""A hub in small whose handler ends the process over one message: run as `python -m tests.broker.crashing URL STATE LOG`.

Each handled message is a line of the log. The process ends by itself once the queue is empty.
"""

import asyncio
import os
import sys
from pathlib import Path

from hub.amqp.receiving.custody import Custody
from hub.messaging.handler import Context
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent
from hub.state.process_identity import this_process
from hub.state.store import open_store
from tests.broker.rig import QUEUE, depth, running
from tests.eventually import eventually

POISON = "poison"


async def main(url: str, state: str, log: Path) -> None:
    store = await open_store(state)

    async def handle(event: AnyEvent, context: Context, /) -> Outcome:
        if event.id == POISON:
            # The others are in hand by now, and cannot be settled first.
            await asyncio.sleep(0)
            os._exit(1)
        with log.open("a") as file:
            file.write(f"{event.id}\n")
        return Done()

    async with running(url, handle, custody=Custody(store, this_process())) as rig:

        async def settled() -> bool:
            return rig.consumer.in_flight() == 0 and await depth(url, QUEUE.queue) == 0

        await eventually(settled)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
