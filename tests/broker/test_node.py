"""The private broker: on ports of its own, durable, alone on its folder, and gone when it should be."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import psutil
import pytest

from hub.amqp.node import BrokerNodeError, PrivateNode, find_server
from tests.eventually import eventually
from tests.settled import queues_settled

REPOSITORY = Path(__file__).parents[2]

# A hub in a process of its own: starts a node, says so, and waits to be killed.
HOLDER = """\
import asyncio, sys
from pathlib import Path
from hub.amqp.node import BrokerNodeError, PrivateNode

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


async def test_confirmed_messages_survive_a_crash_on_the_same_name_and_ports(own_node: PrivateNode) -> None:
    # The session's node may be running too: two nodes side by side are the rule here, not a case of their
    # own.
    before = (own_node.name, own_node.url, own_node.pid)
    await publish(own_node.url, "kept", b"still here")
    await queues_settled(own_node)

    await own_node.kill()
    await own_node.restart()

    assert (own_node.name, own_node.url) == before[:2]
    assert own_node.pid != before[2]
    assert await take(own_node.url, "kept") == b"still here"


async def test_a_frozen_broker_stays_connected_and_answers_after_it_was_resumed(
    own_node: PrivateNode,
) -> None:
    own_node.pause()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publish(own_node.url, "frozen", b"x"), timeout=0.3)
    finally:
        own_node.resume()

    await publish(own_node.url, "frozen", b"x")


async def test_runs_beside_another_node_and_leaves_nothing_running_after_a_clean_stop(
    node: PrivateNode, rabbitmq_server: Path, tmp_path: Path
) -> None:
    second = PrivateNode(tmp_path / "node", server=rabbitmq_server)
    us = psutil.Process()
    before = set(us.children(recursive=True))
    async with second:
        assert second.port != node.port
        assert second.name != node.name
        await publish(second.url, "mine", b"x")
        started = set(us.children(recursive=True)) - before

    # The data waits for the next start, the processes do not.
    await eventually(lambda: ended(list(started)), because="the broker, its children and its epmd have ended")
    assert (tmp_path / "node" / "node.json").exists()


@pytest.fixture
async def killed_hub(
    rabbitmq_server: Path, tmp_path: Path
) -> AsyncIterator[tuple[subprocess.Popen[str], Path]]:
    """A hub in another process, with a running node on the folder."""
    folder = tmp_path / "node"
    hub = await asyncio.to_thread(start_holder, folder)
    yield hub, folder
    hub.kill()
    hub.wait()
    if hub.stdout is not None:
        hub.stdout.close()


def start_holder(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_a_folder_in_use_is_refused_by_the_pid_of_its_holder_and_free_again_after_its_kill(
    killed_hub: tuple[subprocess.Popen[str], Path],
) -> None:
    hub, folder = killed_hub
    assert hub.stdout is not None
    broker = family(int(await asyncio.to_thread(hub.stdout.readline)))
    late = PrivateNode(folder)

    with pytest.raises(BrokerNodeError, match=rf"process {hub.pid} runs the private broker"):
        await late.start()

    assert not ended(broker)
    hub.send_signal(signal.SIGKILL)
    hub.wait()
    await eventually(lambda: ended(broker), because="a broker dies with its hub, also by kill -9")
    async with late:
        assert late.pid is not None


async def test_a_taken_port_changes_the_ports_and_not_the_name(rabbitmq_server: Path, tmp_path: Path) -> None:
    node = PrivateNode(tmp_path, server=rabbitmq_server)
    # The folder is claimed before the server is looked at, and a server that ends at once spares us a start.
    broken = PrivateNode(tmp_path, server=Path("/bin/false"))
    with pytest.raises(BrokerNodeError, match="ended with status 1 while starting"):
        await broken.start()
    name, port = broken.name, broken.port

    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen()
        async with node:
            assert node.name == name
            assert node.port != port


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hub.amqp.node.SERVER_PLACES", (tmp_path / "none",))
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
