"""The run as a document: every cell of the matrix has its row, and the text around the markers stays."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.checker import Observed, judge
from tests.faults.points import BROKER, PARTNERS, STORE, Fault, Kind, Plan
from tests.faults.recovery import Met
from tests.faults.report import BEGIN, END, put_into, render
from tests.faults.schedule import Result

AT = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)


def test_a_run_names_every_await_point_and_what_came_of_it() -> None:
    fault = Fault("broker.confirm", Kind.crash_before, 1)
    moments = [(AT, True), (AT + timedelta(seconds=1), True)]
    kill = AT + timedelta(milliseconds=30)
    seen = Observed(placed=5, effects={("webhook confirmation", "a"): moments}, kills=[kill])
    result = Result(Plan(7, (fault,), 4, 1, 0), judge(seen), [Met(fault, 1.0, 1.0, recovered=0.7)], seconds=2)

    told = render([result], command="make faults", seconds=60, on=AT)

    for point in (*STORE, *BROKER, *PARTNERS):
        assert f"| `{point}` |" in told
    assert "| `broker.confirm` | 0 | 0 | 0 | 1 | 0 | 0 | 0 | 1 | 0 | 0.7 s |" in told
    assert "| webhook confirmation | 1 | 30 ms | 30 ms |" in told
    assert "| schedules that kept every promise | 1 |" in told


def test_a_run_takes_the_place_of_the_last_one_and_nothing_else() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert put_into(document, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_a_document_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected <!-- make faults: begin -->"):
        put_into("nothing here", "new")
