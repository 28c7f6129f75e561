"""Who holds a lease or a claim: a name for this process that others can check for life.

A holder reads ``<host>:<pid>:<start time>``. The host is the host name with the boot id and the pid namespace, so
that a process id of another container or of before the last boot is never taken for one of ours; the start time
tells a process from a later one that was given the same id. A caller that needs to be told apart from its
neighbors in the same process may append ``#<anything>``.

It does not decide about leases and claims; ``hub.state.sql.processes`` does.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Enough of the boot id to tell two boots of one host apart, and short enough to read in a table.
_BOOT_ID_LENGTH = 8

# Fields of /proc/<pid>/stat after the command: the state is field 3, the start time (clock ticks) is field 22.
_STATE = 0
_START_TIME = 19


def this_process() -> str:
    """Return the holder that names this process; the same text for as long as it lives."""
    pid = os.getpid()
    return f"{_this_host()}:{pid}:{_started(pid)}"


def process_of(holder: str) -> str:
    """Return the holder that names the process, without what tells neighbors in it apart."""
    return holder.partition("#")[0]


def is_gone(holder: str) -> bool:
    """Whether the holder is certainly dead: a process of this host that ended, or whose id now is another's.

    False whenever this cannot be known: other hosts, other containers, texts that are no holder.
    """
    host, pid, start = _parts(holder)
    if host != _this_host() or not pid.isdecimal() or int(pid) < 1:
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # alive, and somebody else's
    now = _started(int(pid))
    return _is_zombie(int(pid)) or bool(start and now and start != now)


def describe(holder: str) -> str:
    """Return the holder in words, for messages: ``process 4711 on web-1``."""
    host, pid, _ = _parts(holder)
    return f"process {pid} on {host.partition('/')[0]}" if pid else holder


def _parts(holder: str) -> tuple[str, str, str]:
    parts = process_of(holder).rsplit(":", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (holder, "", "")


def _this_host() -> str:
    boot_id = _read("/proc/sys/kernel/random/boot_id").strip()[:_BOOT_ID_LENGTH]
    try:
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{boot_id}/{namespace}"


def _started(pid: int) -> str:
    return _stat_field(pid, _START_TIME)


def _is_zombie(pid: int) -> bool:
    return _stat_field(pid, _STATE) in ("Z", "X")


def _stat_field(pid: int, field: int) -> str:
    # The command (field 2) is in parentheses and may itself contain blanks and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[field] if len(fields) > field else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
