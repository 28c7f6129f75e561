"""An event to a partner call that takes as long as one over the Internet: the hub beside a bare loop, FastStream and Celery.

    python -m bench.far           ends with 1 when a ratio is missed, three to eight minutes where nothing else runs

As ``bench.deliver``, with a receiver that answers after 50 milliseconds instead of at once. Who waits for one answer
after the other is as fast as its partner; what counts here is how many answers are waited for at the same time. So all
have 400 deliveries in hand and 400 connections: with 100, the answers alone would allow nobody more than 2,000 events/s.

    Celery           two worker processes, each with one post at a time, as in ``bench.deliver``; a worker starts one for each
                     core by itself. No more than 40 events/s can come of it, so it is given fewer
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
    measure,
)
from bench.processes import exit_status
from bench.turns import Turns, print_ratios, print_turns

ANSWERS_AFTER = 0.05
AT_ONCE = 400
EVENTS = 10_000
# Celery's two processes take 20 seconds for them.
FEWER = 800
CONTENDERS = dict.fromkeys((HUB, BARE, FASTSTREAM, CELERY_THREADS), EVENTS) | {CELERY: FEWER}
REQUIRED = {
    (HUB, BARE): 0.8,
    (HUB, FASTSTREAM): 1.3,
    (HUB, CELERY): 3.0,
    (HUB, CELERY_THREADS): 0.0,
}


def report(every: Mapping[str, Turns]) -> bool:
    """Print the tables; tells whether the ratios hold."""
    after = f"{ANSWERS_AFTER * 1000:.0f} ms"
    print_turns(every, f"from a quorum queue to one receiver that answers after {after}")
    return print_ratios(every, REQUIRED)


def main() -> int:
    """Run and give the exit status."""
    return exit_status(
        lambda: report(asyncio.run(measure(CONTENDERS, at_once=AT_ONCE, answers_after=ANSWERS_AFTER)))
    )


if __name__ == "__main__":
    sys.exit(main())
