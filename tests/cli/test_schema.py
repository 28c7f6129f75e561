"""``hub schema``: the committed contract is what the models say; what breaks it is named and not overwritten."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from hub.cli import schema
from hub.contract import asyncapi
from hub.contract.examples import EXAMPLES
from hub.contract.field_tables import BEGIN, END
from hub.contract.json_schema import data_schema
from hub.messaging import cloudevents
from hub.models.events import EVENT_TYPES, ORDERS
from tests.cli.conftest import Hub

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "schemas" / "asyncapi.json").read_bytes())


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A copy of the committed contract, in the folder where commands run."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path / "schemas"


def rewrite(file: Path, change: Any) -> None:
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def test_the_committed_contract_is_what_the_models_say(hub: Hub, contract: Path) -> None:
    checked = hub("schema", "export", "--check")

    assert checked.output == "the contract is what the models say\n", "run: hub schema export"
    assert checked.exit_code == 0


def test_an_export_into_an_empty_folder_is_the_committed_contract(hub: Hub, tmp_path: Path) -> None:
    done = hub("schema", "export", "--to", "fresh")

    assert done.exit_code == 0, done.output
    written = {
        path.relative_to(tmp_path / "fresh"): path.read_text() for path in tmp_path.glob("fresh/**/*.json")
    }
    assert written == {
        path.relative_to(ROOT / "schemas"): path.read_text() for path in ROOT.glob("schemas/**/*.json")
    }


def test_a_check_names_each_file_that_differs_and_writes_nothing(hub: Hub, contract: Path) -> None:
    file = contract / "order.accepted.json"
    rewrite(file, lambda document: document.update(description="as it was"))
    (contract / "examples" / "inventory.counted.json").unlink()
    before = file.read_text()

    checked = hub("schema", "export", "--check")

    assert checked.exit_code == 1
    assert checked.stderr.splitlines() == [
        "hub: schemas/order.accepted.json is not what the models say",
        "hub: schemas/examples/inventory.counted.json is not what the models say",
        "hub: run: hub schema export",
    ]
    assert file.read_text() == before


def test_a_check_tells_a_break_from_what_a_re_export_mends(hub: Hub, contract: Path) -> None:
    def promise(document: Any) -> None:
        document["properties"]["gift_wrap"] = {"type": "boolean"}

    rewrite(contract / "order.accepted.json", promise)

    checked = hub("schema", "export", "--check")

    assert checked.exit_code == 1
    assert "hub: breaking: order.accepted: gift_wrap: field removed" in checked.stderr
    assert "hub: run: hub schema export" not in checked.stderr


def test_an_export_overwrites_no_promise_unless_told_so(hub: Hub, contract: Path) -> None:
    file = contract / "order.shipped.json"
    rewrite(file, lambda document: document["$defs"]["ShippedPackage"]["required"].remove("carrier"))
    before = file.read_text()

    refused = hub("schema", "export")

    assert refused.exit_code == 1
    assert "order.shipped: packages[].carrier: field became required" in refused.stderr
    assert file.read_text() == before

    assert hub("schema", "export", "--breaking").exit_code == 0
    assert file.read_text() == (ROOT / "schemas" / "order.shipped.json").read_text()


def test_a_file_that_nothing_exports_any_more_is_named(hub: Hub, contract: Path) -> None:
    (contract / "cloudevents" / "order.returned.json").write_text("{}")

    checked = hub("schema", "export", "--check")

    assert checked.exit_code == 1
    assert "order.returned.json is not exported any more; delete it" in checked.stderr


def test_the_tables_of_the_page_are_written_between_their_marks(hub: Hub, contract: Path) -> None:
    page = contract.parent / "docs" / "integration.md"
    whole = page.read_text()
    page.write_text(whole.split(BEGIN)[0] + BEGIN + "\nold\n" + END + whole.split(END)[1])

    assert hub("schema", "export", "--check").exit_code == 1
    assert hub("schema", "export").exit_code == 0

    assert page.read_text() == whole


def test_a_page_without_marks_is_wrong_use(hub: Hub, contract: Path) -> None:
    (contract.parent / "page.md").write_text("nothing here")

    refused = hub("schema", "export", "--page", "page.md")

    assert refused.exit_code == 2
    assert "page.md: expected the lines" in refused.stderr


def test_show_prints_one_schema(hub: Hub) -> None:
    data = json.loads(hub("schema", "show", "order.shipped").output)
    whole = json.loads(hub("schema", "show", "order.shipped", "--cloudevent").output)

    assert data == json.loads((ROOT / "schemas" / "order.shipped.json").read_bytes())
    assert whole == json.loads((ROOT / "schemas" / "cloudevents" / "order.shipped.json").read_bytes())


def test_show_names_the_types_when_there_is_none_of_that_name(hub: Hub) -> None:
    refused = hub("schema", "show", "order.shiped")

    assert refused.exit_code == 2
    assert "expected one of order.created" in refused.stderr
    assert "order.shiped" in refused.stderr


# --- the AsyncAPI document ---------------------------------------------------------------------------------


def test_the_document_has_every_event_from_the_hubs_point_of_view() -> None:
    actions = {}
    for operation in DOCUMENT["operations"].values():
        channel = DOCUMENT["channels"][operation["channel"]["$ref"].rsplit("/", 1)[-1]]
        exchange = channel["bindings"]["amqp"]["exchange"]
        assert (exchange["type"], exchange["durable"]) == ("topic", True)
        actions[channel["title"]] = operation["action"], exchange["name"]

    assert actions == {
        name: ("send" if kind.exchange == ORDERS else "receive", kind.exchange)
        for name, kind in EVENT_TYPES.items()
    }


def test_every_example_of_the_document_is_valid_by_its_own_schemas() -> None:
    registry = Registry().with_resource("urn:contract", Resource.from_contents(DOCUMENT, DRAFT7))
    seen = 0

    for name, message in DOCUMENT["components"]["messages"].items():
        trait = DOCUMENT["components"]["messageTraits"][message["traits"][0]["$ref"].rsplit("/", 1)[-1]]
        payload = Draft7Validator({"$ref": f"urn:contract{message['payload']['$ref']}"}, registry=registry)
        for example in message["examples"]:
            payload.validate(example["payload"])
            Draft7Validator(trait["headers"]).validate(example["headers"])
            seen += 1
        assert message["examples"], name

    assert seen == sum(len(asyncapi.encodings(EVENT_TYPES[example.type])) for example in EXAMPLES)


def test_every_exported_example_is_valid_and_decodes_to_what_it_shows() -> None:
    files = {name: text for name, text in schema.files().items() if name.startswith("examples/")}
    assert len(files) == len(EXAMPLES)

    for example in EXAMPLES:
        Draft202012Validator(data_schema(EVENT_TYPES[example.type])).validate(
            json.loads(files[f"examples/{example.name}.json"])
        )
        for encoding in asyncapi.encodings(EVENT_TYPES[example.type]):
            assert (
                cloudevents.decode(asyncapi.example_message(example, encoding)).data == example.event().data
            )
