"""Lines reach a reader in their order, and a reader that is slow, stuck or gone stops nobody."""

import os
import threading
from collections.abc import Iterator

import pytest

from hub.observability.log_lines import LineWriter


class Heard:
    """Counts what the writer says of dropped lines."""

    def __init__(self) -> None:
        self.dropped = 0
        self.again: list[int] = []
        self.is_again = threading.Event()

    def drop(self, lines: int) -> None:
        self.dropped += lines

    def say_again(self, lines: int) -> None:
        self.again.append(lines)
        self.is_again.set()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def fill(writer: int) -> int:
    """Write until the pipe takes no more; return how many bytes that were."""
    os.set_blocking(writer, False)
    written = 0
    try:
        while True:
            written += os.write(writer, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
        return written


def read_all(reader: int) -> bytes:
    found = b""
    while chunk := os.read(reader, 65536):
        found += chunk
    return found


def test_lines_are_written_in_their_order_and_all_of_them_at_the_end(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    heard = Heard()
    lines = LineWriter(writer, on_dropped=heard.drop, on_again=heard.say_again)

    for number in range(1000):
        lines.put(f"line {number} café")
    lines.close()
    os.close(writer)

    assert read_all(reader).decode().split("\n") == [*(f"line {number} café" for number in range(1000)), ""]
    assert heard.dropped == 0


@pytest.mark.parametrize("blocks", [True, False])
def test_a_reader_that_stops_costs_lines_that_are_counted_and_said(
    pipe: tuple[int, int], blocks: bool
) -> None:
    reader, writer = pipe
    heard = Heard()
    filled = fill(writer)
    os.set_blocking(writer, blocks)
    lines = LineWriter(writer, on_dropped=heard.drop, on_again=heard.say_again, most_characters=1000)

    for _ in range(1000):
        lines.put("x" * 100)
    dropped = heard.dropped
    while filled:
        filled -= len(os.read(reader, filled))
    assert heard.is_again.wait(30)
    lines.close()
    os.close(writer)

    # Ten wait, and at most ten more are on their way to the reader.
    assert 980 <= dropped <= 990
    assert read_all(reader).count(b"\n") == 1000 - dropped
    assert sum(heard.again) == heard.dropped == dropped


def test_the_end_does_not_wait_for_a_reader_that_is_stuck(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    heard = Heard()
    fill(writer)
    lines = LineWriter(writer, on_dropped=heard.drop, on_again=heard.say_again)
    lines.put("late")
    closing = threading.Thread(target=lines.close, args=(0.05,))

    closing.start()
    closing.join(10)

    assert not closing.is_alive()


def test_a_reader_that_has_gone_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    heard = Heard()
    os.close(reader)
    lines = LineWriter(writer, on_dropped=heard.drop, on_again=heard.say_again)

    for _ in range(10):
        lines.put("unheard")
    lines.close()
    lines.put("after the end")

    assert heard.dropped == 11
    assert heard.again == []
