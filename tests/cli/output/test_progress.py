"""The progress bar and what is logged beside it, on a terminal."""

import os
import pty
import re
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest
import structlog

from hub.cli.output.progress import progress
from hub.observability.logging import LogEvent, log, set_up_logging


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Both sides of a terminal of 120 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    structlog.reset_defaults()


def test_a_log_line_stands_above_the_bar_on_a_line_of_its_own(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal

    with os.fdopen(theirs, "w") as screen, redirect_stderr(screen):
        set_up_logging("console", "warning")
        with progress("replaying") as bar:
            bar.expect(3)
            bar.advance()
            log.warning(LogEvent.LETTER_REPLAYED, letters=1)
            bar.advance()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(ours, 65536).decode())

    (line,) = [line for line in re.split(r"[\r\n]+", shown) if "letter_replayed" in line]
    assert "replaying" not in line
    assert "letters=1" in line
