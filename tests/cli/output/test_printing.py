from datetime import UTC, datetime, timedelta

import pytest

from hub.cli.output.printing import age, complain, print_table, printable
from hub.errors import BrokerUnavailable, ConfigError


def test_control_characters_of_strangers_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in printable("\x1b[2Jgone\x07\u202e")
    assert printable("plain é 東京") == "plain é 東京"


def test_a_table_in_a_pipe_is_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count"), [("a\tb\nc", 1), (None, 2)])

    assert capsys.readouterr().out == "name\tcount\na b c\t1\n\t2\n"


def test_a_table_as_json_has_keys_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("order id", "at"), [("x", datetime(2026, 1, 1, tzinfo=UTC))], as_json=True)

    assert '"order_id": "x"' in (printed := capsys.readouterr().out)
    assert '"2026-01-01T00:00:00Z"' in printed


def test_every_fault_of_the_settings_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ConfigError(faults=("a: wrong", "b: wrong")))

    assert capsys.readouterr().err == "hub: a: wrong\nhub: b: wrong\n"


def test_a_broker_that_is_away_comes_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    complain(BrokerUnavailable("localhost:5672: refused"))

    assert "is the broker running" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (65, "1m"), (7200, "2h"), (90_000, "1d"), (-3, "0s")]
)
def test_an_age_is_said_in_its_largest_unit(seconds: int, text: str) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    assert age(now - timedelta(seconds=seconds), now) == text
