"""``hub letters`` and ``hub publish`` on a real broker, as an operator uses them."""

import asyncio
import base64
import csv
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import Result

from hub.amqp.copies import headers
from hub.amqp.copies.headers import RetryState
from hub.amqp.sending.client_session import client_session
from hub.config.broker import Broker
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import Event, OrderCreated, OrderLine
from hub.state.protocols import TimelineEntry
from hub.state.store import open_store
from tests.cli.conftest import hub as hub  # the command line, as a fixture
from tests.cli.conftest import in_store as in_store

Hub = Callable[..., Result]
ORDER = "iqmetrix:71204:7a0e"
WORK = "hub.iqmetrix.update-order-status"
ACME = "hub.webhook.acme"
CREATED = OrderCreated.model_validate(
    {
        "order_id": ORDER,
        "source": "iqmetrix",
        "source_account": "71204",
        "source_order_id": "7a0e",
        "source_event_id": "urn:uuid:1",
        "order_number": "DS-1001",
        "created_at": "2026-05-01T00:00:00Z",
        "ship_to": {"name": "Dana Whitfield", "city": "Boise"},
        "lines": [OrderLine(line_id="1", sku="A-1", quantity=2).model_dump()],
    }
)


@pytest.fixture
def desk(hub: Hub, broker_url: str, in_store: Callable[..., None]) -> Hub:
    """The command line against a virtual host that has the example's map, and the state store of a hub that has run."""
    in_store(lambda store: store.signing())

    def run(*words: str, stdin: str | None = None) -> Result:
        return hub(*words, stdin=stdin, HUB_BROKER__URL=broker_url)

    assert run("topology", "apply").exit_code == 0
    return run


@pytest.fixture
def bury(broker_url: str) -> Callable[..., None]:
    """Put a letter into the dead-letter queue of a work queue, as the hub does."""

    def put(
        letter_id: str, *, queue: str = WORK, reason: str = "no such order", body: bytes | None = None
    ) -> None:
        event = Event("event", "order.created", "/test", ORDER, datetime(2026, 5, 1, tzinfo=UTC), CREATED)
        message = cloudevents.encode(event)
        book = RetryState(made=6, exchange=message.exchange, routing_key=message.routing_key)
        values = headers.dead(
            book.failed(reason, datetime.now(UTC) - timedelta(hours=2)), message, queue=queue
        )
        letter = Message(body or message.body, type="order.created", message_id=letter_id, headers=values)
        asyncio.run(send(broker_url, letter, exchange="hub.dead-letter", routing_key=queue))

    return put


async def send(url: str, message: Message, *, exchange: str, routing_key: str) -> None:
    async with client_session(Broker(url=SecretStr(url)), name="test") as open_session:
        await open_session.send(message, exchange=exchange, routing_key=routing_key)


def take(url: str, queue: str) -> list[tuple[bytes, dict[str, Any]]]:
    """Take all messages of a queue away."""

    async def get() -> list[tuple[bytes, dict[str, Any]]]:
        found = []
        async with client_session(Broker(url=SecretStr(url)), name="test") as open_session:
            source = await open_session.channel.declare_queue(queue, passive=True)
            while (incoming := await source.get(fail=False)) is not None:
                await incoming.ack()
                found.append((incoming.body, dict(incoming.headers)))
        return found

    return asyncio.run(get())


def listed(desk: Hub, *words: str) -> dict[str, list[dict[str, Any]]]:
    """What ``hub letters list --json`` says: the letters of each queue."""
    result = desk("letters", "list", "--each", "--json", *words)
    assert result.exit_code == 0
    return {group["queue"]: group["letters"] for group in json.loads(result.stdout)}


def timeline(tmp_path: Path) -> list[TimelineEntry]:
    async def read() -> list[TimelineEntry]:
        store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
        try:
            return list(await store.timeline_of(ORDER))
        finally:
            await store.close()

    return asyncio.run(read())


def test_list_groups_by_queue_and_by_reason_in_business_words(desk: Hub, bury: Callable[..., None]) -> None:
    for number in range(3):
        bury(
            f"a{number}", reason=f"retailops answered 200 to Vendor/PO/MarkSubmitted: PO D{number} is locked"
        )
    bury("b", reason="data.lines.0.sku: expected a sku of the order ('A-1'), got 'B-2'")
    bury("c", queue=ACME, reason="acme answered 422 to the webhook")

    groups = json.loads(desk("letters", "list", "--json").stdout)
    found = desk("letters", "list", "--fault", "po # is LOCKED", "--json").stdout

    assert [(group["queue"], group["letters"], group["reason"]) for group in groups] == [
        (f"{WORK}.dead", 3, "retailops · MarkSubmitted · ERROR 'PO # is locked'"),
        (f"{WORK}.dead", 1, "order.created · data.lines.0.sku · expected a sku of the order ('A-1')"),
        (f"{ACME}.dead", 1, "acme · order.created · 422"),
    ]
    assert groups[0]["example"] in {"a0", "a1", "a2"}
    assert groups[0]["oldest"] <= groups[0]["newest"]
    assert [group["letters"] for group in json.loads(found)] == [3]


