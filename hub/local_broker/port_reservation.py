"""What a private node claims of the machine: its data folder by a lock, its ports by placeholders.

Called by `hub.local_broker.node` only. Claims go on an `ExitStack` and end when it is closed, or with the process.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hub.errors import HubError
from hub.local_broker.node_files import LISTENERS

# Below the range from which the system takes ports for outgoing connections (32768 on Linux), so that no such
# connection sits on a remembered port tomorrow.
FIRST_PORT, LAST_PORT = 20_000, 29_999

# How long a broker may take to die after its hub was killed: it dies at once, but it has files to close.
ENDING_SECONDS = 5
RETRY_SECONDS = 0.05

# Draws from ten thousand ports until five are free; only a machine without any would need all of them.
DRAWS = 500


class BrokerNodeError(HubError):
    """The private broker could not be started; the text says what to do."""


async def lock_folder(folder: Path, owned: contextlib.ExitStack) -> int:
    """Take the folder's lock and return its descriptor, which the broker is to inherit.

    Held by both, the lock tells the truth also in the moment between a killed hub's death and its broker's.

    Raises:
        BrokerNodeError: another process has it; the text names its pid.
    """
    fd = os.open(folder / "node.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    owned.callback(os.close, fd)
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode().strip()
            # No holder, or one that is gone: its broker is just ending.
            if _runs(holder) or time.monotonic() > deadline:
                raise BrokerNodeError(
                    f"process {holder or 'unknown'} runs the private broker of {folder}: "
                    "end it, or choose another data folder"
                ) from None
            await asyncio.sleep(RETRY_SECONDS)
        else:
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            owned.callback(os.ftruncate, fd, 0)
            return fd


@contextlib.contextmanager
def reserved(port: int, *, fresh: bool) -> Iterator[None]:
    """Keep a port from everyone but the broker: bound, and never listening.

    Linux lets the broker listen on it because both sockets say SO_REUSEADDR. A fresh port is bound without it
    first, so that another reservation is noticed; a remembered one may have connections in TIME_WAIT and is bound
    with it.

    Raises:
        OSError: somebody else has the port.
    """
    with socket.socket() as placeholder:
        if not fresh:
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        placeholder.bind(("127.0.0.1", port))
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield


def reserve_ports(ports: Mapping[str, int], owned: contextlib.ExitStack) -> bool:
    """Reserve remembered ports, all or none; False when somebody else has one of them."""
    with contextlib.ExitStack() as taken:
        try:
            for port in ports.values():
                taken.enter_context(reserved(port, fresh=False))
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE:
                raise
            return False
        owned.push(taken.pop_all())
    return True


def reserve_new_ports(owned: contextlib.ExitStack) -> dict[str, int]:
    """Reserve a free port for every listener.

    Raises:
        BrokerNodeError: the machine has none left.
    """
    ports: dict[str, int] = {}
    for _ in range(DRAWS):
        if len(ports) == len(LISTENERS):
            return ports
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        with contextlib.suppress(OSError):
            owned.enter_context(reserved(port, fresh=True))
            ports[LISTENERS[len(ports)]] = port
    raise BrokerNodeError(f"found no free ports on 127.0.0.1 between {FIRST_PORT} and {LAST_PORT}")


def _runs(pid: str) -> bool:
    return pid.isdecimal() and Path("/proc", pid).exists()
