"""What a container gives the hub, made without an engine: a root of its own that cannot be written, secrets as files at
their places, a state folder, `/tmp`, no capabilities, no home, the image's user, and process number 1.

Only root may make one (namespaces and mounts); the network is the machine's, so that the test's broker can be reached.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# The user of the Dockerfile.
USER = 10001
PYTHON = f"{os.path.realpath(sys.prefix)}/bin/python"

# Run by bash, as root, in new mount and process namespaces. $1 is the cell's folder; the paths after it are bound as
# they are. What is on the new root is what the image has, and nothing else of this machine.
MAKE_ROOT = r"""
set -eu
cell=$1 root=$1/root
shift
mount -t tmpfs -o mode=755 tmpfs "$root"
for top in bin sbin lib lib64; do
    if [ -L "/$top" ]; then cp -P "/$top" "$root/$top"; elif [ -d "/$top" ]; then set -- "/$top" "$@"; fi
done
# Before the paths: a checkout may lie in /tmp.
mkdir "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for path in /usr "$@"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
done
mkdir -p "$root"/{dev,proc,etc/hub,run/secrets,var/lib/hub}
cp /etc/hosts /etc/nsswitch.conf /etc/ld.so.cache "$root/etc/"
echo 'hub:x:10001:10001::/var/lib/hub:/usr/sbin/nologin' >"$root/etc/passwd"
for device in null urandom; do touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -t proc proc "$root/proc"
mount --bind "$cell/state" "$root/var/lib/hub"
for place in run/secrets etc/hub; do
    mount --bind "$cell/$place" "$root/$place"
    mount -o remount,bind,ro "$root/$place"
done
mount -o remount,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all /usr/bin/env --chdir=/var/lib/hub --ignore-environment "${environment[@]}" "${command[@]}"
"""


@dataclass
class Cell:
    """One container in all but name: files first, then `start`."""

    folder: Path
    environ: dict[str, str]
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def secret(self, name: str, value: str) -> None:
        self._file(f"run/secrets/{name}", value)

    def settings(self, text: str) -> None:
        self._file("etc/hub/hub.toml", text)

    def _file(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o444)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self, *words: str) -> None:
        """Run `hub` with these words as process 1 of the cell."""
        arrays = _array("environment", [f"{name}={value}" for name, value in self.environ.items()])
        arrays += _array("command", [PYTHON, "-m", "hub", *words])
        inside = [os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix), str(PROJECT)]
        needed = [path for path in dict.fromkeys(inside) if not path.startswith("/usr/")]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(
                [*NAMESPACES, "bash", "-c", arrays + MAKE_ROOT, "cell", str(self.folder), *needed],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """The number that the machine knows the cell's process 1 by."""
        assert self.child is not None
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return int(children[0])

    def status(self) -> dict[str, str]:
        """What the kernel says of process 1: numbers, users, capabilities."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def writable(self) -> set[str]:
        """Where something can be written, as process 1 sees it."""
        lines = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        return {line[4] for line in lines if "rw" in line[5].split(",")}

    def environment(self) -> list[str]:
        """The variables that process 1 was given."""
        return Path(f"/proc/{self.pid}/environ").read_text().split("\0")

    def stop(self) -> None:
        """What `docker stop` does first."""
        os.kill(self.pid, signal.SIGTERM)

    def ended(self, *, within: float) -> int:
        assert self.child is not None
        return self.child.wait(within)

    def destroy(self) -> None:
        if self.child is not None and self.child.poll() is None:
            # The end of process 1 is the end of everything in there.
            os.kill(self.pid, signal.SIGKILL)
            self.child.wait()
        shutil.rmtree(self.folder)


NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")


def why_not() -> str | None:
    """Say why no cell can be made here, or nothing."""
    if os.geteuid() != 0:
        return "only root can become the image's user; run the tests as root to see this one"
    if not all(shutil.which(tool) for tool in ("unshare", "setpriv", "chroot")):
        return "unshare, setpriv or chroot is missing (packages util-linux and coreutils)"
    tried = subprocess.run(
        [*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
    )
    return f"no mounts in a namespace of one's own here: {tried.stderr.strip()}" if tried.returncode else None


def built(environ: Mapping[str, str]) -> Iterator[Cell]:
    """Make a cell; it is gone when the iterator is closed."""
    if reason := why_not():
        pytest.skip(reason)
    # Not pytest's folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="cell-"))
    folder.chmod(0o755)
    for name in ("root", "run/secrets", "etc/hub", "state"):
        (folder / name).mkdir(parents=True)
    os.chown(folder / "state", USER, USER)
    (folder / "state").chmod(0o700)
    image = {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    cell = Cell(folder, {**image, **environ})
    try:
        yield cell
    finally:
        cell.destroy()


def _array(name: str, values: list[str]) -> str:
    quoted = " ".join("'" + value.replace("'", "'\\''") + "'" for value in values)
    return f"{name}=({quoted})\n"
