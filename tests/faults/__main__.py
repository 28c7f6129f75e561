"""`make faults`: a thousand schedules, the table of the matrix, and the document that shows it."""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from hub.local_broker.node import PrivateNode
from hub.observability.logging import set_up_logging
from tests.faults.lanes import PLUGINS, lanes, play_all
from tests.faults.points import plan
from tests.faults.report import DOCUMENT, put_into, render
from tests.faults.schedule import Result, told


def main() -> int:
    """Play the schedules that the command line names; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--schedules", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone, with its log")
    parser.add_argument("--lanes", type=int, default=4, help="how many at a time")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--command", default="make faults", help="how the document says that it was made")
    asked = parser.parse_args()
    seeds = (
        [asked.seed] if asked.seed is not None else list(range(asked.first, asked.first + asked.schedules))
    )
    if asked.seed is not None:
        print(plan(asked.seed))
    # The warehouse and the desk speak too: what is said here is said by the schedules.
    set_up_logging("json", "error")
    begun = time.monotonic()
    results = asyncio.run(_play(seeds, min(asked.lanes, len(seeds)), show_log=asked.seed is not None))
    seconds = time.monotonic() - begun
    on = datetime.now(UTC)
    rendered = render(results, command=asked.command, seconds=seconds, on=on)
    if asked.write:
        DOCUMENT.write_text(put_into(DOCUMENT.read_text(encoding="utf-8"), rendered), encoding="utf-8")
    elif asked.seed is None:
        print(rendered)
    broken = [result for result in results if result.faults]
    print(f"{len(results)} schedules in {seconds:.0f} s, {len(broken)} broke a promise")
    return 1 if broken else 0


async def _play(seeds: list[int], count: int, *, show_log: bool) -> list[Result]:
    done = 0

    def report(result: Result) -> None:
        nonlocal done
        done += 1
        if show_log:
            print("\n".join(result.log))
        if result.faults:
            print(told(result), flush=True)
        else:
            print(
                f"{done}: seed {result.plan.seed}: {result.seconds:.1f} s, met {len(result.met)} of {len(result.plan.faults)}",
                flush=True,
            )

    with tempfile.TemporaryDirectory(prefix="faults-broker-") as folder:
        async with PrivateNode(Path(folder), plugins=PLUGINS) as node, lanes(node, count) as opened:
            return await play_all(seeds, opened, report)


if __name__ == "__main__":
    sys.exit(main())
