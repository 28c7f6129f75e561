"""One hub of a schedule, through all its crashes: started again as soon as it is dead, its log read as it is written."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.faults.nursery import FAULT_MET, FORWARD, Nursery
from tests.faults.points import CRASHES, Fault, Kind

_READ_BYTES = 1 << 16
# Enough to see what a schedule did, for the note of one that failed.
_LINES_KEPT = 400


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the hub's log that tells how it lives; `at` is monotonic."""

    at: float
    event: str


_LIFE = frozenset({"ready", "broker_connected", "broker_lost"})


@dataclass(eq=False)
class Hub:
    """A hub that is kept alive.

    `met` hears of the faults that the process itself meets (those of the store).
    """

    nursery: Nursery
    values: Mapping[str, Any]
    folder: Path
    store_faults: list[Fault]
    met: Callable[[Fault], None] = lambda _: None
    said: list[Said] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    killed_at: list[datetime] = field(default_factory=list)
    started_at: list[float] = field(default_factory=list)
    ended_alone: str = ""
    pid: int = 0
    _clock: timedelta = timedelta(0)
    _life: int = -1
    _expected: bool = False
    _stopping: bool = False
    _rest: bytes = b""
    _gone: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        """Start it for the first time."""
        self._pipe = self.folder / "log"
        os.mkfifo(self._pipe)
        # Both directions, so that it never ends while hubs come and go.
        self._log = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._log, self._read)
        self._spawn()

    async def ready_or_ended(self, within: float) -> None:
        """Wait until a process of this hub has said that it is ready, or ended by itself; no longer than `within` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), max(within, 0))

    def kill(self) -> None:
        """kill -9; it is started again."""
        if not self._gone.is_set():
            self._note_crash()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def move_clock(self, by: timedelta) -> None:
        """Move the clock of this process, and of every one that is started after it: `FORWARD` or `BACK`."""
        self._clock += by
        if not self._gone.is_set():
            os.kill(self.pid, signal.SIGUSR1 if by == FORWARD else signal.SIGUSR2)

    async def stop(self, within: float = 15) -> None:
        """SIGTERM, and wait for the end; it is not started again."""
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        await asyncio.wait_for(self._gone.wait(), within)

    def resume(self) -> None:
        """Start it again after a stop."""
        self._stopping = False
        self._spawn()

    def close(self) -> None:
        """Kill what runs and close the log."""
        self._stopping = True
        if not self._gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._forget_life()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._log)
        os.close(self._log)

    def _spawn(self) -> None:
        self._gone.clear()
        self._expected = False
        self.started_at.append(time.monotonic())
        self.pid = self.nursery.start_hub(self.values, self.store_faults, str(self._pipe), self._clock)
        self._life = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._life, self._ended)

    def _ended(self) -> None:
        self._forget_life()
        self._read()
        self._gone.set()
        if self._stopping:
            return
        if not self._expected:
            self._heard.set()
            self.ended_alone = "the hub ended by itself: " + "\n".join(list(self.lines)[-12:])
            return
        self._spawn()

    def _forget_life(self) -> None:
        # The number may be another file's a moment after it is closed.
        life, self._life = self._life, -1
        if life >= 0:
            asyncio.get_running_loop().remove_reader(life)
            os.close(life)

    def _note_crash(self) -> None:
        if not self._expected:
            self._expected = True
            self.killed_at.append(datetime.now(UTC))

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._log, _READ_BYTES):
                *whole, self._rest = (self._rest + piece).split(b"\n")
                self._take(whole)

    def _take(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            text = line.decode(errors="replace")
            self.lines.append(text)
            # A process that is killed may leave half a line.
            with contextlib.suppress(ValueError):
                self._hear(json.loads(text))

    def _hear(self, line: Any) -> None:
        event = line.get("event") if isinstance(line, dict) else None
        if event in _LIFE and line.get("who", "hub") == "hub":
            self.said.append(Said(time.monotonic(), event))
            if event == "ready":
                self._heard.set()
        elif event == FAULT_MET:
            told = line["fault"]
            fault = Fault(told["point"], Kind(told["kind"]), told["nth"])
            if fault in self.store_faults:
                self.store_faults.remove(fault)
            if fault.kind in CRASHES:
                self._note_crash()
            self.met(fault)