def test_list_each_says_why_each_letter_died(desk: Hub, bury: Callable[..., None]) -> None:
    bury("a")
    bury("b", reason="quantity too large")
    bury("c", queue=ACME)

    found = listed(desk)

    assert {queue: len(letters) for queue, letters in found.items()} == {f"{WORK}.dead": 2, f"{ACME}.dead": 1}
    (letter,) = found[f"{ACME}.dead"]
    assert (letter["id"], letter["type"], letter["order_id"]) == ("c", "order.created", ORDER)
    assert (letter["reason"], letter["attempts"], letter["age"]) == ("no such order", 6, "2h")


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("--reason", "QUANTITY"), {"b"}),
        (("--queue", ACME), {"c"}),
        (("--queue", f"{ACME}.dead"), {"c"}),
        (("--order", ORDER), {"a", "b", "c"}),
        (("--order", "iqmetrix:71204:other"), set()),
        (("--source", "iqmetrix"), {"a", "b", "c"}),
        (("--source", "retailops"), set()),
        (("--older-than", "90m"), {"a", "b", "c"}),
        (("--older-than", "3h"), set()),
        (("--newer-than", "3h", "--fault", "quantity"), {"b"}),
    ],
)
def test_list_shows_what_was_asked_for(
    desk: Hub, bury: Callable[..., None], words: tuple[str, ...], ids: set[str]
) -> None:
    bury("a")
    bury("b", reason="quantity too large")
    bury("c", queue=ACME)

    found = listed(desk, *words)

    assert {letter["id"] for letters in found.values() for letter in letters} == ids


def test_list_says_so_when_there_are_no_letters(desk: Hub) -> None:
    assert desk("letters", "list").stdout == "no letters\n"


def test_a_queue_that_is_not_on_the_map_is_refused_with_those_that_are(desk: Hub) -> None:
    result = desk("letters", "list", "--queue", "hub.webhook.acne")

    assert result.exit_code == 2
    assert ACME in result.stderr


def test_show_masks_people_unless_asked_not_to(desk: Hub, bury: Callable[..., None]) -> None:
    bury("a")

    masked, whole = desk("letters", "show", "a"), desk("letters", "show", "a", "--unmask")

    assert (masked.exit_code, whole.exit_code) == (0, 0)
    assert "Dana" not in masked.output
    assert "Boise" not in masked.output
    assert "x-hub-reason: no such order" in masked.stdout
    assert "A-1" in masked.stdout
    assert "Dana Whitfield" in whole.stdout


def test_show_names_an_id_that_no_letter_has(desk: Hub) -> None:
    result = desk("letters", "show", "nothing")

    assert result.exit_code == 1
    assert "'nothing'" in result.stderr


def test_replay_sends_the_named_letter_back_with_a_full_budget_and_tells_the_order(
    desk: Hub, bury: Callable[..., None], broker_url: str, tmp_path: Path
) -> None:
    bury("a")
    bury("b")

    result = desk("letters", "replay", "a")

    assert (result.exit_code, result.stdout) == (0, "1 letter replayed\n")
    assert [letter["id"] for letter in listed(desk)[f"{WORK}.dead"]] == ["b"]
    ((_, values),) = take(broker_url, WORK)
    assert headers.ATTEMPT not in values
    assert (values[headers.REPLAYS], values[headers.ATTEMPTS]) == (1, 6)
    (entry,) = timeline(tmp_path)
    assert (entry.what, entry.facts["message_id"]) == ("letter replayed", "a")


def test_replay_of_a_queue_or_of_all_takes_every_letter(
    desk: Hub, bury: Callable[..., None], broker_url: str
) -> None:
    for letter_id, queue in (("a", WORK), ("b", WORK), ("c", ACME)):
        bury(letter_id, queue=queue)

    of_queue = desk("letters", "replay", "--queue", WORK, "--reason", "test", "--yes")
    of_all = desk("letters", "replay", "--all", "--reason", "test", "--yes")

    assert of_queue.stdout == "2 letters replayed\n"
    assert of_all.stdout == "1 letter replayed\n"
    assert (len(take(broker_url, WORK)), len(take(broker_url, ACME))) == (2, 1)
    assert listed(desk) == {}


