"""The table of the matrix and the numbers of a run, as Markdown, and their place in the document."""

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

from tests.faults.points import ALONE, AT_THE_POINT, BROKER, IN_THE_WORLD, PARTNERS, STORE, Kind
from tests.faults.recovery import PROMISED_SECONDS
from tests.faults.schedule import Result

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- make faults: begin -->", "<!-- make faults: end -->"


def render(results: Sequence[Result], *, command: str, seconds: float, on: datetime) -> str:
    """Give the run as Markdown: how it was made, its numbers, the matrix, and the windows that were seen."""
    told = [
        _made_by(results, command, seconds, on),
        _numbers(results),
        _at_points(results),
        _in_world(results),
    ]
    return "\n\n".join([*told, _windows(results)])


def put_into(text: str, rendered: str) -> str:
    """Give the document with the run between its markers.

    Raises:
        ValueError: the markers are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and {END} in the document, they are not there")
    return f"{before}{BEGIN}\n\n{rendered}\n\n{END}{after}"


def _made_by(results: Sequence[Result], command: str, seconds: float, on: datetime) -> str:
    seeds = [result.plan.seed for result in results]
    return (
        f"`{command}` on {on:%Y-%m-%d}: {len(results)} schedules, seeds {min(seeds)} to {max(seeds)},"
        f" {seconds / 60:.0f} minutes on {os.cpu_count()} cores."
    )


def _numbers(results: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in results]
    slow = [result.slowest for result in results if result.slowest is not None]
    rows = [
        ("schedules that kept every promise", sum(not result.faults for result in results)),
        ("faults met, of those planned", f"{_met(results)} of {_planned(results)}"),
        ("orders and purchase orders placed", sum(verdict.attempted for verdict in verdicts)),
        ("effects applied at partners", sum(verdict.applied for verdict in verdicts)),
        ("lost", sum(len(verdict.lost) for verdict in verdicts)),
        ("effects doubled outside the window", sum(len(verdict.doubled) for verdict in verdicts)),
        ("effects sent again inside the window", sum(len(verdict.in_window) for verdict in verdicts)),
        ("effects sent again since their answer was lost", sum(verdict.unheard for verdict in verdicts)),
        ("statuses gone backward", sum(len(verdict.regressed) for verdict in verdicts)),
        ("breaches of a partner's protocol", sum(len(verdict.violations) for verdict in verdicts)),
        ("letters replayed", sum(result.letters for result in results)),
        ("other faults found", sum(len(verdict.other) for verdict in verdicts)),
        ("recoveries later than allowed", sum(len(result.late) for result in results)),
        ("kills (`kill -9` of the hub)", sum(_crashes(result) for result in results)),
        ("slowest recovery, median, promised", _recoveries(slow)),
    ]
    return _table(("", "count"), rows)


def _met(results: Sequence[Result]) -> int:
    return sum(len(result.met) for result in results)


def _planned(results: Sequence[Result]) -> int:
    return sum(len(result.plan.faults) for result in results)


def _crashes(result: Result) -> int:
    return sum(met.fault.kind in (Kind.crash_before, Kind.crash_after) for met in result.met)


def _recoveries(slow: Sequence[float]) -> str:
    if not slow:
        return "none was needed"
    return f"{max(slow):.1f} s, {statistics.median(slow):.1f} s, {PROMISED_SECONDS:.1f} s"


def _at_points(results: Sequence[Result]) -> str:
    """One row for each await point: how often each fault was met there, and what came of these schedules."""
    head = ("await point", *(str(kind) for kind in AT_THE_POINT), *_OUTCOMES)
    met = _by_cell(results)
    rows = []
    for point in (*STORE, *BROKER, *PARTNERS):
        cells = [met[point, kind] for kind in AT_THE_POINT]
        rows.append((f"`{point}`", *(len(cell) for cell in cells), *_outcomes(chain(*cells))))
    return _table(head, rows)


def _in_world(results: Sequence[Result]) -> str:
    met = _by_cell(results)
    rows = []
    for kind in (*IN_THE_WORLD, *ALONE):
        found = [result for (_, other), cell in met.items() if other is kind for result in cell]
        rows.append((str(kind), len(found), *_outcomes(found, kind=kind)))
    return _table(("around the hub", "schedules", *_OUTCOMES), rows)


_OUTCOMES = ("lost", "doubled", "in window", "backward", "slowest recovery")


def _outcomes(found: Iterable[Result], kind: Kind | None = None) -> tuple[object, ...]:
    """What came of schedules; one with several faults counts for each of them."""
    unique = list({result.plan.seed: result for result in found}.values())
    verdicts = [result.verdict for result in unique]
    slow = [
        met.recovered
        for result in unique
        for met in result.met
        if met.recovered is not None and kind in (None, met.fault.kind)
    ]
    return (
        sum(len(verdict.lost) for verdict in verdicts),
        sum(len(verdict.doubled) for verdict in verdicts),
        sum(len(verdict.in_window) for verdict in verdicts),
        sum(len(verdict.regressed) for verdict in verdicts),
        f"{max(slow):.1f} s" if slow else "-",
    )


def _by_cell(results: Sequence[Result]) -> dict[tuple[str, Kind], list[Result]]:
    met: dict[tuple[str, Kind], list[Result]] = defaultdict(list)
    for result in results:
        for item in result.met:
            met[item.fault.point, item.fault.kind].append(result)
    return met


def _windows(results: Sequence[Result]) -> str:
    """The windows that kills fell into, by call."""
    sizes: dict[str, list[float]] = defaultdict(list)
    times: Counter[str] = Counter()
    for result in results:
        for resent in result.verdict.in_window:
            times[resent.call] += 1
            sizes[resent.call].append(resent.window.total_seconds() * 1000)
    rows = [
        (call, times[call], f"{statistics.median(found):.0f} ms", f"{max(found):.0f} ms")
        for call, found in sorted(sizes.items())
    ]
    head = ("call sent again", "times", "median from effect to kill", "longest")
    return _table(head, rows or [("none", 0, "-", "-")])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
