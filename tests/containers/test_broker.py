"""The broker of docker-compose.yml on a private node: its four files load, ``rabbitmq/start`` gives the passwords."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml
from pydantic import SecretStr

from hub.amqp.connection.connection import connect
from hub.amqp.topology import declare
from hub.amqp.topology.declare import State
from hub.config.broker import Broker
from hub.config.settings import load
from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.local_broker.node_files import Identity, node_environment
from hub.service.flows import topology_of
from tests.cli.conftest import EXAMPLE
from tests.eventually import eventually
from tests.nodes import running

pytestmark = pytest.mark.broker

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "rabbitmq"
SERVICE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["rabbitmq"]
USERS = ("hub", "publisher", "subscriber", "operator")

# In the place of the image's entry point, which for a user that is not root does nothing but this.
ENTRYPOINT = '#!/bin/sh\nexec "$@"\n'
# In the place of the engine: the mounted files at this node's places, with its ports and paths; then the command.
CONTAINER = """\
#!/bin/sh
set -eu
port() {{ sed -n "s/.*\\"$1\\": \\([0-9]*\\).*/\\1/p" {node}/node.json; }}
cp {files}/advanced.config {files}/enabled_plugins {node}/
sed -e "s|^listeners.tcp.default = 5672|listeners.tcp.1 = 127.0.0.1:$(port amqp)|" \\
    -e "s|^management.tcp.port = 15672|management.tcp.ip = 127.0.0.1\\nmanagement.tcp.port = $(port management)|" \\
    -e "s|^prometheus.tcp.port = 15692|prometheus.tcp.ip = 127.0.0.1\\nprometheus.tcp.port = $(port prometheus)|" \\
    -e "s|/etc/rabbitmq/|{files}/|" {files}/rabbitmq.conf >{node}/rabbitmq.conf
export PATH={folder}/bin:{server}:$PATH SECRETS={folder}/secrets RABBITMQ_DATA_DIR="$HOME"
exec {command}
"""


@dataclass(frozen=True)
class Container:
    """The running broker, and the folder with its secrets."""

    node: PrivateNode
    folder: Path
    server: Path

    def url_of(self, user: str, password: str | None = None) -> SecretStr:
        password = password or (self.folder / "secrets" / f"{user}_password").read_text()
        return SecretStr(f"amqp://{user}:{password}@127.0.0.1:{self.node.port}/")

    def port(self, listener: str) -> int:
        known = Identity.read(self.node.data_dir)
        assert known is not None
        return known.ports[listener]

    def health(self) -> int:
        """The exit status of the health check of the compose file."""
        kind, command = SERVICE["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        known = Identity.read(self.node.data_dir)
        assert known is not None
        environ = node_environment(self.node.data_dir, known)
        environ["PATH"] = f"{self.server.parent}:{environ['PATH']}"
        command = command.replace("/run/secrets", str(self.folder / "secrets"))
        return subprocess.run(["sh", "-c", command], env=environ, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def container(rabbitmq_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("container")
    for name in ("bin", "secrets"):
        (folder / name).mkdir()
    for user in USERS:
        (folder / "secrets" / f"{user}_password").write_text(f"{user}-of-the-file")
    command = " ".join(SERVICE["command"]).replace("/etc/rabbitmq/", f"{FILES}/")
    node = folder / "node"
    text = CONTAINER.format(
        files=FILES, node=node, folder=folder, server=rabbitmq_server.parent, command=command
    )
    for script, content in (("docker-entrypoint.sh", ENTRYPOINT), ("container", text)):
        (folder / "bin" / script).write_text(content)
        (folder / "bin" / script).chmod(0o755)
    plugins = ("rabbitmq_management", "rabbitmq_prometheus")
    with running(PrivateNode(node, plugins=plugins, server=folder / "bin/container")) as private:
        yield Container(private, folder, rabbitmq_server)


async def test_the_files_load_the_script_gives_the_passwords_and_the_health_check_knows(
    container: Container,
) -> None:
    await eventually(
        lambda: container.health() == 0, within=30, every=0.2, because="the container is healthy"
    )

    for user in USERS:
        async with await connect(Broker(url=container.url_of(user)), name="test"):
            pass
        with pytest.raises(BrokerUnavailable):
            await connect(Broker(url=container.url_of(user, "guessed")), name="test")
    async with await connect(Broker(url=container.url_of("hub")), name="test") as connection:
        findings = await declare.inspect(connection, topology_of(load(EXAMPLE, {})))
    assert {finding.state for finding in findings} == {State.THERE}
    with build_opener(ProxyHandler({})).open(
        f"http://127.0.0.1:{container.port('prometheus')}/metrics"
    ) as page:
        assert b"rabbitmq_queue_messages" in page.read()

    (container.folder / "secrets/hub_password").write_text("another")
    assert container.health() != 0
