"""The definitions file on a real broker: it imports, makes the whole map, and its users may do what they are for."""

import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import aio_pika
import pytest
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.exceptions import ChannelAccessRefused
from pydantic import SecretStr

from hub.amqp import declare, definitions
from hub.amqp.connection import connect
from hub.amqp.declare import State
from hub.amqp.node import PrivateNode
from hub.cli.flows import topology_of
from hub.config import Broker, load
from hub.errors import BrokerUnavailable
from hub.topology import Topology, WorkQueue, draw
from tests.cli.conftest import EXAMPLE
from tests.cli.test_definitions_file import FILE

MAP = draw(
    (
        WorkQueue(
            "iqmetrix",
            "update_order_status",
            hears=("order.shipped", "order.cancelled"),
            sources=("iqmetrix",),
        ),
        WorkQueue("webhook", "acme", hears=("order.shipped",)),
    ),
    waits=[timedelta(seconds=1.5)],
    powers=[timedelta(seconds=1)],
)


@dataclass
class Management:
    """The management API of the session's broker, for one virtual host."""

    node: PrivateNode
    vhost: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        login = b64encode(f"{self.node.user}:{self.node.password}".encode()).decode()
        request = Request(
            f"{self.node.management_url}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with build_opener(ProxyHandler({})).open(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def import_definitions(self, topology: Topology) -> None:
        self.ask("POST", "definitions", definitions.render(topology, vhost=self.vhost))

    def url_of(self, user: str) -> SecretStr:
        """Give the user a password, as an operator does after the import, and return its address."""
        found = self.ask("GET", f"users/{user}")
        self.ask("PUT", f"users/{user}", {"password": "given", "tags": found["tags"]})
        return SecretStr(f"amqp://{user}:given@127.0.0.1:{self.node.port}/{quote(self.vhost, safe='')}")


@pytest.fixture
def management(node: PrivateNode, broker_url: str) -> Management:
    return Management(node, urlsplit(broker_url).path[1:])


async def test_a_broker_that_imported_the_definitions_does_not_differ_from_the_map(
    management: Management, broker_url: str
) -> None:
    management.import_definitions(MAP)

    connection = await connect(Broker(url=SecretStr(broker_url)), name="test")
    async with connection:
        findings = await declare.inspect(connection, MAP)
        bindings = management.ask("GET", f"bindings/{management.vhost}")

    assert {finding.state for finding in findings} == {State.THERE}
    assert {(b["source"], b["destination"], b["routing_key"]) for b in bindings if b["source"]} == {
        (b.exchange, b.queue, b.routing_key) for b in MAP.bindings
    }


async def test_the_file_of_the_repository_imports_and_is_the_map_of_the_example(
    management: Management, broker_url: str
) -> None:
    document = json.loads(FILE.read_text().replace('"vhost": "/"', f'"vhost": "{management.vhost}"'))
    document["vhosts"] = [{"name": management.vhost}]

    management.ask("POST", "definitions", document)

    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        findings = await declare.inspect(connection, topology_of(load(EXAMPLE, {})))
    assert {finding.state for finding in findings} == {State.THERE}


async def test_nobody_can_log_in_before_a_password_was_given(management: Management) -> None:
    management.import_definitions(MAP)

    for password in ("", "hub"):
        url = SecretStr(f"amqp://hub:{password}@127.0.0.1:{management.node.port}/{management.vhost}")
        with pytest.raises(BrokerUnavailable):
            await connect(Broker(url=url), name="test")


async def test_the_hub_may_declare_the_whole_map_and_nothing_else(management: Management) -> None:
    management.ask("POST", "definitions", {
        key: value for key, value in definitions.render(MAP, vhost=management.vhost).items()
        if key in ("users", "permissions", "topic_permissions")
    })  # fmt: skip

    async with await connect(Broker(url=management.url_of("hub")), name="test") as connection:
        await declare.declare(connection, MAP)

        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("svc.not-ours")


@pytest.mark.parametrize(
    ("user", "exchange", "allowed"),
    [
        ("publisher", "hub.fulfillment", True),
        ("publisher", "hub.orders", False),
        ("publisher", "hub.requeue", False),
        ("publisher", "hub.dead-letter", False),
        ("subscriber", "hub.orders", False),
        ("subscriber", "hub.fulfillment", False),
        ("operator", "hub.requeue", True),
        ("operator", "hub.fulfillment", True),
        ("operator", "hub.wait.1000", False),
    ],
)
async def test_a_user_publishes_only_where_it_is_meant_to(
    management: Management, user: str, exchange: str, allowed: bool
) -> None:
    management.import_definitions(MAP)

    async with await connect(Broker(url=management.url_of(user)), name="test") as connection:
        channel = await connection.channel(publisher_confirms=True)
        target = await channel.get_exchange(exchange, ensure=False)
        try:
            await target.publish(aio_pika.Message(b"{}"), "order.shipped", timeout=5)
            refused = False
        except (ChannelAccessRefused, ChannelInvalidStateError):
            refused = True

    assert refused is not allowed


async def test_a_subscriber_binds_a_queue_of_its_own_to_the_orders_and_hears_them(
    management: Management, broker_url: str
) -> None:
    management.import_definitions(MAP)
    async with (
        await connect(Broker(url=management.url_of("subscriber")), name="test") as theirs,
        await connect(Broker(url=SecretStr(broker_url)), name="test") as ours,
    ):
        channel = await theirs.channel()
        queue = await channel.declare_queue("svc.billing", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind("hub.orders", "order.created.*")

        orders = await (await ours.channel()).get_exchange("hub.orders", ensure=False)
        await orders.publish(aio_pika.Message(b"{}"), "order.created.iqmetrix")

        message = await queue.get(timeout=5)
        assert message is not None
        await message.ack()
        others = await (await theirs.channel()).get_queue("hub.webhook.acme.dead", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await others.get(fail=False)
