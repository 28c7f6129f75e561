"""What a long-lived process stands on; in a process of its own, since it is for good."""

import subprocess
import sys

_SCRIPT = """
import asyncio, gc
from hub.process.lifecycle import run_long

async def main():
    loop = type(asyncio.get_running_loop())
    print(loop.__base__.__module__, gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 700)
    return 3

print(run_long(main()))
"""


def test_a_long_lived_process_runs_on_uvloop_and_keeps_what_is_loaded_from_the_garbage_collector() -> None:
    asked = subprocess.run([sys.executable, "-c", _SCRIPT], stdout=subprocess.PIPE, text=True, check=True)

    assert asked.stdout.split("\n") == ["uvloop True True", "3", ""]
