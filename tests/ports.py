"""Ports that nobody else gets: the system gives those from 32768 on to whoever asks next, the test in the other lane too."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hub.amqp.node_claims import reserved

# Below those that the system gives away, and beside those of private brokers.
_FIRST, _LAST = 10_000, 19_999


def free_port() -> int:
    """Give a port on which nobody listens, for a server that begins later, or for none at all."""
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@contextmanager
def kept(url: str) -> Iterator[int]:
    """Keep the port of a server that has stopped: who calls it is refused. Gives the port; the server may listen again."""
    port = urlsplit(url).port
    assert port is not None
    with reserved(port, fresh=False):
        yield port
