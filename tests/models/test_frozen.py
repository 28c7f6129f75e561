"""Values: equal and hashed by their fields, with slots, and without the price of a guard at run time."""

import subprocess
import sys
from pathlib import Path

import pytest

from hub.models.frozen import value


@value(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


def test_values_are_equal_and_hashed_by_their_fields() -> None:
    assert Point(1) == Point(1, 0)
    assert len({Point(1), Point(1), Point(2)}) == 2
    assert not hasattr(Point(1), "__dict__")


def test_one_that_is_not_frozen_is_refused() -> None:
    with pytest.raises(AssertionError, match="frozen=True"):
        value(frozen=False, slots=True)


def test_the_type_checker_refuses_a_write_to_a_field(tmp_path: Path) -> None:
    module = tmp_path / "writes.py"
    module.write_text(
        "from hub.messaging.outcome import Done\n\ndone = Done('sent')\ndone.note = 'not sent'\n",
        encoding="utf-8",
    )

    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            "--follow-imports=silent",
            str(module),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 1, checked.stdout
    assert 'Property "note" defined in "Done" is read-only' in checked.stdout
