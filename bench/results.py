"""Every benchmark, one after the other, and what came of them written down: ``bench/results.md``.

    python -m bench.results       ends with 1 when a limit or a ratio is missed, within half an hour

A benchmark prints its tables into a pipe, which makes each row a line with tabs; here they become Markdown.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.processes import contender_versions
from hub.cli.output import note, say

BENCHMARKS: Mapping[str, str] = {
    "bench.feed": "A page of the feed to events",
    "bench.deliver": "An event to a partner call",
    "bench.latency": "How long an event takes to a webhook",
    "bench.confirm": "The feed to confirmed events",
    "bench.catch_up": "An archive of the feed",
    "bench.memory": "What the hub weighs",
    "bench.batches": "How few calls RetailOps gets",
    "bench.contagion": "What goes wrong beside a client",
    "bench.outage": "A client that is away",
    "bench.backlog": "A work queue that has become very long",
    "bench.replicas": "Two consumers against one, and starts",
}
RESULTS = Path(__file__).with_name("results.md")
# What the hub's own numbers hang on.
_OURS = ("aio-pika", "aiohttp", "lxml", "orjson", "pydantic", "SQLAlchemy")
_THEIRS = ("celery", "faststream", "feedparser")


def markdown(lines: Iterable[str]) -> Iterator[str]:
    """Give lines of tables as Markdown; a line without tabs stands above its table."""
    columns = 0
    for line in lines:
        cells = line.replace("|", "\\|").split("\t")
        if len(cells) != columns:
            yield ""
            if len(cells) == 1:
                columns = 0
                yield line
                continue
            columns = len(cells)
            yield f"| {' | '.join(cells)} |"
            yield "|" + " --- |" * columns
        else:
            yield f"| {' | '.join(cells)} |"


def machine() -> str:
    """Say where this was measured, when and with what."""
    memory = psutil.virtual_memory().total / 2**30
    load = psutil.getloadavg()[0]
    ours = ", ".join(f"{name} {version(name)}" for name in _OURS)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {psutil.cpu_count()} cores ({_processor()}), {memory:.0f} GiB,"
        f" {platform.system()} {platform.release()}, load {load:.1f} when it began.\n"
        f"Python {platform.python_version()}, {ours}; beside it {contender_versions(_THEIRS)}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def main() -> int:
    """Run all of them and write what came of it; gives the exit status."""
    text = ["# Results of `make bench`", "", "Written by it; do not edit.", "", machine()]
    missed = []
    for module, title in BENCHMARKS.items():
        note(f"{title} ({module})")
        done = subprocess.run([sys.executable, "-m", module], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            missed.append(module)
        part = [f"## {title}", *markdown(done.stdout.splitlines()), ""]
        part += [f"`{module}` ended with {done.returncode}: a limit was missed."] if done.returncode else []
        say("\n".join(part))
        text += ["", *part]
        # After each: half an hour of measuring is not lost with the last of them.
        RESULTS.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    for module in missed:
        note(f"bench: {module} missed a limit")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
