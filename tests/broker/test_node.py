"""The private broker: on ports of its own, durable, alone on its folder, and gone when it should be."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import psutil
import pytest

from hub.local_broker.node import BrokerNodeError, PrivateNode, find_server
from tests.eventually import eventually
from tests.nodes import queues_settled, running

REPOSITORY = Path(__file__).parents[2]

# A hub in a process of its own: starts a node, says so, and waits to be killed.
HOLDER = """\
import asyncio, sys
from pathlib import Path
from hub.local_broker.node import BrokerNodeError, PrivateNode

async def main():
    node = PrivateNode(Path(sys.argv[1]))
    try:
        await node.start()
    except BrokerNodeError as error:
        sys.exit(str(error))
    print(node.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def listening_ports(pid: int) -> set[tuple[str, int]]:
    """Where a process and its children accept connections."""
    found = set()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((connection.laddr.ip, connection.laddr.port))
    return found


def family(pid: int) -> list[psutil.Process]:
    """A process and everything it started; they can be asked whether they still run after their end."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def ended(processes: list[psutil.Process]) -> bool:
    # Zombies count as ended: an orphan is reaped by the machine's init, when there is one.
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


async def publish(url: str, queue: str, body: bytes) -> None:
    """Returns when the broker has confirmed."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue, timeout=10)


async def take(url: str, queue: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        source = await channel.declare_queue(queue, passive=True)
        message = await source.get(timeout=10)
        await message.ack()
        return message.body


def test_listens_on_private_loopback_ports_only(node: PrivateNode) -> None:
    assert node.pid is not None

    listening = listening_ports(node.pid)

    assert ("127.0.0.1", node.port) in listening
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert not {port for _, port in listening} & {5672, 15672, 25672, 4369}


def test_keeps_its_credentials_to_its_owner(node: PrivateNode) -> None:
    modes = {
        path: stat.S_IMODE((node.data_dir / path).stat().st_mode)
        for path in ("node.json", "definitions.json", "home/.erlang.cookie")
    }

    assert modes == dict.fromkeys(modes, 0o600)
    assert node.user != "guest"


async def test_knows_no_guest(node: PrivateNode) -> None:
    # RabbitMQ 3.10 says it with a close of the connection, which aiormq tells in more than one way.
    with pytest.raises(aio_pika.exceptions.AMQPConnectionError):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{node.port}/")


async def test_gives_each_test_an_empty_virtual_host(broker_url: str, node: PrivateNode) -> None:
    await publish(broker_url, "only-here", b"x")

    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("only-here", passive=True)


@pytest.fixture(scope="module")
def second_node(rabbitmq_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    """A node beside the session's, to be maltreated; each test leaves it running."""
    with running(PrivateNode(tmp_path_factory.mktemp("second"), server=rabbitmq_server)) as second:
        yield second


async def test_two_nodes_run_side_by_side_and_share_nothing(
    node: PrivateNode, second_node: PrivateNode
) -> None:
    assert node.pid is not None
    assert second_node.pid is not None

    assert node.name != second_node.name
    assert not listening_ports(node.pid) & listening_ports(second_node.pid)
    with pytest.raises(aio_pika.exceptions.AMQPConnectionError):
        await aio_pika.connect(f"amqp://{node.user}:{node.password}@127.0.0.1:{second_node.port}/")


async def test_confirmed_messages_survive_a_crash_on_the_same_name_and_ports(
    second_node: PrivateNode,
) -> None:
    name, url, pid = second_node.name, second_node.url, second_node.pid
    await publish(url, "kept", b"still here")
    await queues_settled(second_node)

    await second_node.kill()
    await second_node.restart()

    assert (second_node.name, second_node.url) == (name, url)
    assert second_node.pid != pid
    assert await take(url, "kept") == b"still here"


def _thread_states(node: PrivateNode) -> set[str]:
    """The kernel's letters for what the threads of a broker do: T is stopped."""
    threads = Path(f"/proc/{node.pid}/task").iterdir()
    return {(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads}


async def test_a_broker_stands_still_when_its_pause_returns_each_time(second_node: PrivateNode) -> None:
    for _ in range(100):
        second_node.pause()
        try:
            assert _thread_states(second_node) == {"T"}
        finally:
            second_node.resume()


async def test_a_frozen_broker_does_not_answer_and_goes_on_when_resumed(second_node: PrivateNode) -> None:
    second_node.pause()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publish(second_node.url, "frozen", b"x"), timeout=0.3)
    finally:
        second_node.resume()

    await publish(second_node.url, "frozen", b"x")


@pytest.fixture
def other_hub(rabbitmq_server: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A hub in another process that starts a node on `tmp_path / "node"` and prints the broker's pid."""
    hub = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "node")],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with hub:
        yield hub
        hub.kill()


async def test_a_folder_has_one_holder_and_outlives_it(
    other_hub: subprocess.Popen[str], tmp_path: Path
) -> None:
    # One story, because each of its starts takes seconds.
    assert other_hub.stdout is not None
    orphans = family(int(await asyncio.to_thread(other_hub.stdout.readline)))
    mine = PrivateNode(tmp_path / "node")

    # In use: refused, with the pid of the holder.
    with pytest.raises(BrokerNodeError, match=rf"process {other_hub.pid} runs the private broker"):
        await mine.start()
    assert not ended(orphans)

    # The holder is killed: its broker dies with it, and the folder is free.
    other_hub.kill()
    await eventually(lambda: ended(orphans), because="a broker dies with its hub, also by kill -9")

    # Somebody took the port meanwhile: other ports, the same name, hence the same data.
    before = json.loads((tmp_path / "node" / "node.json").read_text())
    us = psutil.Process()
    earlier = set(us.children(recursive=True))
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", before["ports"]["amqp"]))
        thief.listen()
        async with mine:
            assert mine.name == before["name"]
            assert mine.port != before["ports"]["amqp"]
            await publish(mine.url, "works", b"x")
            started = set(us.children(recursive=True)) - earlier

    # A clean stop leaves nothing running: neither broker nor epmd nor their children.
    assert len(started) > 2
    await eventually(lambda: ended(list(started)), because="everything that the node started has ended")


async def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\necho no room for mnesia\nexit 3\n")
    server.chmod(0o755)

    with pytest.raises(BrokerNodeError, match=r"ended with status 3 while starting[\s\S]*no room for mnesia"):
        await PrivateNode(tmp_path / "node", server=server).start()


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hub.local_broker.node_process.SERVER_PLACES", (tmp_path / "none",))
    monkeypatch.delenv("HUB_RABBITMQ_SERVER", raising=False)

    with pytest.raises(BrokerNodeError, match="install the package rabbitmq-server"):
        find_server()


def test_a_named_server_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUB_RABBITMQ_SERVER", str(tmp_path / "absent"))

    with pytest.raises(BrokerNodeError, match="HUB_RABBITMQ_SERVER"):
        find_server()


async def test_a_damaged_identity_is_named_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text("{")

    with pytest.raises(BrokerNodeError, match=r"node\.json is damaged"):
        await PrivateNode(tmp_path, server=Path("/bin/false")).start()

    assert (tmp_path / "node.json").read_text() == "{"


async def test_a_broker_that_dies_unasked_is_noticed_and_comes_back_under_the_same_address(
    own_node: PrivateNode,
) -> None:
    url = own_node.url
    assert own_node.pid is not None
    assert not own_node.has_died

    os.kill(own_node.pid, signal.SIGKILL)
    await eventually(lambda: own_node.has_died)
    await own_node.restart(grace=0)

    assert not own_node.has_died
    assert own_node.url == url
