"""A message that ends the process that handles it is found, and its neighbors are delivered."""

import asyncio
import sys
from pathlib import Path

import orjson

from hub.amqp.receiving.custody import MOST_CRASHES
from tests.broker.crashing import POISON
from tests.broker.rig import ORDER_ID, QUEUE, depth, letters, outsider, running, send

ACCEPTED = orjson.dumps({"order_id": ORDER_ID})


async def test_a_message_that_ends_its_process_is_set_aside_and_its_neighbors_are_delivered(
    broker_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "handled"
    async with running(broker_url, None), outsider(broker_url) as channel:
        for number in range(20):
            id_ = POISON if number == 7 else f"m-{number}"
            await send(channel, "hub.fulfillment", "order.accepted", ACCEPTED, message_id=id_)

    crashes = 0
    while True:
        command = (sys.executable, "-m", "tests.broker.crashing", broker_url)
        process = await asyncio.create_subprocess_exec(
            *command, f"sqlite:///{tmp_path / 'state.db'}", str(log), stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() == 0:
            break
        crashes += 1
        assert crashes < 10, "it crashes for ever"

    # The first delivery of all is noted nowhere.
    assert crashes == MOST_CRASHES + 1
    (letter,) = await letters(broker_url, QUEUE.dead)
    assert letter.message_id == POISON
    assert f"{MOST_CRASHES} processes ended with this message in hand" in str(letter.headers["x-hub-reason"])
    assert set(log.read_text().split()) == {f"m-{number}" for number in range(20) if number != 7}
    assert await depth(broker_url, QUEUE.queue) == 0
