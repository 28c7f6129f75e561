"""Play one schedule: orders and faults in, faults off, everything in its final state, then the judgment."""

import asyncio
import random
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.cli.up.sandbox_scenario import Scene
from hub.errors import HubError
from hub.local_broker.node import PrivateNode
from hub.service.flows import topology_of
from hub.topology import Topology
from tests.faults.checker import Observed, Verdict, judge
from tests.faults.desk import Desk, depths, on_the_work_list
from tests.faults.hub import Hub
from tests.faults.nursery import Nursery
from tests.faults.points import AT_THE_POINT, Fault, Kind, Plan, Script
from tests.faults.proxy import AmqpProxy
from tests.faults.proxy import Verdict as Fate
from tests.faults.recovery import Met, late, measure
from tests.faults.stage import (
    broker_table,
    effects_of,
    regressions_of,
    settings_of,
    staged,
    violations_of,
)
from tests.faults.world import World
from tests.flows.rig import completed_with_less

# A schedule that needs longer is stuck, and has lost what it did not finish. Longer than the longest claim lasts (two
# calls of a second and a margin of 30 s): one that could not be given back is waited out.
_DEADLINE_SECONDS = 45.0
_LOOK_SECONDS = 0.1
# What is on its way when all is final (copies, duplicates) has ended by then.
_QUIET_SECONDS = 20.0
# Looking for letters asks about every queue, which is work for the broker.
_LETTERS_SECONDS = 1.0
_FATES = {
    Kind.error_before: Fate.CUT_BEFORE,
    Kind.error_after: Fate.CUT_AFTER,
    Kind.timeout_after: Fate.HOLD_AFTER,
    Kind.crash_before: Fate.CUT_BEFORE,
    Kind.crash_after: Fate.TELL_AFTER,
}


@dataclass(slots=True)
class Result:
    """What came of one schedule."""

    plan: Plan
    verdict: Verdict
    met: list[Met]
    seconds: float
    letters: int = 0
    late: tuple[str, ...] = ()
    log: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """Every broken promise."""
        return (*self.verdict.faults, *self.late)

    @property
    def slowest(self) -> float | None:
        """The longest time to consume again, in seconds."""
        return max((met.recovered for met in self.met if met.recovered is not None), default=None)


