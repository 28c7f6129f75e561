"""Connecting to what is no broker: every way in which it hangs up is a broker that is not there."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvloop
from pydantic import SecretStr

from hub.amqp.connection.connection import connect
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable

# Which of several errors the client library raises is a matter of microseconds.
_TIMES = 40


@contextmanager
def hanging_up() -> Iterator[int]:
    """Listen on a port, and close each connection at once, as a balancer does that has no broker behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["the loop of tests", "the loop of hub run"]
)
def test_a_connection_that_is_closed_without_a_word_is_a_broker_that_is_not_there(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask(port: int) -> None:
        settings = Broker(url=SecretStr(f"amqp://hub:hub@127.0.0.1:{port}/"))
        for _ in range(_TIMES):
            with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}: "):
                await connect(settings, name="test")

    with hanging_up() as port, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask(port))
