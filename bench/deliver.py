"""An event to a partner call: the hub's consumer beside a bare loop, FastStream and Celery.

    python -m bench.deliver       ends with 1 when a ratio is missed, two to six minutes where nothing else runs

The events lie in the queue; then the consumer is started, and the time from its first to its last post at a receiver
that answers at once is taken. They take turns, each on a quorum queue of the same broker, with the same prefetch and
as many connections to the receiver; a message is acked after the answer. All but Celery, which has an envelope of its own,
are sent the same messages, with all properties. The receiver checks that all post the same.

    hub         hub run deliver_webhooks: each event is claimed in the ledger (SQLite, on disk) before the call and
                recorded before the ack; metrics, log and retries as always. A disposition is about no order, so it
                has no timeline
    hub, orders the same hub with shipments instead: each is applied to its order (loaded, changed, written) before its
                confirmation is claimed, and the order's timeline is written. Nobody else keeps orders, so this row
                stands beside the ratios and in none of them
    bare        aio-pika and aiohttp: no records, no retries, no log. What it is against the others is as much as anything
                can be on these two libraries, used as they come
    FastStream  a subscriber with a typed parameter: likewise
    Celery      late acks, two worker processes and the one that hands them their work, http.client; its own envelope
                around the event
    hub, twice  two processes of the hub on one store, which is what Celery has. It is compared with Celery, process for
                process, as one process of the hub is with the others; one against Celery's two is shown beside it

A receiver that answers at once leaves nothing to wait for: ``bench.far`` measures the same with one that is far away.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from bench.events import events, orders
from bench.processes import (
    BenchmarkError,
    contender,
    exit_status,
    hub,
    hub_environment,
    processor_seconds,
    running,
)
from bench.rows import median, spread
from bench.turns import Turns, print_ratios, print_turns, refuse_different
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import AnyEvent
from hub.state.store import open_store

EVENTS = 10_000
ROUNDS = 3
HUB, TWICE, ORDERS = "hub", "hub, twice", "hub, orders"
BARE, FASTSTREAM, CELERY = "bare", "FastStream", "Celery"
# Its other way of waiting: threads of one process instead of processes.
CELERY_THREADS = "Celery, threads"
CONTENDERS = dict.fromkeys((HUB, ORDERS, BARE, FASTSTREAM, TWICE, CELERY), EVENTS)
# The hub's prefetch, and what aiohttp allows by itself. (A client of the hub has 10 connections unless it is set.)
AT_ONCE = 100
REQUIRED = {(HUB, BARE): 0.8, (HUB, FASTSTREAM): 1.3, (TWICE, CELERY): 3.0, (HUB, CELERY): 0.0}
_QUEUES = {
    HUB: "hub.webhook.bench",
    TWICE: "hub.webhook.bench",
    ORDERS: "hub.webhook.bench",
    BARE: "bench.bare",
    FASTSTREAM: "bench.faststream",
    CELERY: "bench.celery",
    CELERY_THREADS: "bench.celery",
}
_ARGUMENTS = {
    BARE: ("bench.contenders.bare",),
    FASTSTREAM: ("bench.contenders.faststream_app",),
    CELERY: ("bench.contenders.celery_app", "processes"),
    CELERY_THREADS: ("bench.contenders.celery_app", "threads"),
}
# A turn takes seconds; more is a consumer that stands still.
_TURN_SECONDS = 120.0
_CONFIRMS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Bench:
    """What all turns share."""

    folder: Path
    broker_url: str
    desk: ClientSession
    receiver: subprocess.Popen[str]
    receiver_url: str
    at_once: int
    """Deliveries that a consumer has in hand, and connections to the receiver."""
    _numbers: Iterator[int] = field(default_factory=count)
    """Of turns: each has events that the ledger does not know."""

    async def turn(self, who: str, turns: Turns) -> None:
        """Fill a queue, start its consumer and wait until it has posted everything.

        Raises:
            BenchmarkError: it has not, in time.
        """
        queue = await self.desk.channel.get_queue(_QUEUES[who], ensure=False)
        await queue.purge()
        made = self._shipments if who == ORDERS else _dispositions
        await self._put(who, await made(next(self._numbers), turns.events))
        await self.expect(turns.events)
        with ExitStack() as stack:
            pids = [stack.enter_context(each).pid for each in self._consumers(who)]
            await self.answer(who)
            before = sum(map(processor_seconds, pids))
            said = await self.answer(who)
            turns.processor.append(sum(map(processor_seconds, pids)) - before)
        turns.seconds.append(said["seconds"])
        turns.digests.append(said["digest"])

    def _consumers(self, who: str) -> Iterator[AbstractContextManager[subprocess.Popen[str]]]:
        """Give what runs a consumer, or two of them."""
        if who.startswith(HUB):
            arguments = ["-m", "hub", "run", "deliver_webhooks"]
            for _ in range(2 if who == TWICE else 1):
                yield running(arguments, self.folder, who, self.hub_environment())
        else:
            yield contender(["-m", *_ARGUMENTS[who]], self.folder, who, self._environment(who))

    def hub_environment(self) -> dict[str, str]:
        """Give the settings of a hub with one client."""
        client = {
            "name": "bench",
            "disposition_url": self.receiver_url,
            "confirmation_url": self.receiver_url,
            "connections": self.at_once,
            "defaults": {
                "channel": "bench",
                "brand": "Northfork",
                "condition": "N",
                "shipping_method": "STANDARD",
            },
        }
        return hub_environment(self.folder, self.broker_url) | {
            "HUB_WEBHOOKS": json.dumps([client]),
            "HUB_BROKER__PREFETCH": str(self.at_once),
        }

    async def _shipments(self, number: int, many: int) -> list[AnyEvent]:
        """Record the orders of a turn, as a producer does before it announces them; give their shipments."""
        created, shipped = orders(number, many)
        store = await open_store(f"sqlite+aiosqlite:///{self.folder / 'hub.db'}")
        try:
            await store.record_orders(created)
        finally:
            await store.close()
        return shipped

    async def expect(self, bodies: int) -> None:
        """Let the receiver wait for so many different bodies, which it begins to count anew."""
        assert self.receiver.stdin is not None
        self.receiver.stdin.write(f"{bodies}\n")
        self.receiver.stdin.flush()
        await self.answer("receiver")

    async def answer(self, who: str) -> Mapping[str, Any]:
        """Give what the receiver says next: that the first post has come, or what it has when all have.

        Raises:
            BenchmarkError: it says nothing in time, with the last words of who should post.
        """
        assert self.receiver.stdout is not None
        try:
            line = await asyncio.wait_for(asyncio.to_thread(self.receiver.stdout.readline), _TURN_SECONDS)
        except TimeoutError:
            # Else the thread that reads would keep this process.
            self.receiver.kill()
            raise BenchmarkError(
                _last_words(self.folder / f"{who}.log", f"{who} has not posted its events in time")
            ) from None
        said: Mapping[str, Any] = orjson.loads(line or "{}")
        return said

    def _environment(self, who: str) -> dict[str, str]:
        return {
            "BENCH_BROKER": self.broker_url,
            "BENCH_QUEUE": _QUEUES[who],
            "BENCH_RECEIVER": self.receiver_url,
            "BENCH_PREFETCH": str(self.at_once),
            "BENCH_CONNECTIONS": str(self.at_once),
        }

    async def _put(self, who: str, every: Iterable[AnyEvent]) -> None:
        messages = [cloudevents.encode(event) for event in every]
        if who.startswith(CELERY):
            file = self.folder / "events.jsonl"
            file.write_bytes(b"\n".join(message.body for message in messages))
            arguments = ["-m", _ARGUMENTS[who][0], "put", str(file)]
            with contender(arguments, self.folder, "put", self._environment(who)) as process:
                if await asyncio.to_thread(process.wait, _TURN_SECONDS):
                    raise BenchmarkError(
                        _last_words(self.folder / "put.log", "Celery has not put its events")
                    )
            return
        for first in range(0, len(messages), _CONFIRMS_AT_ONCE):
            lot = messages[first : first + _CONFIRMS_AT_ONCE]
            await asyncio.gather(*(self._send(who, message) for message in lot))

    async def _send(self, who: str, message: Message) -> None:
        if _QUEUES[who].startswith("hub."):
            await self.desk.send(message, exchange=message.exchange, routing_key=message.routing_key)
        else:
            # What FastStream reads as JSON by itself.
            content_type = "application/json" if who == FASTSTREAM else message.content_type
            await self.desk.send(
                replace(message, content_type=content_type), exchange="", routing_key=_QUEUES[who]
            )


async def _dispositions(number: int, many: int) -> list[AnyEvent]:
    return list(events(number, many))


def _last_words(log: Path, what: str) -> str:
    return f"{what}:\n{log.read_text(encoding='utf-8')[-2000:]}"


@asynccontextmanager
async def benches(
    folder: Path, *, at_once: int = AT_ONCE, answers_after: float = 0.0
) -> AsyncIterator[Bench]:
    """Start broker and receiver, and let everyone's queue be there."""
    async with PrivateNode(folder / "broker") as node:
        arguments = ["-m", "bench.receiver", str(answers_after)]
        with running(arguments, folder, "receiver", {}, talks=True) as receiver:
            assert receiver.stdout is not None
            url = json.loads(await asyncio.to_thread(receiver.stdout.readline))["url"]
            async with client_session(Broker(url=SecretStr(node.url)), name="bench") as desk:
                bench = Bench(folder, node.url, desk, receiver, url, at_once)
                # The hub declares its queue itself, and refuses a store that is newer than its queues.
                with hub(folder, bench.hub_environment(), "deliver_webhooks") as first:
                    await first.ready()
                for queue in _QUEUES.values():
                    if not queue.startswith("hub."):
                        quorum: dict[str, Any] = {"x-queue-type": "quorum"}
                        await desk.channel.declare_queue(queue, durable=True, arguments=quorum)
                yield bench


