"""A progress bar on a terminal's standard error; nothing where nobody watches.

While it is shown, what is written to ``sys.stderr``, log lines too, is printed above it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """Something that shows how far a command is."""

    def expect(self, more: int) -> None:
        """There is so much more to do."""

    def advance(self) -> None:
        """One of it is done."""


class NoBar:
    """Shows nothing."""

    def expect(self, more: int) -> None:
        """Nothing to show."""

    def advance(self) -> None:
        """Nothing to show."""


@contextmanager
def progress(what: str) -> Iterator[Bar]:
    """Show a bar while the block runs, if standard error is a terminal; it is wiped at the end."""
    if not sys.stderr.isatty():
        yield NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _RichBar(shown, what)


class _RichBar:
    def __init__(self, shown: object, what: str) -> None:
        from rich.progress import Progress

        assert isinstance(shown, Progress)
        self._shown = shown
        self._total = 0
        self._task = shown.add_task(what, total=None)

    def expect(self, more: int) -> None:
        self._total += more
        self._shown.update(self._task, total=self._total)

    def advance(self) -> None:
        self._shown.advance(self._task)
