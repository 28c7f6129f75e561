"""A deployment in small: a virtual host with the generated definitions and their users, partners, clients, and a hub.

The hub is the real one, put together by its composition root, with the user `hub`, SQLite and short waits. It runs in the
test's own event loop (`Deployment.hub`). Partners are the sandbox ones; the webhook clients are real servers that keep every
request. An attack is what the user `publisher` or `subscriber` may do: `publish_as_publisher`, `channel_of`.

    async with deployment.hub():
        order_id = await deployment.known_order()
        await deployment.publish_as_publisher({"order_id": order_id}, "order.accepted", message_id="a-1")
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from hub.cli.up.sandbox_scenario import as_toml, retailops_settings, scene_settings, write_private
from hub.config.settings import Settings
from hub.models.events import FULFILLMENT
from hub.process.lifecycle import Stop
from hub.sandbox import ApiKey, IqmetrixSandbox, OAuth2, RetailopsSandbox, WebhookReceiver
from hub.service.composition import serve
from hub.service.flows import choose, topology_of
from hub.state.protocols import Store
from hub.state.store import open_store
from hub.topology import Topology, WorkQueue
from tests.broker import rig
from tests.broker.management import Management
from tests.eventually import eventually

ACME, NORTHWIND = "hub.webhook.acme", "hub.webhook.northwind"
# Five retries in less than a second.
WAITS = ("50ms", "100ms", "150ms", "200ms", "250ms")
_SECRET = "whsec_" + "A" * 32
_USERS = ("hub", "publisher", "subscriber", "operator")


@dataclass(eq=False)
class Deployment:
    """What an attacker meets, and what the test looks at it with."""

    management: Management
    settings: Settings
    folder: Path
    iqmetrix: IqmetrixSandbox
    retailops: RetailopsSandbox
    acme: WebhookReceiver
    northwind: WebhookReceiver
    urls: Mapping[str, str]
    topology: Topology = field(init=False)
    _store: Store | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.topology = topology_of(self.settings)

    @property
    def work_queues(self) -> tuple[WorkQueue, ...]:
        """The work queues of all flows."""
        return self.topology.work_queues

    @property
    def administrator_url(self) -> str:
        """The address of somebody who may do everything."""
        return self.management.node.vhost_url(self.management.vhost)

    @asynccontextmanager
    async def hub(self, *names: str) -> AsyncIterator[None]:
        """Run the hub, or some of its flows, until the block ends; it is ready when the block begins."""
        stop, ready = Stop(), asyncio.Event()
        running = asyncio.create_task(
            serve(
                self.settings,
                choose(names, self.settings),
                stop,
                accept_empty_state=True,
                on_ready=lambda _: ready.set(),
            )
        )
        try:
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({running, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if not ready.is_set():
                waiting.cancel()
                raise AssertionError(
                    f"the hub is not ready: {running.exception() if running.done() else 'waiting'}"
                )
            yield
        finally:
            stop()
            await running

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The hub's state store, opened beside the hub and kept open for the test: a file that nobody has open is tidied up."""
        if self._store is None:
            self._store = await open_store(self.settings.state.url)
        yield self._store

    async def close(self) -> None:
        """Close what the test has opened."""
        if self._store is not None:
            await self._store.close()

    # --- what somebody does on the broker

    @asynccontextmanager
    async def channel_of(self, user: str) -> AsyncIterator[AbstractChannel]:
        """A confirming channel of a user of the definitions."""
        async with rig.outsider(self.urls[user]) as channel:
            yield channel

    async def publish_as_publisher(
        self, body: bytes | Mapping[str, Any], routing_key: str, **properties: Any
    ) -> None:
        """Publish to `hub.fulfillment` as `publisher` and wait for the confirm; `properties` as aio_pika names them.

        Raises:
            ChannelAccessRefused: the user may not publish under this key.
        """
        await self.publish_as("publisher", FULFILLMENT, routing_key, body, **properties)

    async def publish_as(
        self, user: str, exchange: str, routing_key: str, body: bytes | Mapping[str, Any], **properties: Any
    ) -> None:
        """Publish as any user and wait for the confirm."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.channel_of(user) as channel:
            await rig.send(
                channel, exchange, routing_key, content, **{"content_type": "application/json", **properties}
            )

    async def shovel(self, source: str, **destination: str) -> None:
        """Move everything of a queue as `operator` does, by a dynamic shovel, and wait until it is done."""
        operator = Management(self.management.node, self.management.vhost, "operator")
        value = {
            "src-protocol": "amqp091",
            "src-uri": self.urls["operator"],
            "src-queue": source,
            "src-delete-after": "queue-length",
            "dest-protocol": "amqp091",
            "dest-uri": self.urls["operator"],
            "ack-mode": "on-confirm",
            **destination,
        }
        where = f"parameters/shovel/{self.management.vhost}/attack-{uuid.uuid4().hex[:8]}"
        await asyncio.to_thread(operator.ask, "PUT", where, {"value": value})

        async def over() -> bool:
            # A shovel that has moved what it was to move takes itself away.
            return not await asyncio.to_thread(
                self.management.ask, "GET", f"parameters/shovel/{self.management.vhost}"
            )

        await eventually(over, within=20, every=0.1, because=f"{source} is moved")

    async def depth(self, queue: str) -> int:
        """How many messages of a queue are ready; none where there is no such queue."""
        try:
            return await rig.depth(self.administrator_url, queue)
        except ChannelNotFoundEntity:
            return 0

    async def take(self, queue: str) -> list[AbstractIncomingMessage]:
        """Take all messages out of a queue, as the administrator."""
        return await rig.letters(self.administrator_url, queue)

    async def has(self, queue: str, number: int = 1, *, within: float = 15) -> None:
        """Wait until so many messages of a queue are ready."""

        async def there() -> bool:
            return await self.depth(queue) >= number

        await eventually(there, within=within, every=0.05, because=f"{number} messages in {queue}")

    # --- what the hub knows and does

    async def known_order(self) -> str:
        """Place an order at iQmetrix, and return its hub id once the running hub has recorded it."""
        order = self.iqmetrix.add_order()
        order_id = f"iqmetrix:{self.iqmetrix.supplier_id}:{order.order_id}"
        async with self.store() as store:

            async def known() -> bool:
                return bool(await store.known_orders([order_id]))

            await eventually(known, within=20, every=0.05, because="the hub has recorded the order")
        return order_id

    async def desk(self, *words: str, user: str = "operator", text: str = "") -> str:
        """Run a command as a process with the address of a user; return what it printed.

        Raises:
            AssertionError: it ended with another status than 0.
        """
        status, output = await self.desk_status(*words, user=user, text=text)
        assert status == 0, output
        return output

    async def desk_status(self, *words: str, user: str = "operator", text: str = "") -> tuple[int, str]:
        """Run a command as a process; return its exit status and what it printed, errors too."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hub", *words,
            cwd=self.folder,
            env=os.environ | {"HUB_CONFIG": str(self.folder / "hub.toml"), "HUB_BROKER__URL": self.urls[user]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(60):
            output, _ = await process.communicate(text.encode())
        assert process.returncode is not None
        return process.returncode, output.decode()


@asynccontextmanager
async def deployed(node: Any, folder: Path) -> AsyncIterator[Deployment]:
    """Import the definitions into a virtual host, give every user a password, and start partners and clients."""
    management = Management(node, f"attacks-{uuid.uuid4().hex[:8]}")
    async with AsyncExitStack() as stack:
        iqmetrix = await stack.enter_async_context(IqmetrixSandbox(seed=1))
        retailops = await stack.enter_async_context(RetailopsSandbox(seed=1))
        acme = await stack.enter_async_context(WebhookReceiver("acme", auth=OAuth2()))
        northwind = await stack.enter_async_context(
            WebhookReceiver("northwind", auth=ApiKey(), signing_secret=_SECRET)
        )
        values = scene_settings(None, folder, iqmetrix, acme, northwind)
        values["retailops"] = [{**retailops_settings(retailops), "poll_every": "300ms"}]
        values["iqmetrix"][0]["poll_every"] = "300ms"
        values["retry"]["waits"] = WAITS
        without_broker = Settings(**values)
        await asyncio.to_thread(_set_up, management, topology_of(without_broker))
        stack.push_async_callback(asyncio.to_thread, management.ask, "DELETE", f"vhosts/{management.vhost}")
        urls = {user: management.url_of(user).get_secret_value() for user in _USERS}
        values["broker"] = {"url": urls["hub"], "reconnect_after": "100ms", "reconnect_at_most": "500ms"}
        write_private(folder / "hub.toml", as_toml(values))
        deployment = Deployment(
            management, Settings(**values), folder, iqmetrix, retailops, acme, northwind, urls
        )
        stack.push_async_callback(deployment.close)
        yield deployment


def _set_up(management: Management, topology: Topology) -> None:
    management.ask("PUT", f"vhosts/{management.vhost}", {})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    management.ask("PUT", f"permissions/{management.vhost}/{management.node.user}", everything)
    management.import_definitions(topology)


def dead(queue: str) -> str:
    """Name the dead-letter queue of a work queue."""
    return f"{queue}.dead"


def shipped(order_id: str, *, tracking: str = "1Z863YY60392796356", **package: Any) -> dict[str, Any]:
    """Return the data of an `order.shipped` that every client takes: all that is left of an order, in one package."""
    whole = {"carrier": "UPS", "tracking_number": tracking, "weight_lb": 2.4, "shipping_cost_cents": 500}
    return {"order_id": order_id, "packages": [{**whole, **package}]}