async def measure(
    contenders: Mapping[str, int] = CONTENDERS, *, at_once: int = AT_ONCE, answers_after: float = 0.0
) -> Mapping[str, Turns]:
    """Let all take turns.

    Args:
        contenders: who, and with how many events in one turn.
        at_once: deliveries that each has in hand, and connections to the receiver.
        answers_after: how many seconds the receiver takes to answer.

    Raises:
        BenchmarkError: somebody has not delivered, or not the same.
    """
    every = {who: Turns(many) for who, many in contenders.items()}
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        async with benches(Path(name), at_once=at_once, answers_after=answers_after) as bench:
            for _ in range(ROUNDS):
                for who, turns in every.items():
                    await bench.turn(who, turns)
    refuse_different(turns for who, turns in every.items() if who != ORDERS)
    return every


def report(every: Mapping[str, Turns]) -> bool:
    """Print the tables; tells whether every ratio holds."""
    print_turns(every, "from a quorum queue to one receiver")
    holds = print_ratios(every, REQUIRED)
    most = {other: every[BARE].times_as_fast(every[other]) for other in (FASTSTREAM, CELERY)}
    print_table(
        ("the bare loop against", "times as fast", "middle half"),
        [(other, f"{median(times):.2f}", spread(times)) for other, times in most.items()],
    )
    return holds


def main() -> int:
    """Run and give the exit status."""
    return exit_status(lambda: report(asyncio.run(measure())))


if __name__ == "__main__":
    sys.exit(main())
