"""Ports that nobody else gets: the system gives those from 32768 on to whoever asks next, the test in the other lane too."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hub.local_broker.port_reservation import reserved

# Below those that the system gives away, and beside those of private brokers.
_FIRST, _LAST = 10_000, 19_999


# One was drawn by two lanes in the seconds before either listened.
_given: set[int] = set()


def lane(worker: str, workers: str) -> range:
    """Give the ports of one lane of a run, as pytest-xdist names it (``gw0``) and counts them: all where there is none."""
    number, lanes = int(worker.removeprefix("gw") or 0), int(workers or 1)
    width = (_LAST - _FIRST + 1) // lanes
    return range(_FIRST + number * width, _FIRST + (number + 1) * width)


def free_port() -> int:
    """Give a port on which nobody listens, for a server that begins later, or for none at all; each one once."""
    ports = lane(os.environ.get("PYTEST_XDIST_WORKER", ""), os.environ.get("PYTEST_XDIST_WORKER_COUNT", ""))
    while True:
        port = secrets.choice(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


@contextmanager
def kept(url: str) -> Iterator[int]:
    """Keep the port of a server that has stopped: who calls it is refused. Gives the port; the server may listen again."""
    port = urlsplit(url).port
    assert port is not None
    with reserved(port, fresh=False):
        yield port
