"""Acks on a real broker: what ended is acked and nothing else, whatever the width, a stop or a fault of ours."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest

from hub.messaging.outcome import Done, Outcome
from hub.state.protocols import TimelineEntry
from tests.broker.rig import ORDER_ID, QUEUE, Handler, depth, outsider, running, send
from tests.eventually import eventually


async def _send(url: str, number: int) -> None:
    async with outsider(url) as channel:
        for name in range(number):
            await send(
                channel,
                "hub.fulfillment",
                "order.accepted",
                orjson.dumps({"order_id": ORDER_ID}),
                message_id=f"m-{name}",
            )


class Gates:
    """A handler each of whose deliveries ends when it is let."""

    def __init__(self) -> None:
        self.at_work: dict[str, asyncio.Event] = {}
        self.ended: list[str] = []

    async def __call__(self, event: Any, context: Any, /) -> Outcome:
        gate = self.at_work[event.id] = asyncio.Event()
        await gate.wait()
        self.ended.append(event.id)
        return Done()

    def let(self, *names: str) -> None:
        for name in names:
            self.at_work.pop(name).set()


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_at_work_while_the_width_changes_comes_again_and_nothing_else(
    broker_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    gates = Gates()

    async with running(broker_url, gates) as rig:
        await _send(broker_url, 150)
        for _ in range(40):
            await rig.supervisor.narrow(QUEUE.queue, chance.choice([0, 1, 3, 10, None]))
            gates.let(*chance.sample(list(gates.at_work), chance.randint(0, len(gates.at_work) // 2)))
        await rig.supervisor.narrow(QUEUE.queue, None)
        await eventually(lambda: len(gates.at_work) >= 20 or len(gates.ended) > 120)

    assert len(gates.ended) == len(set(gates.ended))
    assert await depth(broker_url, QUEUE.queue) == 150 - len(gates.ended) > 0


@pytest.mark.parametrize("seed", range(3))
async def test_what_ends_while_a_process_stops_is_acked(broker_url: str, seed: int) -> None:
    chance = random.Random(seed)
    gate = asyncio.Event()
    seen = 0

    async def end_a_few_turns_later(event: Any, context: Any, /) -> Outcome:
        nonlocal seen
        seen += 1
        await gate.wait()
        for _ in range(chance.randint(0, 12)):
            await asyncio.sleep(0)
        return Done()

    async with running(broker_url, end_a_few_turns_later) as rig:
        await _send(broker_url, 20)
        await eventually(lambda: seen == 20)
        await rig.supervisor.stop_consuming()
        gate.set()

    assert await depth(broker_url, QUEUE.queue) == 0


async def test_a_fault_after_the_ack_neither_hands_the_delivery_back_nor_ends_the_session(
    broker_url: str,
) -> None:
    handler = Handler()

    def fail(entry: TimelineEntry) -> None:
        if entry.facts["message_id"] == "m-0":
            raise KeyError("a bug")

    async with running(broker_url, handler, on_settled=fail) as rig:
        before = rig.supervisor.last_error
        await _send(broker_url, 3)
        await eventually(lambda: len(handler.seen) == 3)

    assert handler.ids == ["m-0", "m-1", "m-2"]
    assert rig.supervisor.last_error == before
    assert await depth(broker_url, QUEUE.queue) == 0
