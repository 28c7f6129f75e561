"""The port of a server that is away is nobody else's."""

import socket

import pytest
from aiohttp import web

from hub.sandbox.http_server import LocalServer
from tests.ports import free_port, kept, lane


async def test_the_port_of_a_server_that_is_away_refuses_calls_goes_to_nobody_and_back_to_the_server() -> (
    None
):
    server = LocalServer(web.Application())
    await server.start()
    await server.stop()

    with kept(server.url) as port:
        with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", port))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        await server.start(port=port)

    with socket.create_connection(("127.0.0.1", port), timeout=5):
        await server.stop()


def test_a_free_port_is_none_that_the_system_gives_to_whoever_asks_next() -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as given:
        first = int(given.read().split()[0])

    assert free_port() < first


def test_lanes_of_a_run_share_no_port() -> None:
    first, second = lane("gw0", "2"), lane("gw1", "2")

    assert not set(first) & set(second)
    assert {*first, *second} == set(lane("", ""))


def test_no_port_is_given_twice() -> None:
    given = [free_port() for _ in range(300)]

    assert len(set(given)) == len(given)
