"""Every benchmark, one after the other, and what came of them written down: ``bench/results.md``.

    python -m bench.results                 ends with 1 when a limit or a ratio is missed, within half an hour
    python -m bench.results bench.deliver   measures one anew and keeps what is written of the others
    python -m bench.results bench.soak      likewise; those of LONG take up to some hours, and are measured by name only:
                                            "bench.catch_up --entries 200000", with its arguments, is such a name

A benchmark prints its tables into a pipe, which makes each row a line with tabs; here they become Markdown.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import timeit
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.processes import contender_versions
from hub.cli.output.printing import note, say

BENCHMARKS: Mapping[str, str] = {
    "bench.feed": "A page of the feed to events",
    "bench.deliver": "An event to a partner call",
    "bench.far": "An event to a partner call over the Internet",
    "bench.latency": "How long an event takes to a webhook",
    "bench.confirm": "The feed to confirmed events",
    "bench.catch_up": "An archive of the feed",
    "bench.memory": "What the hub weighs",
    "bench.batches": "How few calls RetailOps gets",
    "bench.budget": "How long hostile input keeps the event loop",
    "bench.large_bodies": "A backlog of the largest messages",
    "bench.contagion": "What goes wrong beside a client",
    "bench.outage": "A client that is away",
    "bench.backlog": "A work queue that has become very long",
    "bench.replicas": "Two consumers against one, and starts",
}
# Measured when asked for by name, and kept by a run of all the others.
LONG: Mapping[str, str] = {
    "bench.catch_up --entries 200000": "An archive of 200,000 entries",
    "bench.backlog --messages 1000000": "A work queue of a million messages",
    "bench.soak": "A million events through a thousand cut connections",
}
TITLES = {**BENCHMARKS, **LONG}
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
    """Say where this is measured, and with what."""
    memory = psutil.virtual_memory().total / 2**30
    ours = ", ".join(f"{name} {version(name)}" for name in _OURS)
    return (
        f"{psutil.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}.\n"
        f"Python {platform.python_version()} (a million small texts: {_pace() * 1000:.0f} ms), {ours};"
        f" beside it {contender_versions(_THEIRS)}."
    )


def _pace() -> float:
    """Seconds of a loop that only the interpreter has a part in: one built without optimization takes twice as long."""
    return 10 * min(timeit.repeat("for number in range(1000): str(number)", number=100, repeat=5))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def when() -> str:
    """Say when a benchmark began, and what else the machine did."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {psutil.getloadavg()[0]:.1f} when it began."


def measured(module: str, title: str) -> tuple[str, bool]:
    """Run a benchmark; give its part of the page, and whether every limit held."""
    note(f"{title} ({module})")
    begun = when()
    done = subprocess.run(
        [sys.executable, "-m", *module.split()], stdout=subprocess.PIPE, text=True, check=False
    )
    lines = [f"## {title}", "", f"`python -m {module}`, {begun}", *markdown(done.stdout.splitlines())]
    if done.returncode:
        lines += ["", f"Ended with {done.returncode}: a limit was missed, or it could not be measured."]
    return "\n".join(lines), not done.returncode


def before() -> dict[str, str]:
    """Give the parts that are written down, by title."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = (part.strip() for part in text.split("\n## ")[1:])
    return {part.partition("\n")[0]: f"## {part}" for part in parts}


def main(asked: Sequence[str]) -> int:
    """Run those that are asked for, or all, and write what came of it; gives the exit status."""
    unknown = set(asked) - set(TITLES)
    if unknown:
        note(f"bench: expected some of {', '.join(TITLES)}, got {', '.join(sorted(unknown))}")
        return 2
    head = f"# Results of `make bench`\n\nWritten by it; do not edit.\n\n{machine()}"
    parts = {title: part for title, part in before().items() if asked or title in LONG.values()}
    missed = []
    for module in asked or BENCHMARKS:
        title = TITLES[module]
        parts[title], holds = measured(module, title)
        missed += [] if holds else [module]
        say(parts[title])
        # After each: half an hour of measuring is not lost with the last of them.
        in_order = [parts[title] for title in TITLES.values() if title in parts]
        RESULTS.write_text("\n\n".join([head, *in_order]) + "\n", encoding="utf-8")
    for module in missed:
        note(f"bench: {module} missed a limit or could not be measured")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
