"""`hub doctor` on a real broker: each fault is provoked once, and nothing is left behind."""

import orjson

from hub.amqp.diagnostics.broker_checks import examine_broker
from hub.local_broker.node import PrivateNode
from hub.observability.health_checks import Diagnosis
from hub.topology import Topology, draw
from tests.broker.rig import LADDER_POWERS, QUEUE, WAITS, broker_settings, outsider
from tests.conftest import _ask
from tests.nodes import rabbitmqctl


def the_map() -> Topology:
    return draw([QUEUE], WAITS, LADDER_POWERS)


async def diagnoses(url: str) -> dict[str, Diagnosis]:
    return {found.check: found for found in await examine_broker(broker_settings(url), the_map())}


async def declare_the_map(url: str) -> None:
    from hub.amqp.connection.connection import close, connect
    from hub.amqp.topology.declare import declare

    connection = await connect(broker_settings(url), name="test")
    await declare(connection, the_map())
    await close(connection)


async def test_a_new_broker_is_well(broker_url: str) -> None:
    found = await diagnoses(broker_url)

    assert [one for one in found.values() if not one.ok] == []
    assert found["broker"].got.startswith("RabbitMQ ")
    assert found["topology"].got == "nothing declared yet; the hub does that when it starts"
    assert set(found) == {
        "broker",
        "broker permissions",
        "broker alarms",
        "broker size limit",
        "broker policies",
        "topology",
    }


async def test_a_broker_that_is_away_is_told_with_what_to_do_and_without_the_password() -> None:
    (found,) = (await diagnoses("amqp://hub:s3cret@127.0.0.1:1/")).values()

    assert not found.ok
    assert "127.0.0.1:1" in found.got
    assert "[broker] url" in found.remedy
    assert "s3cret" not in str(found)


async def test_a_queue_with_other_arguments_and_one_that_is_missing_are_drift(broker_url: str) -> None:
    await declare_the_map(broker_url)
    well = await diagnoses(broker_url)
    async with outsider(broker_url) as channel:
        await channel.queue_delete("hub.wait.50")
        await channel.declare_queue(
            "hub.wait.50", durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 51}
        )
        await channel.queue_delete("hub.wait.100")

    drifted = (await diagnoses(broker_url))["topology"]

    assert well["topology"].ok
    assert not drifted.ok
    assert "queue hub.wait.50: different" in drifted.got
    assert "queue hub.wait.100: missing" in drifted.got
    assert "hub topology apply" in drifted.remedy


async def test_a_user_who_may_not_do_what_the_hub_does_is_told_which_right_is_missing(
    node: PrivateNode, broker_url: str
) -> None:
    vhost = broker_url.rpartition("/")[2]
    _ask(node, "PUT", "/api/users/half", b'{"password": "half", "tags": ""}')
    rights = {"configure": "^hub\\.", "write": "^hub\\.fulfillment$", "read": "^hub\\."}
    _ask(node, "PUT", f"/api/permissions/{vhost}/half", orjson.dumps(rights))
    try:
        found = await diagnoses(f"amqp://half:half@127.0.0.1:{node.port}/{vhost}")
    finally:
        _ask(node, "DELETE", "/api/users/half")

    refused = found["broker permissions"]
    assert not refused.ok
    assert "access to queue 'hub.doctor." in refused.got
    assert "rabbitmqctl set_permissions" in refused.remedy


async def test_a_broker_in_alarm_is_told_though_it_answers_nothing(own_node: PrivateNode) -> None:
    await rabbitmqctl(own_node, "set_disk_free_limit", str(10**15))

    found = await diagnoses(own_node.url)

    assert not found["broker alarms"].ok
    assert found["broker alarms"].got == "publishing is blocked: the broker is short of memory or disk"
    assert found["topology"].ok, "the others are looked at all the same"