def test_replay_wants_to_know_which_letters(desk: Hub, bury: Callable[..., None]) -> None:
    bury("a")

    assert desk("letters", "replay").exit_code == 2
    assert desk("letters", "replay", "a", "--all").exit_code == 2
    assert desk("letters", "replay", "b").exit_code == 1
    assert len(listed(desk)[f"{WORK}.dead"]) == 1


def test_discard_keeps_the_letter_whole_in_a_file_for_its_owner_only(
    desk: Hub, bury: Callable[..., None], tmp_path: Path
) -> None:
    bury("a", body=b"\xff raw \x00")
    bury("b")

    result = desk("letters", "discard", "a", "b", "--reason", "test order", "--yes")

    assert (result.exit_code, result.stdout) == (0, "2 letters discarded\n")
    assert listed(desk) == {}
    archive = tmp_path / "var" / "discarded-letters.jsonl"
    assert os.stat(archive).st_mode & 0o777 == 0o600
    first, second = (json.loads(line) for line in archive.read_text().splitlines())
    assert base64.b64decode(first["body_base64"]) == b"\xff raw \x00"
    assert (first["discarded_because"], first["reason"], first["queue"]) == (
        "test order",
        "no such order",
        f"{WORK}.dead",
    )
    assert second["headers"][headers.ATTEMPTS] == 6
    (entry,) = timeline(tmp_path)
    assert (entry.what, entry.facts["why"]) == ("letter discarded", "test order")


def test_a_letter_that_cannot_be_archived_stays(desk: Hub, bury: Callable[..., None], tmp_path: Path) -> None:
    bury("a")
    (tmp_path / "var").write_text("a file where the folder should be")

    result = desk("letters", "discard", "a", "--reason", "test order")

    assert result.exit_code == 1
    assert len(listed(desk)[f"{WORK}.dead"]) == 1


def test_export_copies_letters_and_leaves_them(desk: Hub, bury: Callable[..., None], tmp_path: Path) -> None:
    bury("a")
    bury("b", queue=ACME)

    result = desk("letters", "export", "--all", "--to", "copy.jsonl")

    assert (result.exit_code, result.stdout) == (0, "2 letters exported\n")
    assert {json.loads(line)["id"] for line in (tmp_path / "copy.jsonl").read_text().splitlines()} == {
        "a",
        "b",
    }
    assert set(listed(desk)) == {f"{WORK}.dead", f"{ACME}.dead"}


def test_export_as_csv_has_a_head_and_no_formula(
    desk: Hub, bury: Callable[..., None], tmp_path: Path
) -> None:
    bury("a", reason="=1+1", body=b'{"note": "caf\xc3\xa9"}')
    bury("b", queue=ACME, body=b"\xff")

    assert desk("letters", "export", "--queue", WORK, "--to", "l.csv", "--format", "csv").exit_code == 0
    assert desk("letters", "export", "b", "--to", "l.csv", "--format", "csv").exit_code == 0

    first, second = csv.DictReader((tmp_path / "l.csv").read_text().splitlines())
    assert (first["id"], first["reason"], first["body"]) == ("a", "'=1+1", '{"note": "café"}')
    assert (second["id"], second["body"], second["body_base64"]) == ("b", "", "/w==")
    assert os.stat(tmp_path / "l.csv").st_mode & 0o777 == 0o600


def test_no_cell_of_a_csv_export_begins_a_formula(
    desk: Hub, bury: Callable[..., None], tmp_path: Path
) -> None:
    wicked = ["=1+1", "+1", "-1", "@A1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20A1", " =1", "\u3000=1", "\ufeff=1", " \u200b \uff1d1", "\t1"]  # fmt: skip
    for number, reason in enumerate(wicked):
        bury(f"a{number}", reason=reason)
    bury("plain", reason="no: 1 - 1 = 0")

    assert desk("letters", "export", "--queue", WORK, "--to", "l.csv", "--format", "csv").exit_code == 0

    with (tmp_path / "l.csv").open(newline="") as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {
        **{f"a{number}": f"'{reason}" for number, reason in enumerate(wicked)},
        "plain": "no: 1 - 1 = 0",
    }


