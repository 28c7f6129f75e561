"""A private PostgreSQL for tests: own folder, own user, own loopback port, and a fresh database for each test.

It is for use like the session's broker: one server, many databases. Nothing that the machine already runs is used or
disturbed, and the server dies with the process that started it.

    python -m tests.postgres

is a server in a process of its own, one that waits for the disk as in production: each line on its standard input is
answered with the URL of a fresh database. It ends with its input.
"""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from hub.state.store import open_store
from tests.ports import free_port

# Where scripts/test-tools unpacks the server when the system has none.
UNPACKED = Path(__file__).parents[1] / ".tools" / "postgresql"
# The administrator: by password on the port, by the folder's rights on the socket.
USER = "postgres"
START_SECONDS = 30
# The server refuses to run as root; which of these there is, takes its place.
UNPRIVILEGED = ("postgres", "nobody")
# Nobody reads this data after a crash of the machine: no need to wait for the disk.
OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
DURABLE = {"max_connections": "200"}


class NoServer(Exception):
    """No PostgreSQL can be run here; the text says why."""


def programs() -> Path:
    """The folder of `initdb` and `postgres`: the system's newest, the one on the path, or the unpacked one.

    Raises:
        NoServer: there is none.
    """
    for root in (Path("/"), UNPACKED):
        versions = (root / "usr/lib/postgresql").glob("*/bin/postgres")
        found = sorted(versions, key=lambda path: int(path.parts[-3]) if path.parts[-3].isdecimal() else 0)
        if found:
            return found[-1].parent
        if on_path := shutil.which("postgres"):
            return Path(on_path).resolve().parent
    raise NoServer(
        "no PostgreSQL server is installed (package postgresql), and none was unpacked for the tests"
    )


@dataclass
class PostgresServer:
    """A server of the tests' own, in a folder that nobody else may enter."""

    folder: Path
    where: Path
    libraries: Sequence[Path] = ()
    options: Mapping[str, str] = field(default_factory=lambda: OPTIONS)
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _template: str | None = field(default=None, init=False)

    def url(self, database: str) -> str:
        """The `[state] url` of a database."""
        return f"postgresql+asyncpg://{USER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    @property
    def environ(self) -> dict[str, str]:
        """What the programs of PostgreSQL need to find it, and themselves, and their libraries."""
        found = {"PATH": f"{self.where}:{os.environ['PATH']}", "LC_ALL": "C"}
        if self.libraries:
            found["LD_LIBRARY_PATH"] = ":".join(map(str, self.libraries))
        return found | {"PGHOST": str(self.folder), "PGPORT": str(self.port)}

    def create(self) -> None:
        """Make the data folder, owned by whoever runs the server."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            user = _unprivileged()
            for path in (self.folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        auth = [f"--username={USER}", f"--pwfile={secret}", "--auth-host=scram-sha-256", "--auth-local=trust"]
        with (self.folder / "log").open("ab") as log:
            made = subprocess.run(
                self._command("initdb", "--pgdata=data", "--no-sync", "--locale=C", "--encoding=UTF8", *auth),
                **self._surroundings(),
                stdout=log,
                stderr=log,
                check=False,
            )
        if made.returncode:
            raise AssertionError(f"initdb failed: {self._last_words()}")

    def start(self) -> None:
        """Start it and return when it accepts connections; the port stays the same after the first time."""
        place = {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        options = {**self.options, **place, "unix_socket_directories": str(self.folder)}
        settings = [f"--{name}={value}" for name, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                self._command("postgres", "-D", "data", *settings),
                **self._surroundings(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._accepts():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"PostgreSQL did not start: {self._last_words()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, with all its processes; the data stays."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(START_SECONDS)
            self._server = None

    @asynccontextmanager
    async def database(self, *, migrated: bool = True) -> AsyncIterator[str]:
        """The URL of a fresh database, with the hub's tables unless told otherwise; it is dropped at the end."""
        if migrated and self._template is None:
            await self._do("CREATE DATABASE template_hub")
            await (await open_store(self.url("template_hub"))).close()
            self._template = "template_hub"
        name = f"test_{secrets.token_hex(6)}"
        template = self._template if migrated else "template1"
        await self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            await self._do(f"DROP DATABASE {name} WITH (FORCE)")

    async def _do(self, statement: str) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            database="postgres",
            timeout=20,
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _command(self, program: str, *options: str) -> Sequence[str]:
        # Ended like by `stop` when the process that started it dies.
        become = ["setpriv", "--pdeathsig=QUIT"]
        if os.geteuid() == 0:
            user = _unprivileged()
            become += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [*become, str(self.where / program), *options]

    def _surroundings(self) -> dict[str, Any]:
        return {"cwd": self.folder, "env": self.environ, "stdin": subprocess.DEVNULL}

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-1000:]

    def _accepts(self) -> bool:
        # The port opens before the server takes connections, so its own file is asked.
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


@contextmanager
def running_postgres(options: Mapping[str, str] = OPTIONS) -> Iterator[PostgresServer]:
    """A server that is gone with its folder at the end.

    Raises:
        NoServer: none can be run here.
    """
    where = programs()
    if shutil.which("setpriv") is None:
        raise NoServer("setpriv is missing (package util-linux)")
    # Not pytest's folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    libraries: Sequence[Path] = ()
    try:
        if where.is_relative_to(UNPACKED):
            # A copy: the server's user may not be able to enter the project's folder.
            root = shutil.copytree(UNPACKED, folder / "root", symlinks=True)
            where = root / where.relative_to(UNPACKED)
            libraries = [*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*")]
        server = PostgresServer(folder, where, libraries, options)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServer(
        f"PostgreSQL refuses to run as root, and there is none of the users {', '.join(UNPRIVILEGED)}"
    )


async def serve(server: PostgresServer) -> None:
    async with AsyncExitStack() as databases:
        while await asyncio.to_thread(sys.stdin.readline):
            print(await databases.enter_async_context(server.database()), flush=True)


if __name__ == "__main__":
    try:
        with running_postgres(DURABLE) as running:
            asyncio.run(serve(running))
    except NoServer as error:
        sys.exit(str(error))
