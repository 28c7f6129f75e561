"""The map on a real broker: declared from nothing, compared, and never forced where something differs."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from typer.testing import Result

from hub.amqp.connection.connection import connect
from hub.amqp.topology import declare
from hub.amqp.topology.declare import State
from hub.config.broker import Broker
from hub.config.settings import load
from hub.errors import TopologyDrift
from hub.local_broker.node import PrivateNode
from hub.service.flows import topology_of
from hub.topology import WorkQueue, draw
from tests.broker.management import EARLIER_DEFINITIONS, Management
from tests.cli.conftest import EXAMPLE
from tests.cli.conftest import hub as hub  # the command line, as a fixture

MAP = draw(
    (WorkQueue("iqmetrix", "update_order_status", hears=("order.shipped",), sources=("iqmetrix",)),),
    waits=[timedelta(seconds=1.5)],
    powers=[timedelta(seconds=1)],
)
QUEUE = "hub.iqmetrix.update-order-status"
Hub = Callable[..., Result]


@pytest.fixture
def desk(hub: Hub, broker_url: str) -> Hub:
    """The command line against an empty virtual host."""
    return lambda *words: hub(*words, HUB_BROKER__URL=broker_url)


async def declare_queue(url: str, name: str, arguments: dict[str, object]) -> None:
    async with await connect(Broker(url=SecretStr(url)), name="test") as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=arguments)  # type: ignore[arg-type]


async def test_an_empty_broker_has_the_whole_map_after_one_declare(broker_url: str) -> None:
    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        missing = await declare.inspect(connection, MAP)
        await declare.declare(connection, MAP)
        there = await declare.inspect(connection, MAP)

    assert {finding.state for finding in missing} == {State.MISSING}
    assert {finding.state for finding in there} == {State.THERE}


async def test_declaring_again_changes_nothing(broker_url: str) -> None:
    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        await declare.declare(connection, MAP)
        await declare.declare(connection, MAP)


async def test_queues_of_an_earlier_release_are_used_as_they_are_and_named(broker_url: str) -> None:
    earlier = next(queue.earlier[0] for queue in MAP.queues if queue.name == QUEUE)
    await declare_queue(broker_url, QUEUE, dict(earlier))

    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        await declare.declare(connection, MAP)
        found = await declare.inspect(connection, MAP)

    assert [(each.name, each.state, each.detail) for each in found if each.state is not State.THERE] == [
        (QUEUE, State.EARLIER, "x-delivery-limit 20, now 1000000")
    ]


WORK_ARGUMENTS = next(queue.arguments for queue in MAP.queues if queue.name == QUEUE)
RUNG_ARGUMENTS = next(queue.arguments for queue in MAP.queues if queue.name == "hub.wait.1500")


@pytest.mark.parametrize(
    ("queue", "arguments", "argument", "found"),
    [
        (QUEUE, WORK_ARGUMENTS, "x-delivery-limit", 3),
        (QUEUE, WORK_ARGUMENTS, "x-delivery-limit", None),
        (QUEUE, WORK_ARGUMENTS, "x-dead-letter-exchange", "elsewhere"),
        (QUEUE, WORK_ARGUMENTS, "x-dead-letter-routing-key", "elsewhere"),
        (QUEUE, WORK_ARGUMENTS, "x-dead-letter-strategy", "at-most-once"),
        (QUEUE, WORK_ARGUMENTS, "x-dead-letter-strategy", None),
        (QUEUE, WORK_ARGUMENTS, "x-overflow", None),
        ("hub.wait.1500", RUNG_ARGUMENTS, "x-message-ttl", 1600),
    ],
)
async def test_a_broker_that_differs_is_refused_with_the_queue_and_the_argument(
    broker_url: str, queue: str, arguments: dict[str, object], argument: str, found: object
) -> None:
    existing = {**arguments, argument: found}
    if found is None:
        del existing[argument]
    await declare_queue(broker_url, queue, existing)

    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        with pytest.raises(TopologyDrift) as caught:
            await declare.declare(connection, MAP)

    assert any(queue in fault and argument in fault for fault in caught.value.faults)


async def test_an_exchange_without_its_alternate_is_refused_since_it_would_lose_what_is_unroutable(
    broker_url: str,
) -> None:
    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        channel = await connection.channel()
        await channel.declare_exchange("hub.requeue", type="direct", durable=True)

        with pytest.raises(TopologyDrift, match=r"exchange hub\.requeue.*alternate-exchange"):
            await declare.declare(connection, MAP)


def test_plan_says_what_apply_would_do_and_creates_nothing(desk: Hub) -> None:
    first = desk("topology", "plan", "--json")
    second = desk("topology", "plan", "--json")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert {row["state"] for row in json.loads(second.stdout)} == {"create"}


def test_apply_makes_the_map_and_verify_agrees(desk: Hub) -> None:
    before = desk("topology", "verify")
    applied = desk("topology", "apply", "--json")
    after = desk("topology", "verify")

    assert (before.exit_code, applied.exit_code, after.exit_code) == (1, 0, 0)
    assert "hub topology apply" in before.stderr
    made = {(row["thing"], row["name"]) for row in json.loads(applied.stdout) if row["state"] == "created"}
    topology = topology_of(load(EXAMPLE, {}))
    assert made == {
        *(("exchange", exchange.name) for exchange in topology.exchanges),
        *(("queue", queue.name) for queue in topology.queues),
    }
    assert after.stdout == f"{len(made)} there\n"


def test_apply_creates_the_rest_and_names_the_argument_that_differs(desk: Hub, broker_url: str) -> None:
    asyncio.run(declare_queue(broker_url, "hub.wait.5000", {"x-queue-type": "quorum", "x-message-ttl": 4000}))

    applied = desk("topology", "apply")
    verified = desk("topology", "verify", "--json")

    assert (applied.exit_code, verified.exit_code) == (1, 1)
    assert "hub.wait.5000" in applied.stdout
    assert "inequivalent arg 'x-" in applied.stdout
    states = {row["name"]: row["state"] for row in json.loads(verified.stdout)}
    assert [name for name, state in states.items() if state != "there"] == ["hub.wait.5000"]


async def test_a_broker_filled_by_the_earlier_release_is_used_as_it_is(
    node: PrivateNode, broker_url: str
) -> None:
    management = Management(node, urlsplit(broker_url).path[1:])
    management.import_file(EARLIER_DEFINITIONS)
    topology = topology_of(load(EXAMPLE, {}))

    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        await declare.declare(connection, topology)
        findings = await declare.inspect(connection, topology)

    outdated = {finding.name for finding in findings if finding.state is State.EARLIER}
    assert {finding.state for finding in findings} == {State.THERE, State.EARLIER}
    assert outdated == {"hub.unroutable"} | {
        name for work in topology.work_queues for name in (work.queue, work.dead)
    }