def test_an_export_follows_no_link_and_writes_into_no_pipe(
    desk: Hub, bury: Callable[..., None], tmp_path: Path
) -> None:
    bury("a")
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    (tmp_path / "dangling").symlink_to(tmp_path / "made")
    os.mkfifo(tmp_path / "pipe")

    for name, kind in {"link": "a symbolic link", "dangling": "a symbolic link", "pipe": "a pipe"}.items():
        result = desk("letters", "export", "--all", "--to", name)

        assert result.exit_code == 2
        assert f"expected a file of its own, {name} is {kind}" in result.stderr
    assert (tmp_path / "victim").read_text() == "keep"
    assert not (tmp_path / "made").exists()


def test_a_discard_with_a_link_for_an_archive_keeps_the_letter(
    desk: Hub, bury: Callable[..., None], tmp_path: Path
) -> None:
    bury("a")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    result = desk("letters", "discard", "a", "--reason", "test", "--archive", "link")

    assert result.exit_code == 2
    assert not (tmp_path / "elsewhere").exists()
    assert [letter["id"] for letter in listed(desk)[f"{WORK}.dead"]] == ["a"]


def test_discard_takes_what_the_filters_let_through(desk: Hub, bury: Callable[..., None]) -> None:
    bury("a")
    bury("b", reason="quantity too large")

    result = desk("letters", "discard", "--fault", "no such order", "--reason", "cancelled by phone", "--yes")

    assert result.stdout == "1 letter discarded\n"
    assert [letter["id"] for letter in listed(desk)[f"{WORK}.dead"]] == ["b"]


def test_an_age_that_cannot_be_read_is_refused(desk: Hub) -> None:
    result = desk("letters", "list", "--older-than", "soon")

    assert result.exit_code == 2
    assert "expected an age such as 30s" in result.stderr


@pytest.mark.parametrize("reason", [(), ("--reason", " ")])
def test_discard_needs_a_reason(desk: Hub, bury: Callable[..., None], reason: tuple[str, ...]) -> None:
    bury("a")

    assert desk("letters", "discard", "a", *reason).exit_code == 2
    assert len(listed(desk)[f"{WORK}.dead"]) == 1


def test_publish_sends_an_event_that_its_consumers_hear_and_prints_its_id(desk: Hub, broker_url: str) -> None:
    result = desk("publish", "order.accepted", "--id", "by-hand-1", stdin=json.dumps({"order_id": ORDER}))

    assert (result.exit_code, result.stdout) == (0, "by-hand-1\n")
    ((body, _),) = take(broker_url, WORK)
    document = json.loads(body)
    assert (document["id"], document["type"], document["subject"]) == ("by-hand-1", "order.accepted", ORDER)
    assert document["data"] == {"order_id": ORDER}


def test_publish_takes_json_lines_and_whole_cloud_events(desk: Hub, broker_url: str, tmp_path: Path) -> None:
    whole = {
        "specversion": "1.0",
        "id": "theirs",
        "type": "order.accepted",
        "source": "/oms",
        "subject": "something else",
        "data": {"order_id": ORDER},
    }
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(whole) + "\n\n" + json.dumps({"order_id": ORDER}) + "\n")

    result = desk("publish", "order.accepted", str(file))

    assert result.exit_code == 0
    ids = result.stdout.splitlines()
    assert ids[0] == "theirs"
    documents = [json.loads(body) for body, _ in take(broker_url, WORK)]
    assert [document["id"] for document in documents] == ids
    assert [document["source"] for document in documents] == ["/oms", "/hub/publish"]
    assert {document["subject"] for document in documents} == {ORDER}


def test_publish_names_every_fault_and_publishes_nothing_of_a_file_with_one(
    desk: Hub, broker_url: str
) -> None:
    good = {"order_id": ORDER, "packages": [{"carrier": "UPS", "tracking_number": "1Z"}]}
    bad = {"order_id": "x", "packages": [{"carrier": "", "items": [{"quantity": 0, "sku": "A"}]}]}

    result = desk("publish", "order.shipped", stdin=f"{json.dumps(good)}\n{json.dumps(bad)}\nnot json\n")

    assert (result.exit_code, result.stdout) == (1, "")
    for path in (
        "data.order_id",
        "data.packages.0.carrier",
        "data.packages.0.tracking_number",
        "items.0.quantity",
    ):
        assert any(line.startswith("hub: line 2: ") and path in line for line in result.stderr.splitlines())
    assert "line 3: expected JSON" in result.stderr
    assert "nothing was published" in result.stderr
    assert take(broker_url, WORK) == []


@pytest.mark.parametrize("event_type", ["order.created", "order.teleported"])
def test_publish_refuses_types_that_are_not_for_others_to_tell(desk: Hub, event_type: str) -> None:
    result = desk("publish", event_type, stdin="{}")

    assert result.exit_code == 2
    assert "order.shipped" in result.stderr
