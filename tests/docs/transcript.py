"""Commands typed into a terminal, and what they printed, written between two markers of a page.

What is different every time is taken out: times are moved to a night, ports and free space are always the same.
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- incident: begin, written by scripts/incident -->", "<!-- incident: end -->"
# When it all begins, on the clock of the transcript.
NIGHT = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
COLUMNS = 110


@dataclass
class Transcript:
    """What is written into the manual."""

    page: Path
    folder: Path
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    lines: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Add a sentence between the commands."""
        print(f"\n--- {text}", flush=True)
        self.lines += ["", text, ""]

    def show(self, command: str, output: str, *, most: int = 60) -> None:
        """Add a command and what it printed: its first lines and its last one, if there are more than ``most``."""
        lines = self._settled(output).strip("\n").splitlines()
        shown = "\n".join(lines if len(lines) <= most else [*lines[: most - 2], "…", lines[-1]])
        print(f"$ {command}\n{shown}", flush=True)
        self.lines += ["", "```console", f"$ {command}", shown, "```"]

    def write(self) -> None:
        """Put it between the markers of the manual."""
        text = self.page.read_text(encoding="utf-8")
        before, found, rest = text.partition(BEGIN)
        _, closed, after = rest.partition(END)
        if not (found and closed):
            raise SystemExit(
                f"{self.page}: expected the lines {BEGIN!r} and {END!r}, got a page without them"
            )
        body = re.sub(r"\n{3,}", "\n\n", "\n".join(self.lines)).strip()
        self.page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")

    def _settled(self, output: str) -> str:
        """Take out what is different every time: colors, times, ports, folders."""
        text = (
            re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
            .replace("\r", "")
            .replace(str(self.folder), "/srv/hub")
        )
        text = re.sub(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)", self._moved_moment, text)
        text = re.sub(r"(?<![\dT:])\d\d:\d\d:\d\d(?!\d|:\d)", self._moved_time, text)
        text = re.sub(r"(?<![\dT:])\d\d:\d\d(?= UTC)", self._moved_minute, text)
        text = text.replace(f"{self.began:%Y-%m-%d}", f"{NIGHT:%Y-%m-%d}")
        text = re.sub(r"\d+ MiB free", "80000 MiB free", text)
        text = re.sub(r"\b(localhost|127\.0\.0\.1):\d{4,5}", r"\1:8080", text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _moved_moment(self, found: re.Match[str]) -> str:
        return self._moved(datetime.fromisoformat(f"{found[1]}+00:00")).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _moved_time(self, found: re.Match[str]) -> str:
        moment = datetime.combine(self.began.date(), datetime.strptime(found[0], "%H:%M:%S").time(), UTC)
        return self._moved(moment).strftime("%H:%M:%S")

    def _moved_minute(self, found: re.Match[str]) -> str:
        moment = datetime.combine(self.began.date(), datetime.strptime(found[0], "%H:%M").time(), UTC)
        # It is the beginning of its minute, which may be before all began.
        return max(NIGHT, self._moved(moment)).strftime("%H:%M")

    def _moved(self, moment: datetime) -> datetime:
        return NIGHT + (moment - self.began.replace(microsecond=0))


@dataclass
class Operator:
    """Types commands into a terminal, with the settings of the hub that runs."""

    transcript: Transcript
    environ: dict[str, str]

    def types(self, *words: str, ends: int = 0, most: int = 60) -> None:
        """Run ``hub`` with these words; ``ends`` is the exit status it must have, ``most`` the lines that are kept."""
        terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-m", "hub", *words],
            cwd=self.transcript.folder,
            env=self.environ | {"TERM": "xterm", "NO_COLOR": "1", "TZ": "UTC", "HUB_LOG__FORMAT": "console"},
            stdin=inside,
            stdout=inside,
            # Not the terminal: a progress bar would paint over the lines.
            stderr=subprocess.PIPE,
        )
        os.close(inside)
        assert child.stderr is not None
        printed = b"".join(_read_all(terminal)).decode() + child.stderr.read().decode()
        child.stderr.close()
        os.close(terminal)
        if child.wait() != ends:
            raise SystemExit(f"hub {' '.join(words)} ended with {child.returncode}, not {ends}:\n{printed}")
        command = " ".join(f'"{word}"' if " " in word else word for word in ("hub", *words))
        self.transcript.show(command, printed, most=most)

    def asks(self, *words: str) -> Any:
        """Run `hub` with these words and `--json`, out of sight."""
        ran = subprocess.run(
            [sys.executable, "-m", "hub", *words, "--json"],
            cwd=self.transcript.folder,
            env=self.environ,
            capture_output=True,
            check=True,
        )
        return json.loads(ran.stdout)


def _read_all(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how a terminal ends on Linux
            return
        if not chunk:
            return
        yield chunk
