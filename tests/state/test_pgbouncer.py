"""A pgbouncer that gives each transaction another server process: the store works there, or says what is missing."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.state.store import open_store
from tests.eventually import eventually
from tests.ports import free_port
from tests.postgres import PostgresServer

UNPACKED = Path(__file__).parents[2] / ".tools/pgbouncer"


def program() -> str | None:
    """The pgbouncer of the system, else the one that scripts/test-tools has unpacked."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=str(UNPACKED / "usr/sbin"))


@contextmanager
def bouncing(postgres: PostgresServer) -> Iterator[int]:
    """Run a pgbouncer before the server; gives its port."""
    found = program()
    if found is None or shutil.which("setpriv") is None:
        pytest.skip("expected pgbouncer and setpriv, found not both; scripts/test-tools fetches the first")
    # Not pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        copy = Path(shutil.copy(found, folder / "pgbouncer"))
        settings = f"""
            [databases]
            * = host=127.0.0.1 port={postgres.port} user=postgres password={postgres.password}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            server_round_robin = 1
            default_pool_size = 3
        """
        (folder / "ini").write_text("\n".join(line.strip() for line in settings.splitlines()))
        for libraries in UNPACKED.glob("usr/lib/*-linux-gnu"):
            shutil.copytree(libraries, folder / "lib", dirs_exist_ok=True)
        become = []
        if os.geteuid() == 0:
            # It refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            become = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *become, copy, "--quiet", folder / "ini"],
            env={"LD_LIBRARY_PATH": str(folder / "lib")},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield port
        finally:
            process.kill()
            process.wait()


@pytest.fixture
async def through_pgbouncer(postgres: PostgresServer) -> AsyncIterator[str]:
    """The URL of a fresh database, without tables, behind a pgbouncer of the test's own."""
    async with postgres.database(migrated=False) as url:
        with bouncing(postgres) as port:
            await eventually(lambda: listens(port), because="pgbouncer listens")
            yield url.replace(f":{postgres.port}/", f":{port}/")


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_the_store_works_where_each_transaction_has_another_server(through_pgbouncer: str) -> None:
    stores = [await open_store(f"{through_pgbouncer}?pgbouncer=true") for _ in range(2)]
    try:
        for number in range(20):
            await asyncio.gather(
                *(
                    store.tell("test", f"{place}-{number}", {"n": number})
                    for place, store in enumerate(stores)
                ),
                *(store.told("test", "0-0") for store in stores),
            )
        await stores[0].check()

        assert await stores[1].told("test", "0-19") == {"n": 19}
    finally:
        for store in stores:
            await store.close()


async def test_a_pgbouncer_that_the_address_does_not_name_is_refused(through_pgbouncer: str) -> None:
    with pytest.raises(ConfigError, match=r"is a pgbouncer: add \?pgbouncer=true"):
        await open_store(through_pgbouncer)


async def test_the_word_for_a_pgbouncer_is_true_or_false() -> None:
    with pytest.raises(ConfigError, match="pgbouncer: expected true or false"):
        await open_store("postgresql+asyncpg://localhost/hub?pgbouncer=yes")
