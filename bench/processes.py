"""The processes of a benchmark: the hub as it is deployed, and partners beside it.

What they print goes to files in the benchmark's folder; settings of the caller's environment do not reach them.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import aiohttp
import psutil

from hub.cli.output.printing import note

_CHECKOUT = Path(__file__).resolve().parents[1]
_CONTENDERS = _CHECKOUT / ".venv-bench" / "bin" / "python"
# Between two samples of the resident set: a page of the feed takes longer than that.
SAMPLE_SECONDS = 0.05
# Until a process that was asked to end is killed.
_GRACE_SECONDS = 30
# A start with an empty broker and store takes two to five seconds on two cores.
_READY_SECONDS = 60


class BenchmarkError(Exception):
    """A benchmark could not be measured: says which process failed, and its last words."""


def exit_status(benchmark: Callable[[], bool]) -> int:
    """Run a benchmark; 0 when every limit holds, 1 when not or when it could not be measured, 130 when interrupted."""
    try:
        return 0 if benchmark() else 1
    except BenchmarkError as error:
        note(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def contender(
    arguments: Sequence[str],
    folder: Path,
    name: str,
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    talks: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Run what the hub is compared with, as ``running`` does, in the virtual environment of ``scripts/bench-tools``.

    Raises:
        BenchmarkError: it is not there.
    """
    with running(arguments, folder, name, dict(environ), talks=talks, python=_contenders()) as process:
        yield process


def contender_versions(names: Sequence[str]) -> str:
    """Say which versions of these packages the hub is compared with.

    Raises:
        BenchmarkError: they are not there.
    """
    script = "import sys; from importlib.metadata import version as v; print(', '.join(f'{n} {v(n)}' for n in sys.argv[1:]))"
    asked = subprocess.run(
        [_contenders(), "-c", script, *names], stdout=subprocess.PIPE, text=True, check=True
    )
    return asked.stdout.strip()


def _contenders() -> str:
    if not _CONTENDERS.exists():
        raise BenchmarkError(f"expected {_CONTENDERS}, got no such file: run scripts/bench-tools")
    return str(_CONTENDERS)


@contextmanager
def running(
    arguments: Sequence[str],
    folder: Path,
    name: str,
    environ: dict[str, str],
    *,
    talks: bool = False,
    python: str = sys.executable,
) -> Iterator[subprocess.Popen[str]]:
    """Run a module of the checkout in ``folder`` while the context lasts; its output is ``<name>.log`` there.

    Args:
        arguments: of the interpreter: ``-m`` and what follows.
        folder: the working directory, made if missing.
        name: of the log file.
        environ: settings, beside an environment without ours.
        talks: give pipes for its input and output; only its errors are logged then.
        python: the interpreter.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [python, *arguments],
            cwd=folder,
            env=clean | {"PYTHONPATH": str(_CHECKOUT)} | environ,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            text=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


async def printed(log: Path) -> Path:
    """Return the log once its process has printed something, and then nothing more between two looks.

    Raises:
        BenchmarkError: it stayed empty.
    """
    deadline, before = time.monotonic() + _READY_SECONDS, 0
    while not before or _size(log) != before:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{log.name} stayed empty")
        before = _size(log)
        await asyncio.sleep(4 * SAMPLE_SECONDS)
    return log


def _size(file: Path) -> int:
    return file.stat().st_size


@dataclass(slots=True)
class Feed:
    """The simulated iQmetrix of ``bench.partners``."""

    process: subprocess.Popen[str]
    account: Mapping[str, str]

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> "Feed":
        """Read the account that the process prints first."""
        return cls(process, json.loads(_line(process)))

    def add(self, orders: int) -> int:
        """Place orders; gives the number of entries in the feed. Blocks for a few seconds when there are many."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{orders}\n")
        self.process.stdin.flush()
        return int(_line(self.process))

    def settings(self) -> dict[str, str]:
        """Give the environment of a hub that polls this feed each second."""
        account = {f"HUB_IQMETRIX__{key.upper()}": value for key, value in self.account.items()}
        return account | {"HUB_IQMETRIX__POLL_EVERY": "1s"}


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchmarkError(f"the partners ended with {process.wait()} instead of an answer")
    return line


def processor_seconds(pid: int) -> float:
    """Sum what a process and its children have used."""
    parent = psutil.Process(pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def hub_environment(folder: Path, broker_url: str) -> dict[str, str]:
    """Give what every measured hub has: this broker, SQLite in ``folder``, a health port of its own."""
    return {
        "HUB_BROKER__URL": broker_url,
        "HUB_STATE__URL": f"sqlite+aiosqlite:///{folder / 'hub.db'}",
        "HUB_HTTP__HOST": "127.0.0.1",
        "HUB_HTTP__PORT": str(_free_port()),
        "HUB_LOG__FORMAT": "json",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Hub:
    """A `hub run` that is watched from outside, through its ports and the kernel."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    peak: int = field(default=0, init=False)
    """The largest resident set since ``forget_peak``, in bytes."""

    async def ready(self) -> None:
        """Return when `/readyz` says so.

        Raises:
            BenchmarkError: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while await self._get("/readyz") is None:
            if time.monotonic() > deadline:
                raise self.failed("is not ready")
            await asyncio.sleep(SAMPLE_SECONDS)

    async def metric(self, sample: str) -> float:
        """Read one sample of `/metrics` by its name and labels; 0 while there is none."""
        text = await self._get("/metrics") or ""
        lines = (line.removeprefix(sample) for line in text.splitlines() if line.startswith(sample + " "))
        return float(next(lines, "0"))

    async def labels(self, name: str, label: str) -> set[str]:
        """Give the values that a label of a metric has."""
        text = await self._get("/metrics") or ""
        return set(re.findall(rf'^{name}{{.*\b{label}="([^"]*)"', text, flags=re.MULTILINE))

    def resident(self) -> int:
        """Sample the resident set, in bytes."""
        if self.process.poll() is not None:
            raise self.failed(f"ended with {self.process.returncode}")
        now = int(psutil.Process(self.process.pid).memory_info().rss)
        self.peak = max(self.peak, now)
        return now

    async def watch(self, seconds: float) -> int:
        """Sample for so long; gives the last one."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.resident()
            if time.monotonic() >= deadline:
                return now
            await asyncio.sleep(SAMPLE_SECONDS)

    def failed(self, what: str) -> BenchmarkError:
        """Give the error for a hub that does not do what is measured."""
        return BenchmarkError(f"the hub {what}:\n{self.log.read_text(encoding='utf-8')[-2000:]}")

    async def _get(self, path: str) -> str | None:
        """Read a probe; None unless it answers 200."""
        self.resident()
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return await answer.text() if answer.status == 200 else None
        except aiohttp.ClientError:
            return None


@contextmanager
def hub(folder: Path, environ: dict[str, str], *flows: str) -> Iterator[Hub]:
    """Run ``hub run`` with these settings while the context lasts."""
    with running(["-m", "hub", "run", *flows], folder, "hub", environ) as process:
        yield Hub(process, int(environ["HUB_HTTP__PORT"]), folder / "hub.log")
