"""The private PostgreSQL as the containers have it; the server, like the broker, is the session's."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import PostgresServer

PROJECT = Path(__file__).parents[2]
PASSWORD = "of-the-store"


@dataclass(frozen=True)
class Postgres:
    """The session's server, set up by ``postgres/create-hub`` as the container's is."""

    server: PostgresServer

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://hub:{PASSWORD}@127.0.0.1:{self.server.port}/hub"

    @property
    def environ(self) -> dict[str, str]:
        return self.server.environ

    def ask(self, statement: str, *, user: str = "postgres", database: str = "hub") -> str:
        """What psql prints for a statement, on the socket, where nobody needs a password."""
        told = subprocess.run(
            ["psql", "-XAtq", f"--username={user}", f"--dbname={database}", f"--command={statement}"],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.strip()


@pytest.fixture(scope="session")
def postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "state_password").write_text(PASSWORD)
    environ = {**postgres.environ, "SECRETS": str(secrets)}
    subprocess.run([PROJECT / "postgres" / "create-hub"], env=environ, check=True)
    return Postgres(postgres)
