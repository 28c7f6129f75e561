"""Deeds on letters: many show their number and ask, and an id that lies in several queues is asked about."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.broker.letters_rig import ACME, DEAD, ORDER, WORK, Place, opened, place

BECAUSE = ("--reason", "a test")


@pytest.fixture
async def here(broker_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(broker_url) as open_session:
        yield await place(broker_url, tmp_path, open_session)


@pytest.mark.parametrize("deed", ["replay", "discard"])
async def test_a_deed_on_many_letters_is_refused_where_nobody_answers(here: Place, deed: str) -> None:
    await here.bury("a", "b")

    status, _, errors = await here.hub("letters", deed, "--queue", WORK, *BECAUSE)

    assert status == 1
    assert f"2 letters in {DEAD}" in errors
    assert "with --yes it is done" in errors
    assert await here.count(DEAD) == 2


@pytest.mark.parametrize(("typed", "left"), [("n\n", 2), ("y\n", 0)])
async def test_a_deed_on_many_letters_asks_with_their_number(here: Place, typed: str, left: int) -> None:
    await here.bury("a", "b")

    status, shown = await here.on_terminal("letters", "discard", "--order", ORDER, *BECAUSE, typed=typed)

    assert "Discard 2 letters?" in shown
    assert status == (1 if left else 0)
    assert await here.count(DEAD) == left


async def test_a_replay_of_many_letters_needs_a_reason(here: Place) -> None:
    await here.bury("a")

    status, _, errors = await here.hub("letters", "replay", "--queue", WORK, "--yes")

    assert status == 2
    assert "--reason" in errors
    assert await here.count(DEAD) == 1


@pytest.mark.parametrize("words", [("replay", "a"), ("discard", "a", *BECAUSE), ("show", "a")], ids=str)
async def test_an_id_in_several_queues_wants_its_queue(here: Place, words: tuple[str, ...]) -> None:
    await here.bury("a")
    await here.bury("a", queue=ACME)

    status, _, errors = await here.hub("letters", *words)
    chosen, *_ = await here.hub("letters", *words, "--queue", WORK)

    assert status == 2
    assert f"{DEAD} and {ACME}.dead" in errors
    assert "--queue" in errors
    assert chosen == 0
    assert await here.count(f"{ACME}.dead") == 1


async def test_on_a_terminal_the_queue_of_an_id_is_asked_for(here: Place) -> None:
    await here.bury("a")
    await here.bury("a", queue=ACME)

    status, shown = await here.on_terminal("letters", "discard", "a", *BECAUSE, typed="2\n")

    assert "Which queue, 1 to 2" in shown
    assert status == 0, shown
    assert (await here.count(DEAD), await here.count(f"{ACME}.dead")) == (1, 0)
