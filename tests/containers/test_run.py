"""What docker-compose.yml runs, without an engine: the hub as process 1 of a root that cannot be written, as nobody."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import web
from pydantic import SecretStr

from hub.amqp.connection.connection import connect
from hub.amqp.topology.installation import write_installation
from hub.config.broker import Broker
from hub.config.settings import load
from hub.local_broker.node import PrivateNode
from hub.sandbox.http_server import LocalServer
from hub.service.flows import topology_of
from hub.state.engine.migrate import head
from tests.broker.management import Management
from tests.broker.rig import depth, outsider, send
from tests.containers.cell import USER, Cell, built
from tests.eventually import eventually
from tests.ports import free_port

pytestmark = pytest.mark.broker

PROJECT = Path(__file__).parents[2]
SERVICE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"][
    "consumers"
]
QUEUE = "hub.webhook.acme"
GRACE_SECONDS = int(SERVICE["stop_grace_period"].removesuffix("s"))
MOVED = {
    "from_disposition": "rtv", "to_disposition": "rts_drop_ship", "timestamp": "2024-05-16T11:03:27Z",
    "location_identifier": "RTS-2041", "warehouse_identifier": "22", "optiturn_lp": "LPNF0093127",
    "program_identifier": "parcel_returns", "upc": "0812345678905", "from_condition": "TT", "to_condition": "N",
}  # fmt: skip


class Client:
    """A webhook client that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        app = web.Application()
        app.router.add_post("/dispositions", self._take)
        self.server = LocalServer(app)

    async def _take(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answer.wait()
        return web.Response()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    await client.server.start()
    yield client
    client.answer.set()
    await client.server.stop()


@pytest.fixture
def cell(client: Client, node: PrivateNode, broker_url: str) -> Iterator[Cell]:
    """A cell with the environment of the compose file, settings and secrets at their places, and a broker that has
    imported the definitions; the port is another one, since the network is everybody's."""
    for cell in built(SERVICE["environment"] | {"HUB_HTTP__PORT": str(free_port())}):
        cell.settings(f'[[webhooks]]\nname = "acme"\ndisposition_url = "{client.server.url}/dispositions"\n')
        management = Management(node, urlsplit(broker_url).path[1:])
        management.import_definitions(topology_of(load(cell.folder / "etc/hub/hub.toml", {})))
        cell.secret("broker_url", management.url_of("hub").get_secret_value())
        cell.secret("state_url", "sqlite+aiosqlite:////var/lib/hub/hub.db")
        yield cell


def run(cell: Cell, options: str = "") -> None:
    """Start it by the command of the compose file."""
    cell.start(*re.sub(r"\$\{HUB_RUN_OPTIONS:-\}", options, SERVICE["command"]).split())


def health(cell: Cell) -> int:
    """The exit status of the health check, as the Dockerfile has it."""
    (command,) = re.findall(
        r"^HEALTHCHECK [^[]+CMD (\[.+\])$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE
    )
    words = json.loads(command)
    assert words[0] == "python"
    port = {"HUB_HTTP__PORT": cell.environ["HUB_HTTP__PORT"]}
    return subprocess.run([sys.executable, *words[1:]], env=port, capture_output=True, check=False).returncode


async def ready(cell: Cell, broker_url: str) -> None:
    async def consuming() -> bool:
        assert cell.child is not None
        assert cell.child.poll() is None, cell.log[-2000:]
        return await consumers(broker_url) == 1

    await eventually(consuming, within=30, every=0.1, because="the hub consumes its queue")


async def consumers(broker_url: str) -> int:
    async with outsider(broker_url) as channel:
        queue = await channel.declare_queue(QUEUE, passive=True)
        return queue.declaration_result.consumer_count or 0


async def tell(broker_url: str, *ids: str) -> None:
    async with outsider(broker_url) as channel:
        for name in ids:
            await send(
                channel,
                "hub.fulfillment",
                "unit.disposition_changed",
                json.dumps(MOVED).encode(),
                message_id=name,
            )


async def drains(cell: Cell, client: Client, broker_url: str) -> None:
    """Stop the hub while it waits for the client's answer, and see that it waits for it and leaves nothing behind."""
    await tell(broker_url, "first")
    await eventually(lambda: client.asked == 1, because="the client is asked")
    cell.stop()
    await eventually(lambda: '"event":"stopping"' in cell.log.replace(" ", ""), because="it heard the signal")
    client.answer.set()

    assert await asyncio.to_thread(cell.ended, within=GRACE_SECONDS) == 0, cell.log[-2000:]
    assert client.asked == 1
    assert await depth(broker_url, QUEUE) == 0


async def test_a_container_is_nobody_works_drains_on_sigterm_and_writes_its_state_only(
    cell: Cell, client: Client, broker_url: str
) -> None:
    run(cell)
    await ready(cell, broker_url)

    status = cell.status()
    assert status["NSpid"].split()[-1] == "1"
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert cell.writable() == {"/tmp", "/var/lib/hub", "/proc", "/dev/null", "/dev/urandom"}
    assert not any(variable.startswith(("HOME=", "PATH=")) for variable in cell.environment())
    assert health(cell) == 0

    await drains(cell, client, broker_url)

    assert health(cell) == 1
    files = list(cell.state.iterdir())
    assert {file.name for file in files} == {"hub.db"}
    assert {(file.stat().st_uid, file.stat().st_mode & 0o077) for file in files} == {(USER, 0)}


async def test_a_container_refuses_an_empty_store_beside_a_marked_broker(cell: Cell, broker_url: str) -> None:
    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        topology = topology_of(load(cell.folder / "etc/hub/hub.toml", {}))
        await write_installation(connection, topology, "another")

    run(cell)

    assert await asyncio.to_thread(cell.ended, within=30) == 2
    assert "start with --accept-empty-state once" in cell.log
    assert cell.folder.joinpath("run/secrets/broker_url").read_text() not in cell.log


async def test_a_container_makes_its_tables_in_postgresql_and_works_on_them(
    postgres: Any, cell: Cell, client: Client, broker_url: str
) -> None:
    cell.secret("state_url", postgres.url)
    run(cell)
    await ready(cell, broker_url)

    await drains(cell, client, broker_url)

    assert postgres.ask("SELECT version_num FROM alembic_version") == head()
    assert postgres.ask("SELECT count(*) FROM effects") != "0"
    assert "of-the-store" not in cell.log
    assert list(cell.state.iterdir()) == []
    # The user that the hub works as owns its database and nothing else.
    assert (
        postgres.ask("SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'hub'")
        == "f"
    )
    assert (
        postgres.ask("SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'hub'")
        == "hub"
    )
    assert postgres.ask("SELECT has_database_privilege('public', 'hub', 'CONNECT')") == "f"
