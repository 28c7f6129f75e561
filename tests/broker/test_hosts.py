"""Several hosts in the broker URL: whichever answers will do, but for the first declaration all have to."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from hub.amqp.connection import close, connect, first_that_answers
from hub.amqp.supervisor import Supervisor
from hub.errors import BrokerUnavailable
from hub.topology import Topology, draw
from tests.broker.rig import POWERS, QUEUE, WAITS, broker_settings
from tests.eventually import eventually
from tests.ports import free_port


@pytest.fixture
def topology() -> Topology:
    return draw([QUEUE], WAITS, POWERS)


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
