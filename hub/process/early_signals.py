"""What signals do to a long-lived command until its loop runs. Called first by ``hub.__main__``, so it imports little.

A process with the number 1, as in a container, ignores SIGTERM unless it says otherwise; and the libraries of the hub take
a second to load.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

_LONG_LIVED = ("run", "up", "sandbox")
# The exit status of a stop that was asked for, as after a loop that ran.
_STATUS = {signal.SIGTERM: 0, signal.SIGINT: 130}


def expect(arguments: Sequence[str]) -> None:
    """End the process at once on SIGTERM (status 0) and SIGINT (130), if a long-lived command is asked for.

    SIGHUP is ignored: it is reserved for reading the settings again. ``hub up`` on a terminal ends with that terminal.
    """
    command = _command(arguments)
    if command not in _LONG_LIVED:
        return
    for number in _STATUS:
        signal.signal(number, _end)
    if command == "run" or not sys.stdin or not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    # Not by an exception: a library that is being loaded might catch it, and nothing is open yet.
    os._exit(_STATUS[signal.Signals(number)])


def _command(arguments: Sequence[str]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
