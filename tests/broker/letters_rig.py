"""A small map with letters in it, and ``hub`` as a process of its own, as an operator runs it."""

import asyncio
import os
import pty
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from consumers.iqmetrix.update_order_status import UPDATE_ORDER_STATUS
from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.amqp.topology import declare
from hub.config.broker import Broker
from hub.config.settings import Settings
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import Event, OrderCancelled
from hub.service.flows import topology_of
from hub.state.protocols import TimelineEntry
from hub.state.store import open_store

WORK = UPDATE_ORDER_STATUS.queue
DEAD = UPDATE_ORDER_STATUS.dead
ACME = "hub.webhook.acme"
FEED = "hub.iqmetrix.orders"
ORDER = "iqmetrix:71204:7a0e"
SETTINGS = """
[[iqmetrix]]
base_url = "http://127.0.0.1:1/v1"
token_url = "http://127.0.0.1:1/oauth2/token"
supplier_id = 71204
username = "u"
password = "p"
client_id = "c"
client_secret = "s"

[[webhooks]]
name = "acme"
confirmation_url = "http://127.0.0.1:1/confirmation"
"""


@dataclass
class Place:
    """A broker with the map but its rungs, a folder with settings and store, and a command line."""

    url: str
    folder: Path
    client_session: ClientSession

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
        return {
            **own,
            "HUB_CONFIG": str(self.folder / "hub.toml"),
            "HUB_BROKER__URL": self.url,
            "HUB_STATE__URL": self.store_url,
            "HUB_OPERATOR": "dana",
            "COLUMNS": "80",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    @property
    def store_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.folder}/hub.db"

    async def begin(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """Start ``hub`` with these words; its output is piped."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hub",
            *words,
            cwd=self.folder,
            env=self.environment | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def hub(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Run ``hub`` to its end: exit status, output, errors."""
        process = await self.begin(*words, **environment)
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def on_terminal(self, *words: str, typed: str = "") -> tuple[int, str]:
        """Run ``hub`` on a terminal of 80 columns, with what is typed: exit status, and all it shows."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hub",
            *words,
            cwd=self.folder,
            env=self.environment | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = await asyncio.to_thread(_read_all, ours)
        return await process.wait(), shown

    async def bury(self, *ids: str, queue: str = WORK, reason: str = "no such order", **changes: Any) -> None:
        """Put letters into a dead-letter queue, as the hub does."""
        for letter_id in ids:
            message = replace(cancelled(letter_id), **changes)
            book = RetryState(made=6, exchange=message.exchange, routing_key=message.routing_key)
            noted = book.failed(reason, datetime.now(UTC) - timedelta(hours=2))
            letter = replace(message, headers=headers.dead(noted, message, queue=queue))
            await self.client_session.send(letter, exchange="hub.dead-letter", routing_key=queue)

    async def count(self, queue: str) -> int:
        found = await self.client_session.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def taken(self, queue: str) -> list[tuple[str, bytes, Mapping[str, Any]]]:
        """Take all messages of a queue away: id, body, headers of each."""
        found: list[tuple[str, bytes, Mapping[str, Any]]] = []
        source = await self.client_session.channel.get_queue(queue, ensure=False)
        while (incoming := await source.get(fail=False)) is not None:
            await incoming.ack()
            found.append((incoming.message_id or "", incoming.body, dict(incoming.headers)))
        return found

    async def timeline(self, order_id: str = ORDER) -> Sequence[TimelineEntry]:
        store = await open_store(self.store_url)
        try:
            return await store.timeline_of(order_id)
        finally:
            await store.close()


def cancelled(event_id: str, body: Mapping[str, Any] | None = None) -> Message:
    """An event of ``ORDER`` as its publisher sent it."""
    data = OrderCancelled.model_validate(body or {"order_id": ORDER, "reason": "out of stock"})
    event = Event(event_id, "order.cancelled", "/test", data.order_id, datetime(2026, 5, 1, tzinfo=UTC), data)
    return cloudevents.encode(event)


async def place(url: str, folder: Path, open_session: ClientSession) -> Place:
    """Declare the map without its rungs, which would be most of the work, and write the settings."""
    (folder / "hub.toml").write_text(SETTINGS)
    topology = topology_of(Settings.model_validate(tomllib.loads(SETTINGS)))
    queues = tuple(queue for queue in topology.queues if not queue.name.startswith("hub.wait."))
    known = {queue.name for queue in queues}
    bindings = tuple(binding for binding in topology.bindings if binding.queue in known)
    await declare.declare(
        open_session.connection, replace(topology, queues=queues, bindings=bindings, rungs=())
    )
    place = Place(url, folder, open_session)
    # A hub has run here: the key that copies are signed with is in its state store.
    await (await open_store(place.store_url)).close()
    return place


def opened(url: str) -> Any:
    return client_session(Broker(url=SecretStr(url)), name="test")


def _read_all(descriptor: int) -> str:
    """Read until the other side has closed its terminal, which a pseudo-terminal tells by an error."""
    shown = b""
    try:
        while chunk := os.read(descriptor, 65536):
            shown += chunk
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return shown.decode(errors="replace").replace("\r\n", "\n")
