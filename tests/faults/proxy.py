"""A TCP proxy between hub and broker that reads AMQP frames, so that a fault falls on one of them and not on a byte count.

Frame layout: AMQP 0-9-1 specification, section 4.2.3 (type, channel, size, payload, end octet). A method with content is
followed by a header that tells the size of the body and by body frames; a fault "after" it waits for all of them.

    python -m tests.faults.proxy PORT

is a process of its own in front of that broker, for whoever only cuts: it prints its port, and each line on its
standard input cuts every connection and is answered by a line. It ends with its input.
"""

import asyncio
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME_START = struct.Struct(">BHI")
_GREETING_BYTES = 8
_PUBLISH, _DELIVER, _ACK, _CONSUME = (60, 40), (60, 60), (60, 80), (60, 20)

LOST = (ConnectionError, asyncio.IncompleteReadError, OSError)


class Verdict(Enum):
    """What becomes of a frame."""

    PASS = auto()
    CUT_BEFORE = auto()
    CUT_AFTER = auto()
    HOLD_AFTER = auto()
    """The frame arrives; then nothing passes on this connection for a while, in either direction."""
    TELL_AFTER = auto()
    """The frame arrives, and `after` hears of it before anything else passes."""


Judge = Callable[[str], Verdict]
"""Asked for each frame that has a point; what it does besides is done before the frame passes."""


@dataclass(eq=False)
class _Pair:
    """One connection of the hub and the one to the broker that belongs to it."""

    hub: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    dead: bool = False

    def cut(self) -> None:
        self.dead = True
        self.hub.transport.abort()
        # What the broker was already sent shall arrive: no reset on this side.
        self.broker.close()


@dataclass
class _Content:
    """A method with content that is on its way, and what follows once it is complete."""

    verdict: Verdict
    point: str | None
    missing: int | None = None


class AmqpProxy:
    """Listens on a local port and passes frames to and fro.

    Args:
        port: of the broker.
        judge: decides about each frame with a point.
        after: called with the point of a frame that has passed whole, where the verdict wants it.
        hold_seconds: how long a held connection stands still.
    """

    def __init__(
        self,
        port: int,
        judge: Judge,
        *,
        after: Callable[[str], None] = lambda _: None,
        hold_seconds: float = 1.0,
    ) -> None:
        self._broker_port = port
        self._judge = judge
        self._after = after
        self._hold = hold_seconds
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["AmqpProxy"]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.close()
            self.cut_all()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        for pair in tuple(self._pairs):
            pair.cut()

    async def _accept(self, from_hub: asyncio.StreamReader, to_hub: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            to_hub.transport.abort()
            return
        pair = _Pair(to_hub, to_broker)
        pair.flowing.set()
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(pair, from_hub, to_broker, to_broker=True),
                self._pump(pair, from_broker, to_hub, to_broker=False),
            )
        finally:
            self._pairs.discard(pair)
            to_hub.close()
            to_broker.close()

    async def _pump(
        self,
        pair: _Pair,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        *,
        to_broker: bool,
    ) -> None:
        contents: dict[int, _Content] = {}
        with suppress(*LOST):
            if to_broker:
                target.write(await source.readexactly(_GREETING_BYTES))
            while True:
                start = await source.readexactly(_FRAME_START.size)
                kind, channel, size = _FRAME_START.unpack(start)
                rest = await source.readexactly(size + 1)
                await pair.flowing.wait()
                if pair.dead:
                    return
                content = contents.get(channel)
                if kind == _METHOD:
                    point, carries = point_of(rest, to_broker=to_broker)
                    verdict = self._judge(point) if point else Verdict.PASS
                    content = _Content(verdict, point, None if carries else 0)
                elif content is None:
                    content = _Content(Verdict.PASS, None, 0)
                if content.verdict is Verdict.CUT_BEFORE or pair.dead:
                    pair.cut()
                    return
                target.write(start + rest)
                await target.drain()
                contents[channel] = content
                if _complete(content, kind, rest, size):
                    contents.pop(channel, None)
                    self._then(pair, content)
        # One direction has ended: so has the other.
        target.close()

    def _then(self, pair: _Pair, content: _Content) -> None:
        if content.verdict is Verdict.CUT_AFTER:
            pair.cut()
        elif content.verdict is Verdict.HOLD_AFTER:
            pair.flowing.clear()
            asyncio.get_running_loop().call_later(self._hold, pair.flowing.set)
        elif content.verdict is Verdict.TELL_AFTER and content.point is not None:
            self._after(content.point)


def _complete(content: _Content, kind: int, payload: bytes, size: int) -> bool:
    """Count what has passed of a content; True with its last frame."""
    if kind == _HEADER and content.missing is None:
        content.missing = int(struct.unpack_from(">Q", payload, 4)[0])
    elif kind == _BODY and content.missing is not None:
        content.missing -= size
    return content.missing == 0


def point_of(payload: bytes, *, to_broker: bool) -> tuple[str | None, bool]:
    """Give the point of a method frame, or None, and whether a content follows it."""
    method = struct.unpack_from(">HH", payload)
    if method == _PUBLISH:
        return _published_to(_short_text(payload, 6)), True
    if method == _DELIVER:
        return (None, True) if to_broker else ("broker.deliver", True)
    if method == _ACK:
        return ("broker.ack" if to_broker else "broker.confirm"), False
    if method == _CONSUME and to_broker:
        return "broker.consume", False
    # basic.return and basic.get-ok carry a content too.
    return None, method in ((60, 50), (60, 71))


def _published_to(exchange: str) -> str:
    if exchange.startswith("hub.wait."):
        return "broker.wait"
    return {"hub.dead-letter": "broker.letter", "hub.requeue": "broker.replay"}.get(
        exchange, "broker.publish"
    )


def _short_text(payload: bytes, at: int) -> str:
    return payload[at + 1 : at + 1 + payload[at]].decode()


async def serve(broker_port: int) -> None:
    async with AmqpProxy(broker_port, lambda _: Verdict.PASS).running() as proxy:
        print(proxy.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            proxy.cut_all()
            print("cut", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
