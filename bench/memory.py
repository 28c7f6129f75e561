"""What the hub weighs when it has nothing to do: all flows, and no order (`bench.catch_up` weighs it at work).

    python -m bench.memory        ends with 1 when the limit is missed, within a minute

It is the resident set of a ``hub run`` as the kernel counts it.
"""

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.processes import exit_status, hub, hub_environment, printed, running
from bench.rows import megabytes, verdict
from hub.cli.output.printing import print_table
from hub.local_broker.node import PrivateNode

# What a full hub may weigh when idle; 1 MB is 1,000,000 bytes.
IDLE_LIMIT_MB = 150
# How long the idle hub is looked at after it is ready.
IDLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Idle:
    """The idle hub, resident sets in bytes."""

    ready: int
    peak: int
    after: int


async def idle(broker_url: str, folder: Path) -> Idle:
    """Measure a hub with all flows of the sandbox partners, which have no order for it."""
    arguments = ["-m", "hub", "sandbox", "--orders", "0", "--every", "0"]
    with running(arguments, folder, "partners", {}):
        # What it prints is the settings file.
        settings = await printed(folder / "partners.log")
        environ = hub_environment(folder, broker_url) | {"HUB_CONFIG": str(settings)}
        with hub(folder, environ) as measured:
            await measured.ready()
            measured.peak = ready = measured.resident()
            after = await measured.watch(IDLE_SECONDS)
            return Idle(ready, measured.peak, after)


def report(idling: Idle) -> bool:
    """Print the table; tells whether the limit holds."""
    weighs = megabytes(idling.peak)
    print_table(
        ("idle, all flows", "hub run"),
        [
            ("seconds", f"{IDLE_SECONDS:.0f}"),
            ("RSS when ready", f"{megabytes(idling.ready):.1f} MB"),
            ("RSS peak", f"{weighs:.1f} MB"),
            ("RSS after", f"{megabytes(idling.after):.1f} MB"),
            (f"below {IDLE_LIMIT_MB} MB", verdict(weighs < IDLE_LIMIT_MB)),
        ],
    )
    return weighs < IDLE_LIMIT_MB


async def measure() -> bool:
    """Run and print what came of it; tells whether the limit holds."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with PrivateNode(folder / "broker") as node:
            return report(await idle(node.url, folder / "hub"))


def main() -> int:
    """Run and give the exit status."""
    return exit_status(lambda: asyncio.run(measure()))


if __name__ == "__main__":
    sys.exit(main())
