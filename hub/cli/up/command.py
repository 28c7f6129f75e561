"""``hub up``: everything that is to be had on this machine, in the foreground, until Ctrl-C.

private broker (unless one is set) - partners of hub.toml, or the sandbox scene - producers and consumers - live view
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from prometheus_client import REGISTRY
from pydantic import SecretStr
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table

from consumers.retailops.cancel_purchase_order import CANCEL_PURCHASE_ORDER
from hub.cli.up.dashboard import Board, console, plain_lines
from hub.cli.up.sandbox_scenario import Scene, sandbox_scene, write_private
from hub.config.settings import Settings, load
from hub.local_broker.node import PrivateNode
from hub.models.settlement import SettlementState
from hub.observability.logging import set_up_logging, tap
from hub.process.lifecycle import Stop, run_long
from hub.service.composition import serve
from hub.service.flows import choose

# Where a private broker and the sandbox keep their files, below the working directory.
DATA = Path("var")
# A demo that has not ended by then has failed.
_DEMO_SECONDS = 115
_REDRAW_SECONDS = 0.25
# Between looks at the private broker.
_MIND_SECONDS = 0.5
# The folder of one run on the sandbox partners ends in its process id.
_SANDBOX = "sandbox-"


def up(
    demo: Annotated[bool, typer.Option(help="End with a summary once every sandbox order is final.")] = False,
    orders: Annotated[int, typer.Option(help="Sandbox orders of a demo.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the sandbox: orders, answers, faults.")] = 1,
    fault_rate: Annotated[
        float, typer.Option(help="Share of sandbox requests that go wrong on purpose.", min=0, max=0.5)
    ] = 0.1,
    data: Annotated[Path, typer.Option(help="Folder of the private broker and the sandbox state.")] = DATA,
) -> None:
    """Start the hub with all it needs and show what happens, until Ctrl-C."""
    settings = load()
    with_partners = bool(choose((), settings).names)
    if demo and with_partners:
        raise typer.BadParameter("a demo runs on the sandbox partners; these settings name real ones")
    play = UpCommand(settings, data, Board(), orders=orders, seed=seed, fault_rate=fault_rate, demo=demo)
    status = run_long(play.to_the_end(with_partners))
    if status:
        raise typer.Exit(status)


@dataclass(slots=True)
class UpCommand:
    """One run of ``hub up``."""

    settings: Settings
    data: Path
    board: Board
    orders: int
    seed: int
    fault_rate: float
    demo: bool
    begun: float = field(default_factory=time.monotonic)

    async def to_the_end(self, with_partners: bool) -> int:
        """Run until stopped or, in a demo, finished; gives the exit status."""
        out = console()
        set_up_logging(quiet=True)
        taps = [tap(self.board.hear)]
        if not out.is_terminal:
            taps.append(tap(plain_lines(lambda line: print(line, flush=True))))
        stop = Stop()
        try:
            with stop.on_signals():
                async with AsyncExitStack() as stack:
                    folder = self.data.resolve()
                    if not with_partners:
                        folder = stack.enter_context(_sandbox_folder(folder))
                    url = await self._broker(stack, stop, folder)
                    if stop.asked:
                        return 130
                    if with_partners:
                        self._tell_how_to_reach(folder, url)
                        broker = self.settings.broker.model_copy(update={"url": SecretStr(url)})
                        return await self._play(
                            self.settings.model_copy(update={"broker": broker}), None, stop
                        )
                    scene = await stack.enter_async_context(
                        sandbox_scene(
                            url,
                            folder,
                            orders=self.orders,
                            seed=self.seed,
                            fault_rate=self.fault_rate,
                            with_retailops=True,
                        )
                    )
                    self._say(f"{command()} --config {_near(folder / 'hub.toml')} letters list")
                    return await self._play(scene.settings, scene, stop)
        finally:
            for end in taps:
                end()

    async def _broker(self, stack: AsyncExitStack, stop: Stop, folder: Path) -> str:
        if self.settings.broker.url is not None:
            return self.settings.broker.url.get_secret_value()
        print("starting a private RabbitMQ …", flush=True)
        node = PrivateNode(folder / "rabbitmq")
        starting = asyncio.ensure_future(node.start())
        stack.push_async_callback(node.stop)
        asking = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, asking}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return ""
        starting.result()
        minding = asyncio.create_task(_mind(node), name="private broker")
        stack.callback(minding.cancel)
        return node.url

    def _tell_how_to_reach(self, folder: Path, url: str) -> None:
        """Say how other commands find a private broker; its address holds a password and is not printed."""
        if self.settings.broker.url is None:
            file = folder / "broker-url"
            write_private(file, url)
            named = os.environ.get("HUB_CONFIG")
            where = f"HUB_CONFIG={shlex.quote(named)} " if named else ""
            self._say(f"{where}HUB_BROKER__URL_FILE={_near(file)} {command()} letters list")

    def _say(self, example: str) -> None:
        """Say how to type other commands beside this process; in a terminal the board shows it as well."""
        self.board.hint = f"other commands: {example}"
        print(self.board.hint, flush=True)

    async def _play(self, settings: Settings, scene: Scene | None, stop: Stop) -> int:
        beside = [asyncio.create_task(self._show(scene, stop), name="live view")]
        if scene is not None:
            beside.append(asyncio.create_task(scene.warehouse.run(), name="warehouse"))
            every = timedelta(seconds=0.15 if self.demo else 1.0)
            beside.append(
                asyncio.create_task(scene.place_orders(every, forever=not self.demo), name="orders")
            )
            await scene.warehouse.listening()
            if self.demo:
                beside.append(asyncio.create_task(self._finish(scene, stop), name="finish"))
        try:
            await serve(settings, choose((), settings), stop, accept_empty_state=scene is not None)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        if stop.by_signal is not None:
            return 130
        return self._summary(scene) if scene is not None else 0

    async def _finish(self, scene: Scene, stop: Stop) -> None:
        while time.monotonic() - self.begun < _DEMO_SECONDS and (scene.unfinished() or self.board.waiting):
            if await stop.sleep(0.2):
                return
        stop()

    async def _show(self, scene: Scene | None, stop: Stop) -> None:
        out = console()
        if not out.is_terminal:
            return
        # On a screen of its own, which a resize does not garble; what it showed last stays behind on the usual one.
        try:
            with Live(console=out, auto_refresh=False, screen=True) as live:
                while True:
                    live.update(self._drawn(scene, stop, out.height), refresh=True)
                    await asyncio.sleep(_REDRAW_SECONDS)
        finally:
            out.print(self._drawn(scene, stop, out.height))

    def _drawn(self, scene: Scene | None, stop: Stop, height: int) -> RenderableType:
        return self.board.render(self._headline(scene, stop), _in_flight(), height=height)

    def _headline(self, scene: Scene | None, stop: Stop) -> str:
        seconds = int(time.monotonic() - self.begun)
        if stop.asked:
            return f"dropship-hub   {seconds} s   stopping, work in flight is being finished …"
        if scene is None:
            return f"dropship-hub   {seconds} s   Ctrl-C stops"
        final = len(scene.iqmetrix.orders) - len(scene.iqmetrix.unfinished())
        placed = len(scene.iqmetrix.orders)
        return f"dropship-hub, sandbox partners   {seconds} s   orders {placed}, final {final}   Ctrl-C stops"

    def _summary(self, scene: Scene) -> int:
        missing, faults = scene.unfinished(), scene.faults_found()
        table = Table(title="what became of it", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("", justify="right")
        for label, value in self._results(scene).items():
            table.add_row(label, str(value))
        console().print(table)
        for line in (*missing, *faults):
            print(f"NOT RIGHT  {line}")
        return 1 if missing or faults else 0

    def _for_a_person(self) -> int:
        return self.board.settled.get(CANCEL_PURCHASE_ORDER.queue, Counter())[SettlementState.DEAD]

    def _results(self, scene: Scene) -> Mapping[str, Any]:
        received = {
            f"webhooks delivered to {receiver.name}": len({item.body for item in receiver.received})
            for receiver in scene.receivers
        }
        return {
            "orders in the feed": len(scene.iqmetrix.orders),
            "orders final at iQmetrix": len(scene.iqmetrix.orders) - len(scene.iqmetrix.unfinished()),
            **_purchase_orders(scene),
            "events published": sum(self.board.published.values()),
            "duplicates dropped": self.board.duplicates,
            "entries set aside": self.board.set_aside,
            **received,
            "faults injected": _injected(scene),
            "attempts retried": self.board.count(SettlementState.WAITING),
            "cancellations for a person (RetailOps has no call)": self._for_a_person(),
            "other dead letters": self.board.count(SettlementState.DEAD) - self._for_a_person(),
            "effects done twice, statuses gone backward": len(scene.faults_found()),
            "seconds": round(time.monotonic() - self.begun, 1),
        }


async def _mind(node: PrivateNode) -> None:
    """Bring a private broker back that has died; the hub finds it again by itself."""
    while True:
        await asyncio.sleep(_MIND_SECONDS)
        if node.has_died:
            print("the private RabbitMQ has died; starting it again …", flush=True)
            await node.restart(grace=0)


def command() -> str:
    """Return how this program is typed here: its name where the shell finds it, else its path."""
    typed = Path(sys.argv[0])
    found = shutil.which(typed.name)
    if typed.name != "hub":
        return f"{_near(Path(sys.executable))} -m hub"
    return typed.name if found and Path(found).resolve() == typed.resolve() else str(_near(typed.absolute()))


def _near(file: Path) -> Path:
    """Return a path as short as it can be typed here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


@contextmanager
def _sandbox_folder(data: Path) -> Iterator[Path]:
    """Yield a folder for one run: the sandbox partners forget at its end, so what the hub knew of them is of no use.

    Folders of runs that were killed are removed as well.
    """
    for left in data.glob(f"{_SANDBOX}*"):
        if not Path(f"/proc/{left.name.removeprefix(_SANDBOX)}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = data / f"{_SANDBOX}{os.getpid()}"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _purchase_orders(scene: Scene) -> Mapping[str, int]:
    if scene.retailops is None:
        return {}
    placed, left = len(scene.retailops.orders), len(scene.retailops.unfinished())
    return {"purchase orders at RetailOps": placed, "purchase orders complete": placed - left}


def _injected(scene: Scene) -> int:
    faults = (scene.iqmetrix.faults, *(receiver.faults for receiver in scene.receivers))
    return sum(len(each.injected) for each in faults)


def _in_flight() -> int:
    return int(
        sum(
            sample.value
            for family in REGISTRY.collect()
            if family.name == "hub_in_flight"
            for sample in family.samples
        )
    )
