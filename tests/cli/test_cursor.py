import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hub.state.poller_notes import PollerNotes
from hub.state.store import SqlStore
from tests.cli.conftest import Hub


@pytest.fixture
def cursor(in_store: Callable[..., None]) -> str:
    """A poller that has taken in one entry; its process has ended."""
    name = "iqmetrix:71204"

    async def poll(store: SqlStore) -> None:
        await store.acquire_lease(name, holder="elsewhere", lease=timedelta(seconds=60))
        await store.commit(name, {"page": "7"}, ["entry-1"], holder="elsewhere")
        await store.release_lease(name, holder="elsewhere")

    in_store(poll)
    return name


def test_a_cursor_is_shown_with_the_time_it_moved(hub: Hub, cursor: str) -> None:
    (row,) = json.loads(hub("cursor", "show", "--json").stdout)

    assert (row["name"], row["cursor"], row["held_by"]) == (cursor, {"page": "7"}, None)
    assert row["moved_at"].startswith("20")


def test_a_reset_without_yes_says_what_it_would_do_and_does_nothing(hub: Hub, cursor: str) -> None:
    result = hub("cursor", "reset", cursor)

    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert len(json.loads(hub("cursor", "show", "--json").stdout)) == 1


@pytest.mark.parametrize(("words", "unseen"), [((), []), (("--forget",), ["entry-1"])])
def test_a_reset_starts_anew_and_forgets_what_was_taken_in_only_when_told_to(
    hub: Hub, cursor: str, in_store: Callable[..., None], words: tuple[str, ...], unseen: list[str]
) -> None:
    result = hub("cursor", "reset", cursor, "--yes", *words)

    found: list[Any] = []

    async def look(store: SqlStore) -> None:
        found.extend([await store.cursor(cursor), sorted(await store.unseen(cursor, ["entry-1"]))])

    in_store(look)
    assert result.exit_code == 0
    assert found == [None, unseen]


def test_a_poller_that_runs_is_not_reset(hub: Hub, cursor: str, in_store: Callable[..., None]) -> None:
    in_store(lambda store: store.acquire_lease(cursor, holder="other-host:1", lease=timedelta(seconds=60)))

    result = hub("cursor", "reset", cursor, "--yes")

    assert result.exit_code == 1
    assert len(json.loads(hub("cursor", "show", "--json").stdout)) == 1


def test_an_unknown_poller_is_answered_with_those_there_are(hub: Hub, cursor: str) -> None:
    result = hub("cursor", "reset", "iqmetrix:1", "--yes")

    assert result.exit_code == 2
    assert cursor in result.stderr


HELD = "iqmetrix.orders:71204"


@pytest.fixture
def held(in_store: Callable[..., None]) -> None:
    """A poller that has never succeeded: its current page cannot be read."""
    failure = {
        "since": "2024-05-14T16:02:09+00:00",
        "status": 200,
        "code": "feed_held",
        "reason": "damaged",
        "check": "the page",
        "page": "current",
        "digest": "sha256:1",
    }
    in_store(lambda store: PollerNotes(store, HELD).set_failure(failure))


@pytest.mark.usefixtures("held")
def test_a_poller_that_never_succeeded_is_shown_with_what_to_check(hub: Hub) -> None:
    (row,) = json.loads(hub("cursor", "show", "--json").stdout)
    table = hub("cursor", "show").stdout

    assert (row["name"], row["cursor"], row["status"], row["code"]) == (HELD, None, 200, "feed_held")
    assert (row["failing_since"], row["check"]) == ("2024-05-14T16:02:09+00:00", "the page")
    assert "feed_held" in table


@pytest.mark.usefixtures("held")
def test_a_page_that_holds_a_poller_is_stepped_over_and_recorded(
    hub: Hub, in_store: Callable[..., None]
) -> None:
    result = hub("cursor", "skip", HELD, "--reason", "iqmetrix sends the order again", HUB_OPERATOR="dana")

    skips: list[Any] = []

    async def look(store: SqlStore) -> None:
        notes = PollerNotes(store, HELD)
        skips.extend(await notes.skips())
        skips.append(
            (await notes.is_skipped("current", "sha256:1"), await notes.is_skipped("current", "sha256:2"))
        )

    in_store(look)
    assert result.exit_code == 0
    assert "page_skipped" in result.stderr
    assert (
        skips[0].items()
        >= {"page": "current", "reason": "iqmetrix sends the order again", "by": "dana"}.items()
    )
    assert skips[1] == (True, False)


def test_a_poller_that_no_page_holds_is_not_stepped_over(hub: Hub, cursor: str) -> None:
    result = hub("cursor", "skip", cursor, "--reason", "x")

    assert result.exit_code == 2
    assert "which is not held" in result.stderr
