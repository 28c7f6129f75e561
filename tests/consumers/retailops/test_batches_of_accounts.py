"""What several vendor accounts share a queue for: none of them waits for another, or for another's settings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from consumers import CONSUMERS
from hub.config.settings import Retailops, Settings
from hub.messaging.dispatch import Route
from hub.messaging.handler import Handler
from hub.messaging.outcome import Done, Outcome
from hub.models.events import AnyEvent
from hub.process.lifecycle import Resources
from tests.consumers.purchase_orders import RetailopsDouble, context, created
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import settings


@dataclass
class Scene:
    """The submissions of accounts 27 and 28 as they are wired, at doubles of the partner."""

    accounts: tuple[Retailops, ...]
    store: MemoryStore = field(default_factory=MemoryStore)
    clients: dict[str, RetailopsDouble] = field(default_factory=dict)

    def route(self) -> Route:
        resources = Resources(Settings(retailops=self.accounts), self.store, "host:1:start")
        for account in self.accounts:
            double: Callable[[], Any] = partial(RetailopsDouble, account)
            self.clients[account.account] = resources.shared(("retailops", account.account), double)
        flow = next(flow for flow in CONSUMERS if flow.name == "submit_purchase_orders")
        (queue,) = flow.queues(resources.settings)
        return flow.route(queue, resources)

    async def hear(self, handler: Handler[AnyEvent], *pos: str, vendor: str) -> list[Outcome | BaseException]:
        events = [created(po, vendor=vendor) for po in pos]
        await self.store.record_orders(events)
        return await asyncio.gather(
            *(handler(event, context(event)) for event in events), return_exceptions=True
        )


def scene_of(ours: dict[str, Any], other: dict[str, Any]) -> tuple[Scene, Route, Handler[AnyEvent]]:
    scene = Scene((settings(vendor_id="27", **ours), settings(vendor_id="28", **other)))
    route = scene.route()
    assert route.handler is not None
    return scene, route, route.handler


SOON = {"batch_within": timedelta(milliseconds=1)}


async def test_marks_of_one_account_settle_while_another_hangs() -> None:
    scene, _, handler = scene_of(SOON, SOON)
    scene.clients["27"].open.clear()
    hanging = asyncio.create_task(scene.hear(handler, "D1", "D2", vendor="27"))
    both = asyncio.create_task(scene.hear(handler, "D3", vendor="28"))

    await eventually(both.done)

    assert both.result() == [Done("marked")]
    assert not hanging.done()
    scene.clients["27"].open.set()
    assert await hanging == [Done("marked"), Done("marked")]


async def test_a_small_batch_size_of_one_account_does_not_cut_the_batches_of_another() -> None:
    scene, route, handler = scene_of(
        SOON | {"batch_size": 2}, {"batch_size": 500, "batch_within": timedelta(seconds=30)}
    )

    await asyncio.gather(
        scene.hear(handler, *(f"D{number}" for number in range(6)), vendor="27"),
        scene.hear(handler, *(f"D{number}" for number in range(500)), vendor="28"),
    )

    assert [len(pos) for pos in scene.clients["27"].batches] == [2, 2, 2]
    assert [len(pos) for pos in scene.clients["28"].batches] == [500]
    assert route.at_once == 2 * (2 + 500)


async def test_an_order_of_no_configured_account_is_rejected_at_once() -> None:
    scene, _, handler = scene_of({}, {})

    (outcome,) = await scene.hear(handler, "D1", vendor="99")

    assert "expected an order of a configured retailops account" in str(outcome)
