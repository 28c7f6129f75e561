"""Several schedules at a time on one private broker: each lane has a virtual host that its schedules use in turn."""

import asyncio
import traceback
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.request import ProxyHandler, Request, build_opener

from hub.local_broker.node import PrivateNode
from tests.faults.checker import Observed, judge
from tests.faults.nursery import Nursery
from tests.faults.points import Plan, plan
from tests.faults.schedule import Result, play

_WARM_UP = Plan(-1, (), orders=2, purchase_orders=1, refusals=0)
PLUGINS = ("rabbitmq_management",)


@dataclass(eq=False)
class Lane:
    """One virtual host; a schedule that failed may leave anything in it, so the next one gets a new one."""

    node: PrivateNode
    nursery: Nursery
    vhost: str = ""

    async def play(self, plan: Plan) -> Result:
        if not self.vhost:
            self.vhost = f"lane-{uuid.uuid4().hex[:8]}"
            await asyncio.to_thread(_make_vhost, self.node, self.vhost)
            # Declaring all queues takes a new virtual host seconds: that is no recovery.
            await self._play(_WARM_UP)
        return await self._play(plan)

    async def _play(self, plan: Plan) -> Result:
        try:
            return await play(plan, node=self.node, url=self.node.vhost_url(self.vhost), nursery=self.nursery)
        except Exception:
            # The harness itself failed: told like a failed schedule, so that the others go on.
            seen = Observed(placed=0, ended_alone=traceback.format_exc(limit=-6))
            return Result(plan, judge(seen), [], 0.0)

    async def close(self) -> None:
        if self.vhost:
            await asyncio.to_thread(_ask, self.node, "DELETE", f"/api/vhosts/{self.vhost}")
            self.vhost = ""


@asynccontextmanager
async def lanes(node: PrivateNode, count: int) -> AsyncIterator[list[Lane]]:
    """Open so many lanes on a running node."""
    with _nursery() as nursery:
        opened = [Lane(node, nursery) for _ in range(count)]
        try:
            yield opened
        finally:
            for lane in opened:
                await lane.close()


@contextmanager
def _nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


async def play_all(
    seeds: Iterable[int], opened: Sequence[Lane], told: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Play schedules on all lanes; those that take the whole broker come last, one at a time."""
    plans = [plan(seed) for seed in seeds]
    waiting = [item for item in plans if not item.alone][::-1]
    results: list[Result] = []

    async def work(lane: Lane, queue: list[Plan]) -> None:
        while queue:
            result = await lane.play(queue.pop())
            results.append(result)
            told(result)
            if result.verdict.faults:
                # After it was told: a broker that is gone cannot be asked for this either.
                await lane.close()

    await asyncio.gather(*(work(lane, waiting) for lane in opened))
    await work(opened[0], [item for item in plans if item.alone][::-1])
    return results


def _make_vhost(node: PrivateNode, name: str) -> None:
    _ask(node, "PUT", f"/api/vhosts/{name}")
    rights = b'{"configure": ".*", "write": ".*", "read": ".*"}'
    _ask(node, "PUT", f"/api/permissions/{name}/{node.user}", rights)


def _ask(node: PrivateNode, method: str, path: str, body: bytes = b"{}") -> None:
    login = b64encode(f"{node.user}:{node.password}".encode()).decode()
    request = Request(
        f"{node.management_url}{path}",
        data=body if method == "PUT" else None,
        method=method,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    with build_opener(ProxyHandler({})).open(request, timeout=30):
        pass
