"""The private PostgreSQL, for the tests that want one; the broker comes from the suite's own fixtures."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.rig import free_port

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Postgres:
    """A server of the test's own, set up by ``postgres/create-hub`` as the container's is."""

    folder: Path
    port: int
    programs: Path

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://hub:of-the-store@127.0.0.1:{self.port}/hub"

    def ask(self, statement: str, *, user: str = "postgres", database: str = "hub") -> str:
        """What psql prints for a statement, on the socket, where the administrator needs no password."""
        told = subprocess.run(
            [
                self.programs / "psql",
                "-XAtq",
                f"--username={user}",
                f"--dbname={database}",
                f"--command={statement}",
            ],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.strip()

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "PGHOST": str(self.folder), "PGPORT": str(self.port)}


def programs() -> Path | None:
    """Where the server's programs are: the newest of Debian's, or those on the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = [str(versions[-1])] if versions else [shutil.which("postgres")]
    return Path(found[0]).parent if found[0] else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    where = programs()
    if where is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    # The server refuses to be root; its user must have a name. Not pytest's folder, which nobody else may enter.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user is not None:
        os.chown(folder, user, user)
    server = Postgres(folder, free_port(), where)

    def run(*words: str) -> None:
        subprocess.run(words, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    try:
        run(
            f"{where}/initdb",
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--no-sync",
            "data",
        )
        # Nobody reads this data again: no need to wait for the disk.
        options = f"-c listen_addresses=127.0.0.1 -p {server.port} -k {folder} -c fsync=off"
        run(f"{where}/pg_ctl", "--pgdata=data", "--log=log", f"--options={options}", "--wait", "start")
        (folder / "state_password").write_text("of-the-store")
        script = PROJECT / "postgres" / "create-hub"
        subprocess.run([script], env={**server.environ, "SECRETS": str(folder)}, check=True)
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run(f"{where}/pg_ctl", "--pgdata=data", "--mode=immediate", "--wait", "stop")
        shutil.rmtree(folder)
