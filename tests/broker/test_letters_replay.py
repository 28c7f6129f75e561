"""``hub letters replay`` as a process of its own: a few first, interrupted, killed."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.iqmetrix.update_order_status import UPDATE_ORDER_STATUS
from hub.messaging.outcome import Done, Reject
from hub.messaging.timeline import TimelineWriter
from hub.state.store import open_store
from tests.broker.letters_rig import ACME, DEAD, ORDER, WORK, Place, opened, place
from tests.broker.rig import Handler, running
from tests.eventually import eventually


@pytest.fixture
async def here(broker_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(broker_url) as open_session:
        yield await place(broker_url, tmp_path, open_session)


@pytest.fixture
async def consumer(here: Place) -> AsyncIterator[Handler]:
    """A hub that works on the queue and writes timelines."""
    handler = Handler(always=Done("told Cancelled"))
    store = await open_store(here.store_url)
    timeline = TimelineWriter(store)
    writing = asyncio.create_task(timeline.run())
    async with running(here.url, handler, queue=UPDATE_ORDER_STATUS, on_settled=timeline.add):
        yield handler
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.close()


async def test_a_dry_run_says_what_would_go_where_and_sends_nothing(here: Place) -> None:
    await here.bury("a", "b")
    await here.bury("c", queue=ACME, body=b'{"ship_to": {"name": "Dana"}}', type="webhook.confirmation")

    status, shown, _ = await here.hub("letters", "replay", "--all", "--dry-run")

    assert status == 0
    assert f"2 letters from {DEAD} to hub.requeue as {WORK}" in shown
    assert "2  order.cancelled" in shown
    assert "out of stock" not in shown
    assert "Dana" not in shown
    assert "3 letters would be replayed; nothing was sent" in shown
    assert (await here.count(DEAD), await here.count(WORK)) == (2, 0)


async def test_the_first_letters_are_watched_and_without_a_yes_the_rest_stays(
    here: Place, consumer: Handler
) -> None:
    await here.bury("a", "b", "c")

    status, shown, errors = await here.hub(
        "letters", "replay", "--queue", WORK, "--first", "1", "--reason", "test"
    )

    assert status == 0
    assert re.search(r"\tdone\ttold Cancelled", shown)
    assert "1 letter replayed" in shown
    assert "--yes" in errors
    assert await here.count(DEAD) == 2


async def test_with_a_yes_the_rest_follows_and_who_and_why_are_in_the_timeline(
    here: Place, consumer: Handler
) -> None:
    await here.bury("a", "b", "c")

    status, shown, errors = await here.hub(
        "letters", "replay", "--queue", WORK, "--first", "1", "--yes", "--reason", "vendor added", "--json"
    )

    assert status == 0, errors
    told = json.loads(shown)
    assert (told["replayed"], [first["outcome"] for first in told["first"]]) == (3, ["done"])
    line = json.loads(errors.splitlines()[-1])
    assert (line["event"], line["by"], line["why"]) == ("letter_replayed", "dana", "vendor added")
    await eventually(lambda: len(consumer.seen) == 3, because="not all letters were worked on")
    assert await here.count(DEAD) == 0
    deeds = [entry for entry in await here.timeline() if entry.what == "letter replayed"]
    assert {entry.facts["message_id"] for entry in deeds} == {"a", "b", "c"}
    assert {(entry.facts["by"], entry.facts["why"]) for entry in deeds} == {("dana", "vendor added")}


async def test_when_the_first_letter_dies_again_the_rest_stays_also_with_a_yes(
    here: Place, consumer: Handler
) -> None:
    consumer.always = Reject("vendor not found")
    await here.bury("a", "b", "c")

    status, shown, errors = await here.hub(
        "letters", "replay", "--queue", WORK, "--first", "1", "--yes", "--reason", "test"
    )

    assert status == 1
    assert re.search(r"\tdead again\tvendor not found", shown)
    assert "the rest stays" in errors
    await eventually(lambda: _holds(here, DEAD, 3), because="the letters are not all back")


@pytest.mark.usefixtures("consumer")
async def test_a_letter_about_no_order_is_found_among_the_dead(here: Place) -> None:
    counted = b'{"items": [{"sku": "A", "quantity": 1}]}'
    about_nothing = {"type": "inventory.counted", "routing_key": "inventory.counted"}
    await here.bury("a", body=counted, content_type="application/json", **about_nothing)

    status, shown, _ = await here.hub(
        "letters", "replay", "--queue", WORK, "--first", "1", "--reason", "test"
    )

    assert status == 1
    assert re.search(r"\tdead again\ttype: expected a type that this queue is bound to", shown)


async def test_a_canary_on_a_terminal_asks_before_the_rest_goes(here: Place) -> None:
    await here.bury("a", "b", "c", reason="retailops answered 200 to Vendor/PO/MarkSubmitted: no such vendor")

    _, listed = await here.on_terminal("letters", "list")
    status, shown = await here.on_terminal(
        "letters", "replay", "--all", "--first", "1", "--reason", "test", typed="y\n"
    )

    assert max(len(line) for line in listed.splitlines() if "\x1b" not in line) <= 80
    assert "MarkSubmitted" in listed
    assert "nobody works on" in " ".join(shown.split())
    assert "Send the rest, 2 letters?" in shown
    assert status == 0, shown
    assert "3 letters replayed" in shown
    assert await here.count(WORK) == 3


async def test_an_interrupted_replay_leaves_the_rest_and_says_how_far_it_came(here: Place) -> None:
    await here.bury(*(str(number) for number in range(20)))

    process = await here.begin(
        "letters", "replay", "--queue", WORK, "--rate", "10", "--reason", "test", "--yes"
    )
    await eventually(lambda: _at_least(here, WORK, 3), within=40, because="the replay did not begin")
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()

    sent = await here.count(WORK)
    assert process.returncode == 130
    assert 3 <= sent < 20
    assert f"{sent} letters replayed; interrupted, the rest stays" in output.decode()
    await eventually(lambda: _holds(here, DEAD, 20 - sent), because="the rest is not there")
    assert sum(entry.what == "letter replayed" for entry in await here.timeline(ORDER)) == sent


async def test_a_replay_that_is_killed_loses_no_letter(here: Place) -> None:
    ids = {str(number) for number in range(200)}
    await here.bury(*ids)

    process = await here.begin(
        "letters", "replay", "--queue", WORK, "--rate", "100", "--reason", "test", "--yes"
    )
    await eventually(lambda: _at_least(here, WORK, 1), within=40, because="the replay did not begin")
    process.kill()
    await process.communicate()

    await eventually(lambda: _all_are_back(here, 200), because="what the killed process held is not back")
    sent = [letter_id for letter_id, *_ in await here.taken(WORK)]
    left = [letter_id for letter_id, *_ in await here.taken(DEAD)]
    assert {*sent, *left} == ids
    assert sent
    assert left
    # At most the lot whose confirms were on their way is there twice: a tenth of a second's letters.
    assert len(sent) + len(left) <= len(ids) + 10


async def _holds(here: Place, queue: str, number: int) -> bool:
    return await here.count(queue) == number


async def _at_least(here: Place, queue: str, number: int) -> bool:
    return await here.count(queue) >= number


async def _all_are_back(here: Place, number: int) -> bool:
    return await here.count(WORK) + await here.count(DEAD) >= number
