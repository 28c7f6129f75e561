"""The programs of a private node, found and run as children that die with us. Called by ``hub.local_broker.node``."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from hub.local_broker.port_reservation import BrokerNodeError

SERVER_PLACES = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path("/opt/rabbitmq/sbin/rabbitmq-server"))
"""The server scripts of Debian's package and of the official image; `scripts/install` looks there too.

Never Debian's /usr/sbin/rabbitmq-server: that wrapper changes the user and the folder.
"""

# What a child executes before it becomes the broker or epmd: it asks the kernel to be killed when its parent
# dies, so that a `kill -9` of the hub leaves nothing running. The data stands a kill; a pid file with a
# search for survivors at the next start would leave them running until then. Not a preexec_fn: that may
# deadlock in a process with threads.
LEASH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):  # the parent was gone before we asked
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """The RabbitMQ server script to run: HUB_RABBITMQ_SERVER, or the installed one.

    Raises:
        BrokerNodeError: none is there; the message says what to install.
    """
    if named := os.environ.get("HUB_RABBITMQ_SERVER"):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise BrokerNodeError(f"HUB_RABBITMQ_SERVER names {named}, which is not an executable file")
        return Path(named)
    for place in SERVER_PLACES:
        if os.access(place, os.X_OK):
            return place
    raise BrokerNodeError(
        "RabbitMQ is not installed: run `make install` as root, or install the package rabbitmq-server, "
        "or set HUB_RABBITMQ_SERVER to a server script, or [broker] url to a running broker"
    )


def find_epmd() -> Path:
    """Return Erlang's port mapper; raises ``BrokerNodeError`` if there is none."""
    for place in (shutil.which("epmd"), "/usr/lib/erlang/bin/epmd", "/opt/erlang/bin/epmd"):
        if place is not None and os.access(place, os.X_OK):
            return Path(place)
    raise BrokerNodeError("Erlang's epmd is not on the PATH: install the package erlang-base")


def spawn(
    command: list[str], env: dict[str, str], log: Path, keep: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a child that dies with us, in a session of its own so that Ctrl-C is ours alone.

    Args:
        command: a program by its path, and its arguments.
        env: its whole environment.
        log: its output is appended here.
        keep: a file descriptor that the child holds open too.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), *command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=() if keep is None else (keep,),
        )


def kill(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL and reap; takes hundredths of a second, so it may block the loop."""
    child.kill()
    child.wait()


def accepts(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
