"""A holder is known to be dead only when that is certain."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hub.state.process_identity import describe, is_gone, this_process


def test_this_process_is_alive_and_always_named_alike() -> None:
    assert this_process() == this_process()
    assert not is_gone(this_process())
    assert not is_gone(f"{this_process()}#a-task")


def test_a_process_that_ended_is_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from hub.state.process_identity import this_process; print(this_process())"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()

    assert is_gone(ended)
    assert is_gone(f"{ended}#a-task")


def test_a_process_that_nobody_waited_for_is_gone() -> None:
    host, _, _ = this_process().rsplit(":", 2)
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)

        assert is_gone(f"{host}:{zombie.pid}:")


def test_a_process_id_that_was_given_to_another_process_is_gone() -> None:
    host, pid, start = this_process().rsplit(":", 2)

    assert is_gone(f"{host}:{pid}:{int(start) - 1}")


@pytest.mark.parametrize("text", ["", "x", "a:b:c", "elsewhere/0/0:999999999:1", "#", ":::"])
def test_what_is_not_of_this_host_is_not_known_to_be_gone(text: str) -> None:
    assert not is_gone(text)


def test_a_huge_process_id_is_gone_and_none_is_not() -> None:
    host, _, _ = this_process().rsplit(":", 2)

    assert is_gone(f"{host}:99999999999999999999:1")
    assert not is_gone(f"{host}:0:1")
    assert not is_gone(f"{host}:-1:1")


def test_a_holder_is_described_in_words() -> None:
    assert describe("web-1/68a4/40265:4711:9#t") == "process 4711 on web-1"
    assert describe("somebody") == "somebody"