@dataclass(eq=False)
class Player:
    """Plays one schedule on a virtual host that no other one uses meanwhile."""

    plan: Plan
    node: PrivateNode
    url: str
    nursery: Nursery
    folder: Path
    met: list[Met] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _letters: int = 0

    async def play(self) -> Result:
        begun = time.monotonic()
        faults = self.plan.faults
        self._script = Script([fault for fault in faults if not fault.point.startswith("store.")])
        async with AsyncExitStack() as stack:
            self._proxy = await stack.enter_async_context(
                AmqpProxy(self.node.port, self._fate, after=self._passed, hold_seconds=1.3).running()
            )
            scene = await stack.enter_async_context(
                staged(
                    self.plan,
                    self.folder,
                    broker_url=self.url,
                    passing=self._at_a_partner,
                    kill=self._kill,
                )
            )
            self._hub = self._make_hub(scene, [fault for fault in faults if fault.point.startswith("store.")])
            stack.callback(self._hub.close)
            topology = topology_of(scene.settings)
            self._world = self._make_world(topology)
            through = self.url.replace(f":{self.node.port}/", f":{self._proxy.port}/")
            desk = Desk(self.url, through, topology, scene.settings.state.url)
            stuck = await self._until_done(scene, desk)
            left = await self._quiet(desk, topology)
            missing = [*stuck, *scene.unfinished()] or await self._not_on_the_work_list(scene)
            seen = Observed(
                placed=self.plan.orders + self.plan.purchase_orders,
                missing=missing,
                effects=effects_of(scene),
                kills=tuple(self._hub.killed_at),
                regressions=regressions_of(scene),
                violations=violations_of(scene),
                left=left,
                ended_alone=self._hub.ended_alone,
            )
            verdict = judge(seen)
            measure(self.met, self._hub.said)
            seconds = time.monotonic() - begun
            result = Result(self.plan, verdict, self.met, seconds, self._letters, late(self.met))
            if result.faults:
                result.log = tuple(self._hub.lines)
            return result

    def _make_hub(self, scene: Scene, store_faults: list[Fault]) -> Hub:
        assert scene.retailops is not None
        acme, northwind = scene.receivers
        values = settings_of(self.folder, scene.iqmetrix, acme, northwind, scene.retailops)
        through = self.url.replace(f":{self.node.port}/", f":{self._proxy.port}/")
        values["broker"] = broker_table(through)
        return Hub(self.nursery, values, self.folder, store_faults, met=self._met_inside)

    def _make_world(self, topology: Topology) -> World:
        # A hub at work may have a message in a queue of a consumer at any moment; in these there is none.
        spare = [
            work.dead for work in topology.work_queues if not work.queue.endswith("cancel-purchase-order")
        ]
        spare += [work.queue for work in topology.work_queues if work.name in ("orders", "purchase_orders")]
        return World(
            self.node,
            self.url,
            self._proxy,
            self._hub,
            self.folder / "hub.db",
            spare,
            random.Random(f"world {self.plan.seed}"),
        )

    # --- faults

    def _fate(self, point: str) -> Fate:
        fault = self._script.passing(point)
        if fault is None:
            return Fate.PASS
        if fault.kind not in AT_THE_POINT:
            self._begin(fault)
            return Fate.PASS
        met = self._note(fault)
        if fault.kind is Kind.crash_before:
            self._hub.kill()
        if fault.kind is Kind.timeout_after:
            met.over = met.begun + 1.3
        return _FATES[fault.kind]

    def _passed(self, _: str) -> None:
        self._hub.kill()

    def _at_a_partner(self, point: str) -> Fault | None:
        fault = self._script.passing(point)
        if fault is not None and fault.kind not in AT_THE_POINT:
            self._begin(fault)
            return None
        if fault is not None:
            self._note(fault)
        return fault

    def _met_inside(self, fault: Fault) -> None:
        if fault.kind in AT_THE_POINT:
            self._note(fault)
        else:
            self._begin(fault)

    def _kill(self, _: Fault) -> None:
        self._hub.kill()

    def _note(self, fault: Fault) -> Met:
        met = Met(fault, time.monotonic())
        met.over = met.begun
        self.met.append(met)
        return met

    def _begin(self, fault: Fault) -> None:
        met = self._note(fault)
        met.over = None

        async def suffer() -> None:
            await self._world.suffer(fault)
            met.over = time.monotonic()

        task = asyncio.create_task(suffer())
        self._tasks.add(task)

    @property
    def _at_rest(self) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()
        return all(task.done() for task in self._tasks)

    # --- the course

    async def _until_done(self, scene: Scene, desk: Desk) -> list[str]:
        """Place the orders, and wait until all is final; gives what is not after the deadline."""
        assert scene.retailops is not None
        half = self.plan.orders // 2
        scene.iqmetrix.add_orders(half)
        scene.retailops.add_order()
        self._hub.start()
        deadline = time.monotonic() + _DEADLINE_SECONDS * (2 if self.plan.alone else 1)
        await self._hub.ready_or_ended(deadline - time.monotonic())
        order = scene.iqmetrix.add_orders(self.plan.orders - half)[0]
        scene.iqmetrix.add_duplicate(order.order_id)
        scene.placed = self.plan.orders
        scene.retailops.add_orders(self.plan.purchase_orders - 1)
        look_for_letters = time.monotonic() + _LETTERS_SECONDS
        while scene.unfinished() or not self._at_rest:
            if self._hub.ended_alone:
                return []
            if time.monotonic() > deadline:
                return [f"nothing more within {_DEADLINE_SECONDS:g} s"]
            if time.monotonic() > look_for_letters:
                look_for_letters = time.monotonic() + _LETTERS_SECONDS
                if await self._replay(desk):
                    scene.receivers[0].relent()
            await asyncio.sleep(_LOOK_SECONDS)
        return []

    async def _replay(self, desk: Desk) -> int:
        try:
            replayed = await desk.replay_letters()
        except (HubError, *desk.lost):
            return 0
        self._letters += replayed
        return replayed

    async def _quiet(self, desk: Desk, topology: Topology) -> dict[str, int]:
        """Let the hub finish what is on its way, stop it, and give what lies where nothing should."""
        self._script.end()
        deadline = time.monotonic() + _QUIET_SECONDS
        while True:
            await self._drained(desk, topology, deadline)
            if self._hub.ended_alone:
                return {}
            await self._hub.stop()
            left = await depths(self.url, topology)
            if not left or time.monotonic() > deadline:
                return left
            # It was in the hub's hands when the queues were looked at, and is back: the hub has to go on.
            self._hub.resume()

    async def _drained(self, desk: Desk, topology: Topology, deadline: float) -> None:
        """Wait until no message lies ready in any queue."""
        while time.monotonic() < deadline and not self._hub.ended_alone:
            try:
                if not await depths(self.url, topology):
                    return
            except (HubError, *desk.lost):
                # The broker is not back yet.
                pass
            await self._replay(desk)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _not_on_the_work_list(self, scene: Scene) -> list[str]:
        """Cancellations of purchase orders are a person's work: each has to lie there, and nothing else."""
        assert scene.retailops is not None
        listed, expected = await on_the_work_list(self.url), completed_with_less(scene.retailops)
        if listed == expected:
            return []
        return [f"cancellations for a person: expected {sorted(expected)}, got {sorted(listed)}"]


async def play(plan: Plan, *, node: PrivateNode, url: str, nursery: Nursery) -> Result:
    """Play a schedule on a virtual host of its own for the time being, with a state store of its own."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        return await Player(plan, node, url, nursery, folder).play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(result: Result) -> str:
    """Say what went wrong, with the plan and how to repeat it."""
    lines: list[Any] = [f"make faults SEED={result.plan.seed}", result.plan, *result.faults]
    lines += [f"met: {met.fault}" for met in result.met]
    return "\n  ".join(map(str, lines))
