"""A server that answers each request with given bytes, right or wrong, for what no HTTP library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """What the server is asked at, and what it has seen."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def raw_server(answer: bytes, *, at_once: bool = True, again: bytes = b"") -> AsyncIterator[RawServer]:
    """Serve ``answer`` to each request, in one segment or byte by byte, and then ``again`` without end."""
    seen = RawServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.splitlines()
                        if line.lower().startswith(b"content-length:")
                    ),
                    0,
                )
                seen.requests.append(head + await reader.readexactly(length))
                for part in [answer] if at_once else [answer[at : at + 1] for at in range(len(answer))]:
                    writer.write(part)
                    await writer.drain()
                while again:
                    writer.write(again)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        yield seen
