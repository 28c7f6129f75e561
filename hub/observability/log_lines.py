"""Log lines on their way to standard error: written by a thread, so that a reader that has stopped reading stops nothing.

Whoever logs appends to a bounded list and goes on. What does not fit while the reader is blocked is dropped and counted, and
said once it reads again. A reader that has gone, or a full disk, costs lines and nothing else.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Characters that wait for the reader: some ten thousand lines.
_MOST_CHARACTERS = 4_000_000
# How long lines gather before they are written together: waking the thread costs more than ten lines.
_GATHER_SECONDS = 0.05
# Bytes of one write; between them the thread sees that the process ends.
_WRITE_BYTES = 65_536
# How long the end of the process waits for the last lines.
_CLOSE_SECONDS = 2.0


class LineWriter:
    """Writes lines to a file descriptor, in their order and off the caller's thread.

    Args:
        descriptor: where to.
        on_dropped: called with the number of lines that were dropped, by whoever drops them.
        on_again: called by the thread with how many were dropped, once lines are written again.
        most_characters: of lines that wait.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        on_dropped: Callable[[int], None],
        on_again: Callable[[int], None],
        most_characters: int = _MOST_CHARACTERS,
    ) -> None:
        self._descriptor = descriptor
        self._on_dropped = on_dropped
        self._on_again = on_again
        self._most = most_characters
        # Reentrant: a destructor that runs while a line is put may log as well.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._characters = 0
        self._dropped = 0
        self._is_called = False
        self._has_gone = False
        self._call = threading.Event()
        self._closing = threading.Event()
        # A daemon: the end of the process does not wait for a reader.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Write a line soon, or drop it; returns at once."""
        with self._lock:
            fits = not self._has_gone and self._characters < self._most
            if fits:
                self._lines.append(line)
                self._characters += len(line)
            else:
                self._dropped += 1
            calls = not self._is_called
            self._is_called = True
        if calls:
            self._call.set()
        if not fits:
            self._on_dropped(1)

    def close(self, within_seconds: float = _CLOSE_SECONDS) -> None:
        """Write what is left, for so long at most."""
        self._closing.set()
        self._call.set()
        self._thread.join(within_seconds)

    def _run(self) -> None:
        while True:
            self._call.wait()
            ends = self._closing.wait(_GATHER_SECONDS)
            with self._lock:
                self._call.clear()
                self._is_called = False
                lines, self._lines, self._characters = self._lines, [], 0
                dropped, self._dropped = self._dropped, 0
            if lines and not self._write("\n".join(lines) + "\n"):
                self._on_dropped(len(lines))
            elif dropped and not self._has_gone:
                self._on_again(dropped)
            if ends and not self._lines:
                return

    def _write(self, text: str) -> bool:
        """Write all of it; False when that cannot be done."""
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            try:
                left = left[os.write(self._descriptor, left[:_WRITE_BYTES]) :]
            except BlockingIOError:
                # Somebody else made it so; most likely a parent that shares it.
                select.select([], [self._descriptor], [], 1)
            except (BrokenPipeError, ConnectionError):
                self._has_gone = True
                return False
            except OSError:
                # A full disk may have room again.
                return False
        return True


@contextmanager
def off_the_loop(
    *, on_dropped: Callable[[int], None], on_again: Callable[[int], None]
) -> Iterator[Callable[[str], None] | None]:
    """Yield the function that writes a line to standard error, or None where that is no file.

    At the end of the block the last lines are written, within two seconds.

    Args:
        on_dropped: called with the number of lines that were dropped.
        on_again: called with how many were dropped, once lines are written again.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        yield None
        return
    writer = LineWriter(descriptor, on_dropped=on_dropped, on_again=on_again)
    try:
        yield writer.put
    finally:
        writer.close()
