"""Who may do what on the broker: the users of the definitions, each with everything it must and must not be able to do.

A virtual host of this file's own has the map of the example.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from typer.testing import Result

from hub.amqp.topology import declare
from hub.config.broker import Broker
from hub.config.settings import load
from hub.messaging import cloudevents
from hub.models.events import Event
from hub.sandbox.warehouse import Warehouse
from hub.service.flows import topology_of
from hub.topology import Topology, rung_name
from tests.broker.deeds import (
    QUORUM,
    Deed,
    bind,
    consume,
    declare_exchange,
    declare_queue,
    delete_exchange,
    delete_queue,
    get,
    is_refused,
    publish,
    purge,
)
from tests.broker.management import PASSWORD, Management
from tests.broker.rig import depth, send
from tests.broker.test_letters_desk import CREATED
from tests.cli.conftest import EXAMPLE
from tests.cli.conftest import hub as hub  # the command line, as a fixture
from tests.cli.conftest import in_store as in_store
from tests.eventually import eventually

WORK = "hub.webhook.acme"
DEAD = f"{WORK}.dead"
RUNG = "hub.wait.1000"
THEIRS = "svc.billing"
EXCHANGES = ("hub.orders", "hub.fulfillment", "hub.requeue", "hub.dead-letter", "hub.unroutable", RUNG)


# What nobody but the hub may do to what is the hub's.
HANDS_OFF: dict[str, Deed] = {
    "declares a queue of the hub": declare_queue("hub.webhook.fake"),
    "declares an exchange of the hub": declare_exchange("hub.fake"),
    "declares a queue of nobody": declare_queue("mine"),
    "deletes a work queue": delete_queue(WORK),
    "deletes a dead-letter queue": delete_queue(DEAD),
    "deletes an exchange": delete_exchange("hub.fulfillment"),
    "gets from a work queue": get(WORK),
    "consumes a work queue": consume(WORK),
    "purges a work queue": purge(WORK),
    "binds a work queue": bind(WORK, "hub.orders"),
}
REFUSED: dict[str, dict[str, Deed]] = {
    "publisher": {
        **HANDS_OFF,
        **{f"publishes to {name}": publish(name) for name in EXCHANGES if name != "hub.fulfillment"},
        "publishes straight to a work queue": publish("", WORK),
        "gets from a dead-letter queue": get(DEAD),
        "declares a queue for services": declare_queue(THEIRS),
        "gets from a queue of another service": get(THEIRS),
        "deletes a queue of another service": delete_queue(THEIRS),
    },
    "subscriber": {
        **HANDS_OFF,
        **{f"publishes to {name}": publish(name) for name in EXCHANGES},
        "publishes straight to a work queue": publish("", WORK),
        "publishes straight to a queue of its own": publish("", THEIRS),
        **{f"binds its queue to {name}": bind(THEIRS, name) for name in EXCHANGES if name != "hub.orders"},
        "gets from a dead-letter queue": get(DEAD),
        "gets from a rung": get(RUNG),
        "purges a dead-letter queue": purge(DEAD),
        # Detours: what expires or matches nothing would be published on its behalf.
        "dead-letters from its queue to the hub": declare_queue(
            "svc.detour", **{"x-dead-letter-exchange": "hub.fulfillment"}
        ),
        "dead-letters from its queue to a work queue": declare_queue(
            "svc.detour", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": WORK}
        ),
        "declares an exchange that falls back to the hub": declare_exchange(
            "svc.detour", **{"alternate-exchange": "hub.requeue"}
        ),
    },
    "operator": {
        **HANDS_OFF,
        "publishes to a rung": publish(RUNG),
        "publishes to what is unroutable": publish("hub.unroutable"),
        "declares a queue for services": declare_queue("svc.desk"),
        "gets from a queue of another service": get(THEIRS),
        "binds a dead-letter queue": bind(DEAD, "hub.orders"),
    },
    "hub": {
        "declares a queue for services": declare_queue("svc.hub"),
        "gets from a queue of another service": get(THEIRS),
        "deletes a queue of another service": delete_queue(THEIRS),
        "publishes straight to a queue": publish("", WORK),
        "binds a queue of another service": bind(THEIRS, "hub.orders"),
    },
}


@pytest.fixture(scope="module")
def topology() -> Topology:
    return topology_of(load(EXAMPLE, {}))


@pytest.fixture(scope="module")
def management(node: Any, topology: Topology) -> Iterator[Management]:
    """The map of the example, and the queue of a service, in a virtual host for all tests of this file."""
    administrator = Management(node, "permissions")
    administrator.ask("PUT", "vhosts/permissions", {})
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    administrator.ask("PUT", f"permissions/permissions/{node.user}", rights)
    administrator.import_definitions(topology)
    administrator.ask("PUT", f"queues/permissions/{THEIRS}", {"durable": True, "arguments": QUORUM})
    yield administrator
    administrator.ask("DELETE", "vhosts/permissions")


@pytest.fixture
def operator(management: Management) -> Management:
    management.url_of("operator")
    return Management(management.node, management.vhost, "operator")


@pytest.fixture
async def empty(management: Management) -> AsyncIterator[None]:
    """Queues as they were found, for tests that leave messages somewhere."""
    yield
    async with channel_of(management, None) as channel:
        for queue in (WORK, DEAD, THEIRS, "hub.unroutable"):
            await purge(queue)(channel)


@asynccontextmanager
async def channel_of(management: Management, user: str | None) -> AsyncIterator[AbstractChannel]:
    """A channel of a user, or of the administrator."""
    url = management.url_of(user).get_secret_value() if user else everything(management)
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)


def everything(management: Management) -> str:
    return management.node.vhost_url(management.vhost)


@pytest.mark.parametrize("user", REFUSED)
async def test_a_user_is_refused_everything_that_is_not_its_part(management: Management, user: str) -> None:
    allowed = []
    for what, deed in REFUSED[user].items():
        async with channel_of(management, user) as channel:
            if not await is_refused(deed, channel):
                allowed.append(what)

    assert allowed == []


async def test_a_publisher_tells_the_hub_what_happened_under_a_documented_key(
    management: Management, empty: None
) -> None:
    async with channel_of(management, "publisher") as channel:
        await publish("hub.fulfillment", "order.shipped")(channel)
        assert await is_refused(publish("hub.fulfillment", "order.unheard-of"), channel)

    assert await depth(everything(management), WORK) == 1
    assert await depth(everything(management), "hub.unroutable") == 0


async def test_a_subscriber_hears_of_orders_in_a_queue_of_its_own_and_takes_it_away_again(
    management: Management, empty: None
) -> None:
    async with channel_of(management, "subscriber") as theirs, channel_of(management, "hub") as ours:
        queue = await theirs.declare_queue("svc.reports", durable=True, arguments=QUORUM)
        await queue.bind("hub.orders", "order.created.*")
        await publish("hub.orders", "order.created.iqmetrix")(ours)

        message = await queue.get(timeout=5)
        assert message is not None
        await message.ack()
        await queue.unbind("hub.orders", "order.created.*")
        await queue.delete(if_unused=False, if_empty=False)


async def test_the_hub_owns_the_whole_map(management: Management, topology: Topology, empty: None) -> None:
    async with channel_of(management, "hub") as channel:
        await channel.queue_delete(WORK)
        url = management.url_of("hub").get_secret_value()
        async with await aio_pika.connect(url) as connection:
            await declare.declare(connection, topology)

        for rung in topology.rungs:
            await purge(rung_name(rung))(channel)
        await publish("hub.dead-letter", WORK)(channel)
        await publish("hub.requeue", WORK)(channel)
        assert not await is_refused(get(WORK), channel)


@pytest.mark.parametrize(
    "target",
    # Not "dest-queue": RabbitMQ 4.3 declares that one as the shovel's user, who has no right to.
    [{"dest-exchange": exchange, "dest-exchange-key": WORK} for exchange in ("hub.requeue", "")],
    ids=["to hub.requeue", "straight to its queue"],
)
async def test_an_operator_moves_a_letter_back_with_a_shovel(
    management: Management, operator: Management, target: dict[str, str], empty: None
) -> None:
    async with channel_of(management, "hub") as channel:
        await publish("hub.dead-letter", WORK)(channel)
    address = management.url_of("operator").get_secret_value()
    shovel = {
        "src-protocol": "amqp091", "src-uri": address, "src-queue": DEAD, "src-delete-after": "queue-length",
        "dest-protocol": "amqp091", "dest-uri": address, "ack-mode": "on-confirm", **target,
    }  # fmt: skip

    operator.ask("PUT", f"parameters/shovel/{management.vhost}/replay", {"value": shovel})

    async def moved() -> bool:
        return await depth(everything(management), WORK) == 1

    await eventually(moved, within=15, every=0.1, because="the shovel moves the letter")
    assert await depth(everything(management), DEAD) == 0


async def test_a_service_that_hears_as_subscriber_and_speaks_as_publisher_needs_no_other_right(
    management: Management, empty: None
) -> None:
    warehouse = Warehouse(
        Broker(url=management.url_of("subscriber")),
        speaks=Broker(url=management.url_of("publisher")),
        pause_seconds=0,
    )
    running = asyncio.create_task(warehouse.run())
    await asyncio.wait_for(warehouse.listening(), 20)
    order = Event("e", "order.created", "/test", CREATED.order_id, datetime(2026, 5, 1, tzinfo=UTC), CREATED)
    message = cloudevents.encode(order)

    async with channel_of(management, "hub") as channel:
        await send(
            channel, "hub.orders", "order.created.iqmetrix", message.body, content_type=message.content_type
        )

        async def answered() -> bool:
            return await depth(everything(management), WORK) > 0

        await eventually(answered, every=0.1, because="the warehouse says what it shipped")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with channel_of(management, None) as channel:
        await channel.queue_delete("svc.warehouse")


def test_an_operator_may_not_make_users_nor_read_the_definitions(operator: Management) -> None:
    for method, path, body in (
        ("PUT", "users/mallory", {"password": "x", "tags": "administrator"}),
        ("PUT", f"permissions/{operator.vhost}/operator", {"configure": ".*", "write": ".*", "read": ".*"}),
        ("GET", "definitions", None),
        ("DELETE", f"queues/{operator.vhost}/{quote(WORK)}", None),
        ("DELETE", f"exchanges/{operator.vhost}/hub.orders", None),
    ):
        with pytest.raises(HTTPError) as refused:
            operator.ask(method, path, body)
        assert refused.value.code in (400, 401, 403), path


@pytest.mark.parametrize("user", ["hub", "publisher", "subscriber"])
def test_nobody_but_the_operator_reaches_the_management_pages(management: Management, user: str) -> None:
    management.url_of(user)

    with pytest.raises(HTTPError) as refused:
        Management(management.node, management.vhost, user).ask("GET", "overview")

    assert refused.value.code == 401


def test_an_operator_lists_replays_and_discards_letters_from_the_desk(
    management: Management, hub: Callable[..., Result], in_store: Callable[..., None]
) -> None:
    def bury(*names: str) -> None:
        async def put() -> None:
            async with channel_of(management, "hub") as channel:
                for name in names:
                    await send(channel, "hub.dead-letter", WORK, b"{}", message_id=name)

        asyncio.run(put())

    def desk(*words: str) -> Result:
        result = hub(*words, HUB_BROKER__URL=url)
        assert result.exit_code == 0, result.output
        return result

    url = management.url_of("operator").get_secret_value()
    bury("a", "b")
    in_store(lambda store: store.signing())

    assert [group["count"] for group in json.loads(desk("letters", "list", "--each", "--json").stdout)] == [2]
    desk("letters", "replay", "a")
    desk("letters", "discard", "b", "--reason", "a test")
    event = {"order_id": "iqmetrix:71204:7a0e", "packages": [{"carrier": "UPS", "tracking_number": "1"}]}
    assert hub("publish", "order.shipped", stdin=json.dumps(event), HUB_BROKER__URL=url).exit_code == 0

    assert asyncio.run(depth(everything(management), DEAD)) == 0
    # The replayed one, and the one that was published.
    assert asyncio.run(depth(everything(management), WORK)) == 2
    assert PASSWORD not in desk("topology", "plan").output
