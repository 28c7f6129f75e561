"""The coverage-guided fuzzer: `make fuzz`, in .venv-fuzz. Each wall in a process of its own, one after the other.

Beside what the Hypothesis tests hold it measures: a document takes at most 100 ms of processor time for each 100 kB
begun, and the process stays below ``MEMORY_MB`` resident (libxml2's and pydantic's memory included). What it finds
lies in var/fuzz/<wall>; the corpus there is where the next run goes on.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.fuzz.edits import drawn, edited

PLACE = Path("var/fuzz")
# Seconds of processor time for each 100 kB begun.
ALLOWED_SECONDS = 0.1
# Resident megabytes: about 90 of them are there before the first document, of at most 64 kB, which leaves it some
# three thousand times its size (a fuzzer's own corpus and tables included).
MEMORY_MB = 320
INSTRUMENTED = ["hub", "tomllib", "pydantic_settings", "pamqp"]
_STATE = re.compile(r"#(\d+).*\bcov: (\d+) ft: (\d+) corp: (\d+)/")


class TooSlow(Exception):
    """A document took longer than its size allows, each of three times."""


def fuzz(name: str, seconds: int) -> None:
    """Try one wall until the time is over or something is found; ends the process."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.walls import WALLS

    wall = WALLS[name]
    place = PLACE / name
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, document in enumerate(wall.seeds()):
        (corpus / f"seed-{number}").write_bytes(document)

    clock = Clock(name)

    def once(document: bytes) -> None:
        began = time.process_time()
        result = wall.enter(document)
        if time.process_time() - began > _allowed(document):
            clock.confirm(document)
        wall.judge(result)

    def changed(document: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.4:
            given: bytes = atheris.Mutate(document, most)
            return given
        return edited(document, drawn(random))[:most]

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={wall.longest}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={place}/found-",
        "-timeout=30",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], once, custom_mutator=changed)
    atheris.Fuzz()


def _allowed(document: bytes) -> float:
    return ALLOWED_SECONDS * (1 + len(document) // 100_000)


class Clock:
    """Measures a document in a process whose code is not instrumented, which makes it up to seventeen times as slow."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    def confirm(self, document: bytes) -> None:
        """Measure it; raises ``TooSlow``."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.fuzz.coverage_guided", "--clock", self._name]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(len(document).to_bytes(4, "big") + document)
        asked.flush()
        seconds = float(answered.readline())
        if seconds > _allowed(document):
            raise TooSlow(f"{seconds:.3f} s for {len(document)} bytes")


def keep_time(enter: Callable[[bytes], object]) -> None:
    """Answer each document from standard input with the seconds of processor time that it takes, until input ends."""
    while length := sys.stdin.buffer.read(4):
        document = sys.stdin.buffer.read(int.from_bytes(length, "big"))
        print(min(_seconds(enter, document) for _ in range(3)), flush=True)


def _seconds(enter: Callable[[bytes], object], document: bytes) -> float:
    """Collections of garbage and first imports fall on single runs; what is slow is slow each time."""
    began = time.process_time()
    with suppress(Exception):
        enter(document)
    return time.process_time() - began


def report(name: str, seconds: int) -> bool:
    """Fuzz one wall in a process of its own, and say in one line what became of it; true when nothing was found."""
    PLACE.mkdir(parents=True, exist_ok=True)
    log = PLACE / f"{name}.log"
    with log.open("w") as out:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.coverage_guided", "--wall", name, "--seconds", str(seconds)],
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = log.read_text(errors="replace")
    states = _STATE.findall(text)
    tried, edges, features, kept = states[-1] if states else ("0",) * 4
    peak = (re.findall(r"peak_rss_mb: +(\d+)|rss: (\d+)Mb", text) or [("?", "")])[-1]
    fate = "nothing found" if ended.returncode == 0 else f"FOUND something: see {log} and {PLACE / name}"
    print(
        f"{name:9} {int(tried):>9,} documents  coverage {edges} edges, {features} features  corpus {kept}"
        f"  at most {peak[0] or peak[1]} MB  {fate}",
        flush=True,
    )
    return ended.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("walls", nargs="*", help="feed, event, settings; none: all of them")
    parser.add_argument("--seconds", type=int, default=60, help="for each wall")
    parser.add_argument("--wall", help=argparse.SUPPRESS)
    parser.add_argument("--clock", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.clock:
        from tests.fuzz.walls import WALLS

        keep_time(WALLS[given.clock].enter)
        return 0
    if given.wall:
        fuzz(given.wall, given.seconds)
        return 0
    results = [report(name, given.seconds) for name in given.walls or ("feed", "event", "settings")]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
