"""A long-lived command heeds signals from its first moment; in processes of their own, since signals are for a process."""

import signal
import subprocess
import sys

import pytest

_SCRIPT = """
import sys
from hub.process import early_signals
early_signals.expect(sys.argv[1:])
print("expects", flush=True)
sys.stdin.read()
"""


def ends_with(words: list[str], *numbers: signal.Signals) -> int:
    """The exit status of a process that expects signals and then gets some."""
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"expects\n"
        for number in numbers:
            child.send_signal(number)
        return child.wait(30)


@pytest.mark.parametrize(
    ("words", "number", "status"),
    [
        (["run"], signal.SIGTERM, 0),
        (["run", "consumers"], signal.SIGINT, 130),
        (["--config", "hub.toml", "run"], signal.SIGTERM, 0),
        (["--config=run", "up"], signal.SIGTERM, 0),
        # What a person runs for a moment ends as every command does.
        (["letters", "list", "--queue", "run"], signal.SIGTERM, -signal.SIGTERM),
        (["--config", "run", "letters"], signal.SIGHUP, -signal.SIGHUP),
    ],
)
def test_a_signal_before_the_loop_ends_a_long_lived_command_in_order(
    words: list[str], number: signal.Signals, status: int
) -> None:
    assert ends_with(words, number) == status


def test_a_hang_up_ends_no_long_lived_command() -> None:
    # The status is that of the second signal.
    assert ends_with(["run"], signal.SIGHUP, signal.SIGTERM) == 0


def test_signals_are_expected_before_any_library_is_loaded() -> None:
    script = "import sys, hub.__main__; print(sorted({'typer', 'pydantic', 'asyncio'} & set(sys.modules)))"
    asked = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)

    assert asked.stdout == "[]\n"
