"""A host name with several addresses, of which some are dead."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from hub.process.event_loop import ADDRESS_SECONDS, FastLoop, Loop

NAME = "several.test"


def loop_that_resolves(
    addresses: Sequence[str], *, fast: bool, seconds: float = ADDRESS_SECONDS
) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return a factory of loops whose resolver knows ``NAME`` by these addresses, and other names as always."""

    def found(port: Any) -> list[tuple[Any, ...]]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, int(port))) for address in addresses]

    class Ordinary(Loop):
        address_seconds = seconds

        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            return found(port) if host == NAME else await super().getaddrinfo(host, port, **options)

    class Fast(FastLoop):
        address_seconds = seconds

        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            return found(port) if host == NAME else await super().getaddrinfo(host, port, **options)

    return Fast if fast else Ordinary


@contextmanager
def never_answering(address: str, port: int) -> Iterator[None]:
    """Keep a port so full of connections that nobody takes that it answers no SYN any more."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(0)
        for _ in range(8):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex((address, port))
        yield
