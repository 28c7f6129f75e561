"""The real broker and the real PostgreSQL for every test that wants one: a private server for the session, and a fresh
virtual host or database for each test."""

import base64
import os
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from hub.local_broker.node import BrokerNodeError, PrivateNode, find_server
from hub.observability import redaction
from tests.nodes import running
from tests.postgres import NoServer, PostgresServer, running_postgres

PLUGINS = ("rabbitmq_management", "rabbitmq_shovel", "rabbitmq_shovel_management")


# What takes longest begins first, so that no worker is alone with it at the end.
LONGEST = (
    "flows/test_kills",
    "flows/test_main_job",
    "faults/test_schedules",
    "flows/",
    "cluster/",
    "broker/test_letters",
    "attacks/",
    "broker/",
    "containers/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first; the order within a file stays (xdist hands out whole files in this order)."""

    def place(item: pytest.Item) -> int:
        return next((index for index, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    """What a test makes known to redaction is gone after it: a secret of one would blank words in another."""
    known = dict(redaction._secrets)
    yield
    redaction._secrets.clear()
    redaction._secrets.update(known)
    redaction.remember()


@pytest.fixture(scope="session")
def rabbitmq_server() -> Path:
    """The server script. Without one a test is skipped at home, and fails in CI and under `make test`."""
    try:
        return find_server()
    except BrokerNodeError as missing:
        if os.environ.get("HUB_TEST_BROKER") == "required" or os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def node(rabbitmq_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    """The session's broker, one for each xdist worker, with management and shovels.

    For use, not for abuse: to stop, kill or freeze a broker there is `own_node`.
    """
    with running(
        PrivateNode(tmp_path_factory.mktemp("node"), plugins=PLUGINS, server=rabbitmq_server)
    ) as node:
        yield node


@pytest.fixture
def fresh_vhost(node: PrivateNode) -> Callable[[], AbstractContextManager[str]]:
    """Makes virtual hosts on the session's broker: `with fresh_vhost() as url`, for tests with several."""

    @contextmanager
    def fresh() -> Iterator[str]:
        name = f"test-{uuid.uuid4().hex[:12]}"
        _ask(node, "PUT", f"/api/vhosts/{name}")
        try:
            _ask(
                node,
                "PUT",
                f"/api/permissions/{name}/{node.user}",
                b'{"configure": ".*", "write": ".*", "read": ".*"}',
            )
            yield node.vhost_url(name)
        finally:
            _ask(node, "DELETE", f"/api/vhosts/{name}")

    return fresh


@pytest.fixture
def broker_url(fresh_vhost: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The AMQP URL of an empty virtual host of this test's own."""
    with fresh_vhost() as url:
        yield url


@pytest.fixture
async def own_node(rabbitmq_server: Path, tmp_path: Path) -> AsyncIterator[PrivateNode]:
    """A running broker of this test's own, without plugins, to be killed, frozen, restarted. Costs about 5 s."""
    node = PrivateNode(tmp_path / "node", server=rabbitmq_server)
    try:
        await node.start()
        yield node
    finally:
        await node.stop(grace=0)


@contextmanager
def _postgres_or_skip() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgres())
        except NoServer as missing:
            pytest.skip(str(missing))
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL, one for each xdist worker; for use, not for abuse: to stop one there is `own_postgres`."""
    with _postgres_or_skip() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL of this test's own, to be stopped and started. Costs about 2 s."""
    with _postgres_or_skip() as server:
        yield server


@pytest.fixture
async def postgresql_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """The `[state] url` of a migrated database of this test's own."""
    async with postgres.database() as url:
        yield url


def _ask(node: PrivateNode, method: str, path: str, body: bytes = b"{}") -> None:
    """One call of the management API; anything but success raises urllib's HTTPError."""
    login = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    request = urllib.request.Request(
        f"{node.management_url}{path}",
        data=body if method == "PUT" else None,
        method=method,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    # Not the machine's proxy settings: the node is on loopback.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20):
        pass
