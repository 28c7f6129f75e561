"""Policies that limit queues of the hub: found with their names, whatever their kind; and letters that outlive them."""

from collections.abc import Callable
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.exceptions import DeliveryError
from typer.testing import Result
from yarl import URL

from hub.amqp.connection.connection import connect
from hub.amqp.diagnostics.broker_checks import examine_broker
from hub.amqp.topology.declare import declare
from hub.amqp.topology.policies import find_limiting
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode
from hub.topology import draw
from tests.broker.management import PASSWORD, Management
from tests.broker.rig import LADDER_POWERS, QUEUE, WAITS
from tests.cli.conftest import hub as hub  # the command line, as a fixture
from tests.eventually import eventually

MAP = draw([QUEUE], WAITS, LADDER_POWERS)
Put = Callable[..., None]


@pytest.fixture
def management(node: PrivateNode, broker_url: str) -> Management:
    return Management(node, urlsplit(broker_url).path[1:])


@pytest.fixture
def put(management: Management) -> Put:
    def put(kind: str, name: str, pattern: str, priority: int = 0, **definition: int) -> None:
        body = {"pattern": pattern, "apply-to": "queues", "priority": priority}
        keys = {key.replace("_", "-"): value for key, value in definition.items()}
        management.ask("PUT", f"{kind}/{management.vhost}/{name}", {**body, "definition": keys})

    return put


@pytest.fixture
def settings(management: Management, broker_url: str) -> Broker:
    at = URL(management.node.management_url or "").with_user(management.node.user)
    return Broker.model_validate(
        {"url": broker_url, "management_url": str(at.with_password(management.node.password))}
    )


async def test_a_policy_and_an_operator_policy_that_limit_are_named(settings: Broker, put: Put) -> None:
    put("policies", "cap", r"\.dead$", max_length=3, max_length_bytes=1000)
    put("operator-policies", "short", r"^hub\.unroutable$", message_ttl=1000)
    put("policies", "others", r"^svc\.", expires=1000)

    found = await find_limiting(settings, MAP)

    assert [(each.name, each.keys, each.queues) for each in found.limiting] == [
        ("policy cap", ("max-length", "max-length-bytes"), (QUEUE.dead,)),
        ("operator policy short", ("message-ttl",), ("hub.unroutable",)),
    ]
    assert found.unknown == ""


async def test_the_policies_of_the_definitions_are_no_fault_until_changed(
    settings: Broker, management: Management, put: Put
) -> None:
    management.import_definitions(MAP)
    as_imported = await find_limiting(settings, MAP)

    put("policies", "hub.unroutable", r"^hub\.unroutable$", max_length_bytes=1)
    changed = await find_limiting(settings, MAP)

    assert as_imported.limiting == ()
    assert [each.name for each in changed.limiting] == ["policy hub.unroutable"]


async def test_a_policy_that_another_one_outranks_does_not_count(settings: Broker, put: Put) -> None:
    put("policies", "cap", r"^hub\.", max_length=3)
    put("policies", "ours", r"^hub\.", priority=9, delivery_limit=1_000_000)

    assert (await find_limiting(settings, MAP)).limiting == ()


async def test_doctor_finds_a_limit_and_says_where_it_could_not_look(
    settings: Broker, put: Put, broker_url: str
) -> None:
    put("policies", "cap", r"\.dead$", max_length=3)

    looked = {each.check: each for each in await examine_broker(settings, MAP)}["broker policies"]
    blind = {each.check: each for each in await examine_broker(Broker(url=settings.url), MAP)}[
        "broker policies"
    ]

    assert not looked.ok
    assert f"policy cap sets max-length on {QUEUE.dead}" in looked.got
    assert blind.ok
    assert "not looked at: broker.management_url" in blind.got


@pytest.mark.parametrize("user", ["nobody", "subscriber"])
async def test_an_api_that_refuses_is_unknown_and_shows_no_password(
    management: Management, settings: Broker, user: str
) -> None:
    management.import_definitions(MAP)
    management.url_of("subscriber")
    at = URL(management.node.management_url or "").with_user(user).with_password(PASSWORD)

    found = await find_limiting(Broker(url=settings.url, management_url=str(at)), MAP)  # type: ignore[arg-type]

    assert "got status 401" in found.unknown
    assert PASSWORD not in found.unknown


async def test_an_api_that_is_away_is_unknown(settings: Broker) -> None:
    away = Broker.model_validate({"url": settings.url, "management_url": "http://a:b@127.0.0.1:1"})

    assert "could not connect" in (await find_limiting(away, MAP)).unknown


def test_verify_names_the_policy_and_ends_with_1(
    hub: Callable[..., Result], settings: Broker, broker_url: str, put: Put
) -> None:
    assert settings.management_url is not None
    environ = {
        "HUB_BROKER__URL": broker_url,
        "HUB_BROKER__MANAGEMENT_URL": settings.management_url.get_secret_value(),
    }
    hub("topology", "apply", **environ)
    well = hub("topology", "verify", **environ)
    blind = hub("topology", "verify", HUB_BROKER__URL=broker_url)
    put("policies", "cap", "", expires=100_000)

    found = hub("topology", "verify", **environ)

    assert well.exit_code == blind.exit_code == 0
    assert "policies were not looked at" in blind.output
    assert found.exit_code == 1
    assert "policy cap" in found.output
    assert "clear these policies" in found.output


async def test_a_length_limit_refuses_new_letters_and_drops_none(settings: Broker, put: Put) -> None:
    put("policies", "cap", r"\.dead$", max_length=2)
    async with await connect(settings, name="test") as connection:
        await declare(connection, MAP)
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange("hub.dead-letter", ensure=False)
        taken: list[bytes] = []

        async def refused() -> bool:
            body = str(len(taken)).encode()
            try:
                await exchange.publish(aio_pika.Message(body), QUEUE.queue)
            except DeliveryError:
                return True
            taken.append(body)
            return False

        await eventually(refused, because="the broker refuses a letter above the limit")
        letters = await channel.get_queue(QUEUE.dead, ensure=False)
        first = await letters.get(no_ack=True)

    assert first is not None
    assert first.body == b"0"
    assert len(taken) >= 2
