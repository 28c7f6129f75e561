"""Queues of a client that left the settings: found, named with the command that ends them, and ended when empty."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from hub.service.installation import remember_queues
from hub.topology import Topology, WorkQueue, draw
from tests.broker.rig import ORDER_ID, depth, outsider, send
from tests.cli.conftest import hub as hub  # the command line, as a fixture
from tests.cli.conftest import in_store as in_store

Hub = Callable[..., Result]
CLIENT = '[[webhooks]]\nname = "{name}"\npartial_cancellation_url = "https://hooks.test/{name}"\n'
GONE = "hub.webhook.gone"


def topology(*names: str) -> Topology:
    return draw((WorkQueue("webhook", name, hears=("order.cancelled",)) for name in names), waits=())


@pytest.fixture
def after_removal(hub: Hub, in_store: Callable[..., None], broker_url: str, tmp_path: Path) -> Hub:
    """The command line with settings of one client, on a broker that was set up with two."""
    file = tmp_path / "own.toml"
    file.write_text(CLIENT.format(name="acme") + CLIENT.format(name="gone"))
    environment = {"HUB_CONFIG": str(file), "HUB_BROKER__URL": broker_url}
    assert hub("topology", "apply", **environment).exit_code == 0
    in_store(lambda store: remember_queues(store, topology("acme", "gone")))
    file.write_text(CLIENT.format(name="acme"))
    return lambda *words: hub(*words, **environment)


def test_the_plan_names_a_left_over_queue_and_the_command(after_removal: Hub) -> None:
    said = after_removal("topology", "plan").stdout

    assert (
        f"{GONE}: no longer in the settings, still on the broker with 0 messages; hub topology retire {GONE} ends it"
        in said
    )
    assert "hub.webhook.acme: no longer" not in said


def test_an_empty_left_over_queue_is_ended_with_its_dead_letter_queue(after_removal: Hub) -> None:
    result = after_removal("topology", "retire", GONE)

    assert (result.exit_code, result.stdout) == (0, f"deleted {GONE}, {GONE}.dead\n")
    assert "no longer in the settings" not in after_removal("topology", "plan").stdout


def test_a_queue_of_the_settings_is_not_ended(after_removal: Hub) -> None:
    result = after_removal("topology", "retire", "hub.webhook.acme")

    assert result.exit_code == 2
    assert "expected a queue that is not in the settings any more" in result.stderr


async def test_a_left_over_queue_with_messages_is_kept_and_fills_no_more(
    after_removal: Hub, broker_url: str
) -> None:
    body = f'{{"order_id": "{ORDER_ID}"}}'.encode()
    async with outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.cancelled", body)

    result = await asyncio.to_thread(after_removal, "topology", "retire", GONE)

    assert result.exit_code == 2
    assert f"{GONE}: expected no messages and no consumers, got 1 and 0" in result.stderr
    async with outsider(broker_url) as channel:
        await send(channel, "hub.fulfillment", "order.cancelled", body)
    assert await depth(broker_url, "hub.webhook.acme") == 2
    assert await depth(broker_url, GONE) == 1
