"""Several hosts in the broker URL: whichever answers will do, but for the first declaration all have to."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from yarl import URL

from hub.amqp.connection.connection import close, connect, first_that_answers
from hub.amqp.supervisor import Supervisor
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.topology import Topology, draw
from tests.broker.management import Management
from tests.broker.rig import LADDER_POWERS, QUEUE, WAITS, broker_settings
from tests.eventually import eventually
from tests.ports import free_port


@pytest.fixture
def topology() -> Topology:
    return draw([QUEUE], WAITS, LADDER_POWERS)


@pytest.fixture
def frozen() -> Iterator[str]:
    """The address of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"amqp://hub:hub@127.0.0.1:{server.getsockname()[1]}/"


@pytest.fixture
def absent() -> str:
    return f"amqp://hub:hub@127.0.0.1:{free_port()}/"


async def test_a_host_that_answers_is_found_behind_those_that_do_not(
    broker_url: str, absent: str, frozen: str
) -> None:
    settings = broker_settings(f"{absent}, {broker_url},{frozen}")

    await close(await first_that_answers([absent, frozen, broker_url], settings, name="test"))
    await close(await connect(settings, name="test"))


async def test_all_hosts_are_tried_each_time_and_not_always_in_the_same_order(absent: str) -> None:
    settings = broker_settings(f"{absent},amqp://hub:hub@localhost:{free_port()}/")
    orders: set[tuple[str, ...]] = set()

    async def ask() -> bool:
        with pytest.raises(BrokerUnavailable) as refused:
            await connect(settings, name="test")
        orders.add(tuple(re.findall(r"(?:^|; )(127\.0\.0\.1|localhost):", str(refused.value))))
        return len(orders) == 2

    await eventually(ask)

    assert orders == {("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")}


async def test_when_no_host_answers_each_is_named_with_its_reason(absent: str) -> None:
    other = f"amqp://hub:hub@localhost:{free_port()}/"

    with pytest.raises(BrokerUnavailable) as refused:
        await connect(broker_settings(f"{absent},{other}"), name="test")

    assert "127.0.0.1:" in str(refused.value)
    assert "localhost:" in str(refused.value)
    assert "hub:hub" not in str(refused.value)


async def test_a_missing_vhost_is_said_in_the_words_of_the_broker(node: PrivateNode) -> None:
    with pytest.raises(BrokerUnavailable, match=r"NOT_ALLOWED.*vhost.* not found"):
        await connect(broker_settings(node.vhost_url("nowhere")), name="test")


async def test_a_refused_login_is_said_in_the_words_of_the_broker(node: PrivateNode) -> None:
    url = str(URL(node.url).with_password("guessed"))

    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED"):
        await connect(broker_settings(url), name="test")


async def test_a_limit_of_a_user_is_said_in_the_words_of_the_broker(
    node: PrivateNode, broker_url: str
) -> None:
    management = Management(node, unquote(urlsplit(broker_url).path[1:]))
    name = f"limited-{management.vhost}"
    url = str(URL(broker_url).with_user(name).with_password("secret"))
    rights = {"configure": "", "write": "", "read": ""}
    await asyncio.to_thread(management.ask, "PUT", f"users/{name}", {"password": "secret", "tags": ""})
    await asyncio.to_thread(management.ask, "PUT", f"permissions/{management.vhost}/{name}", rights)
    await asyncio.to_thread(management.ask, "PUT", f"user-limits/{name}/max-connections", {"value": 0})

    with pytest.raises(BrokerUnavailable, match=r"NOT_ALLOWED.*limit"):
        await connect(broker_settings(url), name="test")
    await asyncio.to_thread(management.ask, "DELETE", f"users/{name}")


async def test_a_password_in_a_file_is_read_anew_for_each_connection(
    node: PrivateNode, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_text(str(URL(node.url).with_password("rotated-away")))
    settings = Broker.model_validate({"url_file": str(file)})
    with pytest.raises(BrokerUnavailable):
        await connect(settings, name="test")

    file.write_text(node.url)

    await close(await connect(settings, name="test"))


async def test_a_file_without_an_address_is_named_and_not_quoted(node: PrivateNode, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(node.url)
    settings = Broker.model_validate({"url_file": str(file)})

    file.write_text("s3cret")

    with pytest.raises(BrokerUnavailable, match=r"broker\.url_file: ") as refused:
        await connect(settings, name="test")
    assert "s3cret" not in str(refused.value)


async def test_queues_are_not_declared_on_a_part_of_a_new_cluster(
    fresh_vhost: Callable[[], AbstractContextManager[str]], topology: Topology, absent: str
) -> None:
    with fresh_vhost() as url:
        partly = Supervisor(broker_settings(f"{url},{absent}"), topology)
        waiting = asyncio.create_task(partly.run())
        await eventually(lambda: "take it out of broker.url" in partly.last_error)
        said = partly.last_error
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        for hosts in (url, f"{url},{absent}"):
            supervisor = Supervisor(broker_settings(hosts), topology)
            running = asyncio.create_task(supervisor.run())
            async with asyncio.timeout(20):
                await supervisor.wait_until_up()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert absent.rpartition("@")[2].strip("/") in said
