"""``hub letters edit``: a letter is corrected, checked, kept as it was, and sent back; or it stays untouched."""

import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.amqp.dead_letters import dead_letter_queue
from hub.messaging.message import EDITED_FROM
from tests.broker.letters_rig import ACME, DEAD, FEED, ORDER, WORK, Place, cancelled, opened, place

ENTRY = (
    b"""<entry xmlns="http://www.w3.org/2005/Atom"><id>urn:uuid:1</id><content>no order</content></entry>"""
)


@pytest.fixture
async def here(broker_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(broker_url) as open_session:
        yield await place(broker_url, tmp_path, open_session)


def editor(folder: Path, old: str, new: str) -> str:
    """An editor that replaces one text by another, and looks whether others could read along."""
    script = folder / "editor.py"
    script.write_text(
        "import os, sys, pathlib\n"
        "file = pathlib.Path(sys.argv[-1])\n"
        "assert os.stat(file).st_mode & 0o077 == 0\n"
        f"file.write_text(file.read_text().replace({old!r}, {new!r}))\n"
    )
    return f"{sys.executable} {script}"


async def test_a_corrected_letter_goes_back_and_its_original_is_kept(here: Place) -> None:
    original = cancelled("a").body.replace(b"order_id", b"ordr_id")
    await here.bury("a", body=original, reason="data.order_id: Field required")

    status, shown, errors = await here.hub(
        "letters", "edit", "a", "--reason", "typo of the OMS",
        EDITOR=editor(here.folder, "ordr_id", "order_id"),
    )  # fmt: skip

    assert status == 0, errors
    ((letter_id, body, values),) = await here.taken(WORK)
    assert (letter_id, json.loads(body)["data"]["order_id"]) == ("a", ORDER)
    assert values[EDITED_FROM] == dead_letter_queue.digest(original)
    assert dead_letter_queue.digest(original) in shown
    assert await here.count(DEAD) == 0
    archive = here.folder / "var" / "discarded-letters.jsonl"
    kept = json.loads(archive.read_text())
    assert base64.b64decode(kept["body_base64"]) == original
    assert (kept["edited_because"], kept["edited_by"], kept["queue"]) == ("typo of the OMS", "dana", DEAD)
    assert os.stat(archive).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("out of stock", "out of stock", "nothing was changed"),
        ('"order_id": "iqmetrix:71204:7a0e"', '"order_id": "nowhere"', "data.order_id: expected"),
        ('"id": "a"', '"id": "b"', "expected the id to stay 'a'"),
        ("{", "", "expected JSON"),
    ],
)
async def test_what_is_not_valid_leaves_the_letter_untouched(
    here: Place, old: str, new: str, said: str
) -> None:
    await here.bury("a")

    status, _, errors = await here.hub(
        "letters", "edit", "a", "--reason", "test", EDITOR=editor(here.folder, old, new)
    )

    assert status == 1
    assert said in errors
    assert not (here.folder / "var").exists()
    ((letter_id, body, _),) = await here.taken(DEAD)
    assert (letter_id, body) == ("a", cancelled("a").body)


async def test_on_a_terminal_an_invalid_edit_can_be_mended(here: Place) -> None:
    await here.bury("a", body=cancelled("a").body.replace(b"out of stock", b"1"))
    script = here.folder / "twice.py"
    # The first time it breaks the order id, the second time it mends it.
    script.write_text(
        "import sys, pathlib\n"
        "file = pathlib.Path(sys.argv[-1]); text = file.read_text()\n"
        "broken = 'nowhere' in text\n"
        f"new = text.replace('nowhere', {ORDER!r}).replace('\"1\"', '\"2\"') if broken"
        f" else text.replace({ORDER!r}, 'nowhere')\n"
        "file.write_text(new)\n"
    )

    os.environ["VISUAL"] = f"{sys.executable} {script}"
    try:
        status, shown = await here.on_terminal("letters", "edit", "a", "--reason", "test", typed="y\n")
    finally:
        del os.environ["VISUAL"]

    assert "data.order_id: expected" in shown
    assert status == 0, shown
    ((_, body, _),) = await here.taken(WORK)
    assert json.loads(body)["data"] == {"order_id": ORDER, "reason": "2"}


async def test_stored_webhooks_are_refused_and_raw_entries_are_held_against_their_producer(
    here: Place,
) -> None:
    await here.bury("w", queue=ACME, type="webhook.confirmation", body=b'{"a": 1}')
    await here.bury(
        "iqmetrix:71204:urn:uuid:1", queue=FEED, type="iqmetrix.entry", body=ENTRY, headers={"x-hub-account": "71204"}
    )  # fmt: skip
    breaking = editor(here.folder, "no order", "still none")

    webhook = await here.hub("letters", "edit", "w", "--reason", "test", EDITOR=breaking)
    entry = await here.hub(
        "letters", "edit", "iqmetrix:71204:urn:uuid:1", "--reason", "test", EDITOR=breaking
    )

    assert webhook[0] == entry[0] == 1
    assert "the same bytes" in webhook[2]
    assert "expected" in entry[2]
    assert "the letter stays as it was" in entry[2]
    assert (await here.count(f"{ACME}.dead"), await here.count(f"{FEED}.dead")) == (1, 1)


async def test_a_body_from_a_file_is_shown_as_a_difference_and_sent(here: Place) -> None:
    await here.bury("a", body=cancelled("a").body.replace(b"order_id", b"ordr_id"))
    (here.folder / "body.json").write_bytes(cancelled("a").body)
    asked = ("letters", "edit", "a", "--reason", "typo", "--body", "body.json")

    refused = await here.hub(*asked)
    status, shown, errors = await here.hub(*asked, "--yes")

    assert refused[0] == 1
    assert "with --yes" in refused[2]
    assert status == 0, errors
    assert '-    "ordr_id"' in shown
    assert '+    "order_id"' in shown
    assert "letter edited and replayed" not in refused[1]
    ((_, body, _),) = await here.taken(WORK)
    assert body == cancelled("a").body


async def test_a_body_from_standard_input_must_be_valid(here: Place) -> None:
    await here.bury("a")

    status, _, errors = await here.hub("letters", "edit", "a", "--reason", "typo", "--body", "-", "--yes")

    assert status == 1
    assert "expected JSON" in errors
    assert await here.count(DEAD) == 1


async def test_a_body_file_that_is_not_there_is_named(here: Place) -> None:
    status, _, errors = await here.hub("letters", "edit", "a", "--reason", "typo", "--body", "nowhere.json")

    assert status == 2
    assert "--body: expected a file that can be read" in errors
