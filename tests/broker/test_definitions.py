"""The definitions file on a real broker: it imports, makes the whole map, and nobody can log in by it alone."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from aiormq.exceptions import ChannelAccessRefused
from pydantic import SecretStr

from hub.amqp.connection.connection import connect
from hub.amqp.topology import declare, definitions
from hub.amqp.topology.declare import State
from hub.config.broker import Broker
from hub.config.settings import load
from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.service.flows import topology_of
from hub.topology import WorkQueue, draw
from tests.broker.management import Management
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
    # Not the topic permissions of others: newer brokers refuse those of an exchange that is not there yet.
    management.ask("POST", "definitions", {
        key: value for key, value in definitions.render(MAP, vhost=management.vhost).items()
        if key in ("users", "permissions")
    })  # fmt: skip

    async with await connect(Broker(url=management.url_of("hub")), name="test") as connection:
        await declare.declare(connection, MAP)

        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.declare_queue("svc.not-ours")
