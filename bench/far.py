"""An event to a partner call that takes as long as one over the Internet: the hub beside a bare loop, FastStream and Celery.

    python -m bench.far           ends with 1 when a ratio is missed, six minutes where nothing else runs

As ``bench.deliver``, with a receiver that answers after 50 milliseconds instead of at once. Who waits for one answer
after the other is as fast as its partner; what counts here is how many answers are waited for at the same time.

    Celery           two worker processes, each with one post at a time, as in ``bench.deliver``; a worker starts one for each
                     core by itself. No more than 40 events/s can come of it
    Celery, threads  with ``--pool=threads`` and as many threads as the others have connections; nothing is required
                     against it
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from bench.deliver import (
    BARE,
    CELERY,
    CELERY_THREADS,
    FASTSTREAM,
    HUB,
    Turns,
    measure,
    print_ratios,
    print_turns,
)
from bench.processes import exit_status

ANSWERS_AFTER = 0.05
# Celery's two processes take 25 seconds for them.
EVENTS = 1000
CONTENDERS = (HUB, BARE, FASTSTREAM, CELERY, CELERY_THREADS)
AGAINST: Mapping[str, float] = {BARE: 0.8, FASTSTREAM: 1.3, CELERY: 3.0, CELERY_THREADS: 0.0}


def report(every: Mapping[str, Turns]) -> bool:
    """Print the tables; tells whether the ratios hold."""
    print_turns(
        every,
        EVENTS,
        f"{EVENTS} events from a quorum queue to one receiver that answers after {ANSWERS_AFTER * 1000:.0f} ms",
    )
    return print_ratios(every, AGAINST)


def main() -> int:
    """Run and give the exit status."""
    return exit_status(
        lambda: report(asyncio.run(measure(CONTENDERS, events=EVENTS, answers_after=ANSWERS_AFTER)))
    )


if __name__ == "__main__":
    sys.exit(main())
