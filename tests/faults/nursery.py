"""Real hub processes in a few milliseconds each: one process imports the hub once and forks a child for every start.

    python -m tests.faults.nursery     one JSON order a line on stdin -> {"pid": …} a line on stdout

The child is what `hub run` is: `serve` with real settings, the real store and the real broker client, and it can be killed as
any process can. Only its store is wrapped (`tests.faults.store`) and its wall clock can be moved by SIGUSR1 and SIGUSR2.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from hub.config.settings import Settings
from hub.observability.logging import set_up_logging
from hub.process.lifecycle import Stop, run_long
from hub.service.composition import serve
from hub.service.flows import choose
from tests.faults import clock
from tests.faults.points import Fault, Kind, Script
from tests.faults.store import open_faulty

_PR_SET_PDEATHSIG = 1
FORWARD, BACK = timedelta(hours=1), timedelta(seconds=-2)
# What a child says of a fault before it happens, one line of JSON in its log.
FAULT_MET = "fault_met"


def main() -> None:
    """Fork a hub for each order until stdin ends."""
    # Children are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(order)
        print(json.dumps({"pid": pid}), flush=True)


def _live(order: Mapping[str, Any]) -> None:
    """Be a hub; never returns."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        clock.install()
        clock.move(timedelta(seconds=order["clock"]))
        run_long(_hub(order["settings"], order["faults"]))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


async def _hub(values: Mapping[str, Any], faults: Sequence[Mapping[str, Any]]) -> None:
    settings = Settings(**values)
    set_up_logging("json", "info")
    script = Script([Fault(fault["point"], Kind(fault["kind"]), fault["nth"]) for fault in faults])
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, clock.move, FORWARD)
    loop.add_signal_handler(signal.SIGUSR2, clock.move, BACK)
    stop = Stop()
    with stop.on_signals():
        await serve(
            settings,
            choose((), settings),
            stop,
            accept_empty_state=True,
            opening=partial(open_faulty, script=script, told=_tell),
        )


def _tell(fault: Fault) -> None:
    # At once and whole: the next thing may be the end of this process.
    os.write(1, json.dumps({"event": FAULT_MET, "fault": fault.as_json()}).encode() + b"\n")


class Nursery:
    """The process that forks hubs, seen from outside."""

    def __init__(self) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HUB_", "OTEL_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean,
            text=True,
        )

    def start_hub(
        self, values: Mapping[str, Any], faults: Sequence[Fault], log: str, ahead: timedelta
    ) -> int:
        """Start a hub whose clock is so far ahead, and give its process id; it writes its log to the named pipe `log`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "settings": values,
            "faults": [fault.as_json() for fault in faults],
            "log": log,
            "clock": ahead.total_seconds(),
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        return int(json.loads(answer)["pid"])

    def close(self) -> None:
        """End the nursery, and with it every hub that still runs."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    main()
