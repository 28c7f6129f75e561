"""Event loops that try the addresses of a host name side by side (RFC 8305, "Happy Eyeballs").

The client libraries of broker and PostgreSQL connect by ``create_connection``, which tries one address after the other:
one that never answers would use up all the time there is. aiohttp does the same for itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

# How long an address is tried alone before the next is tried beside it; what RFC 8305 recommends.
_HEAD_START_SECONDS = 0.25
# One address: the second repetition of a lost SYN (after 1 s and 3 s) still arrives. Less than the share that one of
# several brokers has, so that its error names the addresses.
ADDRESS_SECONDS = 4.0
# What says how the connection is used once it is there; with any other option the library's own way is taken.
_HANDLED = frozenset({"ssl", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"})

_Found = Sequence[tuple[int, int, int, str, Any]]


class Loop(asyncio.SelectorEventLoop):
    """The loop of commands that end soon; ``address_seconds`` is how long one address may take to answer."""

    address_seconds = ADDRESS_SECONDS

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Connect to the first address of `host` that answers.

        Raises:
            OSError: no address does, or there is none; names each with its reason.
        """
        if not _is_name(host, options):
            return await super().create_connection(protocol_factory, host, port, **options)
        found = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        connected = await _first_to_connect(found, self.address_seconds)
        return await _on_socket(super().create_connection, protocol_factory, host, connected, options)


class FastLoop(uvloop.Loop):
    """The loop of processes that stay, by uvloop; ``address_seconds`` is how long one address may take to answer."""

    address_seconds = ADDRESS_SECONDS

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Connect to the first address of `host` that answers.

        Raises:
            OSError: no address does, or there is none; names each with its reason.
        """
        if not _is_name(host, options):
            return await super().create_connection(protocol_factory, host, port, **options)
        found = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        connected = await _first_to_connect(found, self.address_seconds)
        return await _on_socket(super().create_connection, protocol_factory, host, connected, options)


def run_short(main: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine of a command to its end, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)


def _is_name(host: Any, options: dict[str, Any]) -> bool:
    return host is not None and options.keys() <= _HANDLED


async def _on_socket(
    create: Callable[..., Coroutine[Any, Any, Any]],
    protocol_factory: Callable[[], Any],
    host: str,
    connected: socket.socket,
    options: dict[str, Any],
) -> Any:
    if options.get("ssl"):
        # The certificate is that of the name.
        options.setdefault("server_hostname", host)
    try:
        return await create(protocol_factory, sock=connected, **options)
    except BaseException:
        connected.close()
        raise


async def _first_to_connect(found: _Found, seconds: float) -> socket.socket:
    """Return a socket that is connected to the first address that answers; each has its own time.

    Raises:
        OSError: none answers; says of each why.
    """
    waiting = list(found)
    trying: set[asyncio.Task[socket.socket]] = set()
    refusals: list[OSError] = []
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_connect(waiting.pop(0), seconds)))
            alone = _HEAD_START_SECONDS if waiting else None
            done, _ = await asyncio.wait(trying, timeout=alone, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    trying.remove(task)
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                trying.remove(task)
                refusals.append(error)
    finally:
        for task in trying:
            task.cancel()
        # Two may have connected in the same moment.
        for other in await asyncio.gather(*trying, return_exceptions=True):
            if isinstance(other, socket.socket):
                other.close()
    if not refusals:
        raise OSError(errno.EADDRNOTAVAIL, "expected an address of the host, got none")
    numbers = {refusal.errno for refusal in refusals}
    number = refusals[0].errno if len(numbers) == 1 else errno.EHOSTUNREACH
    raise OSError(number, "; ".join(refusal.strerror or "" for refusal in refusals))


async def _connect(found: tuple[int, int, int, str, Any], seconds: float) -> socket.socket:
    family, kind, protocol, _, address = found
    try:
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"{address[0]}: no answer within {seconds:g} s") from None
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, f"{address[0]}: {os.strerror(number).lower()}") from None
    return made
