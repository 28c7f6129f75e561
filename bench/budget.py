"""How long hostile input keeps the event loop: for each way in, the worst input of the largest size that is taken.

    python -m bench.budget            ends with 1 when one takes longer than its budget, within a minute
    python -m bench.budget messages   one group of them, or several

What runs on the event loop in one piece is a callback; what runs in a thread, or for a command, has a budget of its own, and
is named so. The inputs (``bench.hostile``) are shared with ``tests/attacks/test_budget.py``.
"""

import sys
from collections.abc import Callable, Iterator, Mapping

from bench.hostile.amqp import tables
from bench.hostile.answers import answers
from bench.hostile.case import BESIDE_MS, LOOP_MS, ROUNDS, THREAD_MS, Case
from bench.hostile.iqmetrix import feed_pages
from bench.hostile.letters import letters
from bench.hostile.messages import messages, reasons
from bench.hostile.orders import orders
from bench.hostile.retailops import pages
from bench.rows import verdict
from hub.cli.output.printing import print_table, say
from hub.observability import redaction

WAYS_IN: Mapping[str, Callable[[], Iterator[Case]]] = {
    "messages": messages,
    "reasons": reasons,
    "answers": answers,
    "orders": orders,
    "letters": letters,
    "retailops": pages,
    "iqmetrix": feed_pages,
    "headers": tables,
}
"""Groups of cases, each with inputs of its own that are made when they are asked for."""


def main(groups: list[str]) -> int:
    """Measure each case, and say the worst of each way in."""
    redaction.remember(*(f"a-secret-of-some-length-{number}" for number in range(40)))
    # Of a case only the row is kept: the inputs together are some hundred megabytes.
    worst = [_row(case) for group in groups or WAYS_IN for case in WAYS_IN[group]()]
    worst.sort(key=lambda row: (row[0], -float(row[3])))
    say(
        f"the longest callback of hostile input, best of {ROUNDS}; budget {LOOP_MS:g} ms, in a thread {THREAD_MS:g} ms,"
        f" of a command and of many callbacks together {BESIDE_MS:g} ms"
    )
    print_table(("way in", "input", "bytes", "ms", "verdict"), worst)
    return int(any(row[-1] == verdict(False) for row in worst))


def _row(case: Case) -> tuple[str, str, str, str, str]:
    took = case.best()
    return case.entry, case.name, f"{case.size}", f"{took:.1f}", verdict(took <= case.budget_ms)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
