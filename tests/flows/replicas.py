"""Several hub processes on one PostgreSQL and one broker, each as on a host of its own where the rights are there."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from tests.flows.rig import HubProcess, Stage
from tests.ports import free_port

# Longer together than what a dead replica holds: a PO is completed after it was marked, which may wait that long.
WAITS = '["200ms", "1s", "3s", "6s", "12s"]'
OF_ITS_OWN = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")


@cache
def on_hosts_of_their_own() -> bool:
    """Whether replicas can be kept from seeing each other's processes here."""
    try:
        return subprocess.run([*OF_ITS_OWN, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Replica(HubProcess):
    """A hub process that sees no other, as far as that can be had."""

    def start(self) -> None:
        apart = OF_ITS_OWN if on_hosts_of_their_own() else ()
        with (self.folder / "hub.log").open("ab") as log:
            self.child = subprocess.Popen(
                [*apart, sys.executable, "-m", "hub", "run"],
                env=os.environ | self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        assert self.child is not None
        inner = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        os.kill(int(inner[0]) if on_hosts_of_their_own() else self.pid, number)
        return self.child.wait(timeout)

    async def polls(self) -> bool:
        """Whether all pollers run here."""
        pollers = (await self.readiness()).get("pollers", {})
        return bool(pollers) and all(standing == "polls" for standing in pollers.values())

    async def stands_by(self) -> bool:
        """Whether it is ready and another replica polls."""
        readiness = await self.readiness()
        return readiness["ready"] and all(
            standing.startswith("standing by: process") for standing in readiness["pollers"].values()
        )


@asynccontextmanager
async def replicas(stage: Stage, count: int, state_url: str) -> AsyncIterator[list[Replica]]:
    """Replicas that are not started yet; their kills are those of the stage's hub."""
    # What `finished` quotes; each replica has a log of its own.
    (stage.hub.folder / "hub.log").touch()
    made = []
    for number in range(count):
        folder = stage.hub.folder / f"replica-{number}"
        folder.mkdir()
        own = {"HUB_STATE__URL": state_url, "HUB_HTTP__PORT": str(free_port()), "HUB_RETRY__WAITS": WAITS}
        made.append(Replica(folder, stage.hub.environ | own, killed_at=stage.hub.killed_at))
    try:
        yield made
    finally:
        for replica in made:
            if replica.child is not None and replica.child.poll() is None:
                replica.child.kill()
                replica.child.wait()
