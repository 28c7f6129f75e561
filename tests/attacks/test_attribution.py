"""Who published a message is known for as long as the message is: on its letter, in its order's timeline."""

import json
from datetime import UTC, datetime

import pytest
from aio_pika.exceptions import AMQPError

from tests.attacks.rig import ACME, Deployment, dead, shipped
from tests.eventually import eventually


async def test_a_letter_and_the_timeline_name_the_user_and_the_application(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()
        deployment.acme.respond(400, times=100)
        who = {"user_id": "publisher", "app_id": "warehouse"}

        await deployment.publish_as_publisher(shipped(order_id), "order.shipped", message_id="e-1", **who)
        await deployment.has(dead(ACME))
        listed = await deployment.desk("letters", "list", "--queue", dead(ACME), "--each", "--json")
        async with deployment.store() as store:

            async def noted() -> bool:
                found = [entry.facts for entry in await store.timeline_of(order_id) if entry.what == "dead"]
                return [(facts.get("user"), facts.get("app")) for facts in found] == [
                    ("publisher", "warehouse")
                ]

            await eventually(noted, within=20, every=0.1, because="the timeline names the publisher")

    ((letter,),) = [queue["letters"] for queue in json.loads(listed)]
    assert (letter["user"], letter["app"]) == ("publisher", "warehouse")


async def test_the_broker_refuses_the_name_of_another_user(deployment: Deployment) -> None:
    with pytest.raises(AMQPError):
        await deployment.publish_as_publisher({}, "order.shipped", user_id="operator")

    assert await deployment.depth(ACME) == 0


async def test_a_header_names_nobody(deployment: Deployment) -> None:
    async with deployment.hub("consumers"):
        await deployment.publish_as_publisher(
            b"{}", "order.shipped", message_id="e-1", headers={"x-hub-user-id": "operator"}
        )
        await deployment.has(dead(ACME))

        listed = await deployment.desk("letters", "list", "--queue", dead(ACME), "--each", "--json")

    ((letter,),) = [queue["letters"] for queue in json.loads(listed)]
    assert letter["user"] is None


async def test_who_reads_personal_data_of_letters_is_written_down(deployment: Deployment) -> None:
    begun = datetime.now(UTC)
    async with deployment.hub():
        order_id = await deployment.known_order()
        await deployment.publish_as_publisher({"order_id": order_id}, "order.shipped", message_id="e-1")
        await deployment.has(dead(ACME))

        masked = await deployment.desk("letters", "show", "e-1", "--queue", dead(ACME))
        shown = await deployment.desk("letters", "show", "e-1", "--queue", dead(ACME), "--unmask")
        exported = await deployment.desk(
            "letters", "export", "e-1", "--queue", dead(ACME), "--to", "letters.jsonl"
        )
        async with deployment.store() as store:
            entries = [entry for entry in await store.timeline_of(order_id) if entry.at >= begun]

    assert "letter_unmasked" not in masked
    assert "letter_unmasked" in shown
    assert "letter_exported" in exported
    deeds = [entry for entry in entries if entry.what in ("letter shown unmasked", "letter exported")]
    assert [(entry.what, entry.facts["message_id"]) for entry in deeds] == [
        ("letter shown unmasked", "e-1"),
        ("letter exported", "e-1"),
    ]
    assert all(entry.facts["by"] for entry in deeds)
