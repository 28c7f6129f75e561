"""``hub letters refused``: what lies in the state store because no queue takes it."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.state.protocols import RefusedMessage
from hub.state.store import SqlStore
from tests.cli.conftest import Hub

ORDER = "iqmetrix:71204:7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"
BODY = orjson.dumps({"order_id": ORDER, "ship_to": {"name": "Dana Whitfield"}})
PROPERTIES: dict[str, Any] = {
    "content_type": "application/json",
    "type": "order.created",
    "message_id": "Dana Whitfield",
    "exchange": "hub.orders",
    "routing_key": "order.created.Dana",
    "headers": {"x-hub-attempts": 6, "x-note": "Dana Whitfield"},
    "others": {"app_id": "Dana Whitfield"},
}


def kept(letter_id: str) -> RefusedMessage:
    return RefusedMessage(
        letter_id,
        "hub.webhook.acme",
        "no such order",
        "403: ACCESS_REFUSED",
        datetime(2026, 5, 1, tzinfo=UTC),
        orjson.dumps(PROPERTIES).decode(),
        BODY,
    )


@pytest.fixture
def refused(in_store: Callable[..., None]) -> None:
    async def fill(store: SqlStore) -> None:
        await store.keep_refused(kept("aa11"))
        await store.keep_refused(kept("aa22"))

    in_store(fill)


def test_none_is_said_in_words(hub: Hub, in_store: Callable[..., None]) -> None:
    in_store(lambda store: store.signing())

    assert hub("letters", "refused", "list").stdout == "no letters that the broker refused\n"


@pytest.mark.usefixtures("refused")
def test_each_is_listed_with_both_reasons(hub: Hub) -> None:
    first, second = json.loads(hub("letters", "refused", "list", "--json").stdout)

    assert (first["id"], second["id"]) == ("aa11", "aa22")
    assert (first["queue"], first["type"], first["bytes"]) == ("hub.webhook.acme", "order.created", len(BODY))
    assert (first["reason"], first["refusal"]) == ("no such order", "403: ACCESS_REFUSED")


@pytest.mark.usefixtures("refused")
def test_one_is_shown_without_what_may_be_personal(hub: Hub) -> None:
    shown = hub("letters", "refused", "show", "aa1").stdout

    assert "Whitfield" not in shown
    assert "Dana" not in shown
    assert ORDER in shown
    assert "403: ACCESS_REFUSED" in shown
    assert "x-hub-attempts: 6" in shown


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("words", [("--unmask",), ("--body", "body.json")])
def test_who_looks_at_personal_data_is_on_the_timeline(
    hub: Hub, in_store: Callable[..., None], tmp_path: Path, words: tuple[str, ...]
) -> None:
    found: list[str] = []

    async def look(store: SqlStore) -> None:
        found.extend(entry.what for entry in await store.timeline_of(ORDER))

    result = hub("letters", "refused", "show", "aa11", *words)
    in_store(look)

    assert result.exit_code == 0
    assert found == ["letter shown unmasked"]
    if "--body" in words:
        saved = tmp_path / "body.json"
        assert saved.read_bytes() == BODY
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        assert hub("letters", "refused", "show", "aa11", *words).exit_code == 2
    else:
        assert "Dana Whitfield" in result.stdout


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(("letter_id", "number"), [("aa", 2), ("bb", 0)])
def test_an_id_that_is_not_one_letters_says_how_many_fit(hub: Hub, letter_id: str, number: int) -> None:
    result = hub("letters", "refused", "show", letter_id)

    assert result.exit_code == 2
    assert f"{number} begin like it" in result.stderr
