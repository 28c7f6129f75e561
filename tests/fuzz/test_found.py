"""What fuzzing found at the walls, each by name; that nothing takes long is measured by `make fuzz`."""

import struct
from pathlib import Path
from typing import Any

import orjson
import pytest
from pamqp import decode, encode

from hub.amqp import codec, tolerant
from hub.amqp.tables import DEEPEST
from hub.config import load
from hub.config_values import broker_hosts
from hub.errors import ConfigError, InvalidMessage, PartnerContractBroken
from hub.messaging.message import Message
from hub.models.events import InventoryCounted
from hub.partners.iqmetrix.feed import parse_page
from hub.partners.iqmetrix.translate import to_item
from tests.fuzz.walls import ACCOUNT, LIMITS, LONGEST_ERROR
from tests.partners.iqmetrix.samples import a_page, an_entry, created

ORDER = b'{"order_id":"a:b:c"}'
CLIENT = '[[webhooks]]\nname = "a"\n'


def _structured(**attributes: Any) -> Message:
    document = {
        "specversion": "1.0",
        "id": "e",
        "type": "order.accepted",
        "source": "/t",
        "data": {"order_id": "a:b:c"},
    }
    return Message(orjson.dumps(document | attributes), content_type="application/cloudevents+json")


def _table(content: bytes) -> dict[str, Any]:
    tolerant.install()
    _, table = decode.by_type(struct.pack(">I", len(content)) + content, "table")
    assert isinstance(table, dict)
    return table


def _nested(levels: int) -> bytes:
    value = b""
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return b"\1a" + value


# --- the feed


@pytest.mark.parametrize("count", [5000, 33])
def test_a_feed_with_namespaces_by_the_thousand_is_refused(count: int) -> None:
    """Each entry that is set aside repeats them: 99 kB took 108 s."""
    names = "".join(f' xmlns:a{number}="u{number}"' for number in range(count))

    with pytest.raises(PartnerContractBroken, match="at most 32 namespaces"):
        parse_page(a_page(["<entry/>"] * 3).replace(b"<feed", f"<feed{names}".encode(), 1), LIMITS)


def test_an_entry_with_a_namespace_of_thousands_of_characters_is_a_letter() -> None:
    """It was copied for each element that has it."""
    content = created().replace("<seller>", f'<seller xmlns="{"u" * 5000}">')

    (entry,) = parse_page(a_page([an_entry("one", content)]), LIMITS).entries
    item = to_item(entry, ACCOUNT)

    assert item.letter is not None
    assert "names of at most 512 characters" in item.reason


def test_an_entry_whose_id_is_too_long_for_an_event_is_a_letter() -> None:
    """It became an event that each consumer refused."""
    (entry,) = parse_page(a_page([an_entry("i" * 390, created())]), LIMITS).entries

    item = to_item(entry, ACCOUNT)

    assert item.letter is not None
    assert item.reason.startswith("id: expected at most")


# --- events


def test_a_subject_that_is_no_text_counts_as_none() -> None:
    """A nested one ended Python's stack."""
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]

    message = _structured(subject=deep)
    bottomless = Message(
        message.body.replace(orjson.dumps(deep), b"[" * 1000 + b"]" * 1000), content_type=message.content_type
    )

    assert codec.decode(bottomless).subject == "a:b:c"


def test_a_subject_of_the_publishers_own_does_not_choose_the_routing_key() -> None:
    event = codec.decode(_structured(subject="elsewhere:1"))

    again = codec.encode(event)

    assert again.routing_key == "order.accepted.a"
    assert codec.decode(again) == event


def test_of_a_list_only_the_first_bad_item_is_told() -> None:
    """Half a million faults took 7 s and 500 MB."""
    body = orjson.dumps({"items": [{"sku": "a", "quantity": 1}, *([1] * 5000)]})

    with pytest.raises(InvalidMessage, match=r"^data\.items\.1: Input should be an object$"):
        codec.decode(Message(body, routing_key="inventory.counted"))
    assert InventoryCounted.model_validate({"items": [{"sku": "a", "quantity": 1}]}).items[0].sku == "a"


@pytest.mark.parametrize("lines", [{"k" * 5000: 1}, {str(number): 1 for number in range(2000)}])
def test_the_error_about_a_table_is_short_whatever_its_keys(lines: dict[str, int]) -> None:
    body = orjson.dumps({"order_id": "a:b:c", "charges": {"lines": lines}})

    with pytest.raises(InvalidMessage, match=r"^data") as refused:
        codec.decode(Message(body, routing_key="order.cancelled"))
    assert len(str(refused.value)) < LONGEST_ERROR


@pytest.mark.parametrize(("levels", "readable"), [(DEEPEST - 1, True), (DEEPEST + 1, False), (20_000, False)])
def test_headers_that_are_nested_without_end_count_as_none(levels: int, readable: bool) -> None:
    """They ended Python's stack while a frame was read, and with it the connection."""
    assert bool(_table(_nested(levels))) is readable


def test_a_header_that_is_not_utf_8_can_be_written_again() -> None:
    """A message with one could neither be retried nor set aside."""
    latin1 = "Étui".encode("latin-1")

    table = _table(b"\4case" + b"S" + struct.pack(">I", len(latin1)) + latin1)

    assert table == {"case": "\ufffdtui"}
    assert encode.field_table(table)


def test_a_header_with_a_number_beyond_four_bytes_can_be_written_again() -> None:
    """Likewise."""
    table = _table(b"\1n" + b"d" + struct.pack(">d", -1e300) + b"\1m" + b"d" + struct.pack(">d", 1.5))

    assert table == {"n": "-1e+300", "m": 1.5}
    assert encode.field_table(table)


def test_headers_are_read_as_the_client_library_reads_them() -> None:
    headers: dict[str, Any] = {
        "list": [1, -1, 2**40, True, None, 1.5, "x", {"in": bytearray(b"y")}],
        "table": {"a": {"b": []}},
        "text": "é",
    }
    content = encode.field_table(headers)

    assert _table(content[4:]) == decode.field_table(content)[1] == headers


# --- settings


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        ("a = " + "9" * 5000, {}, "is not TOML"),
        ("a = " + "[" * 3000, {}, "nested too deep"),
        ("state.keep = 1e300", {}, "state.keep: expected at most"),
        ("state.keep = inf", {}, "state.keep: expected at most"),
        (f'state.keep = "{"9" * 500}d"', {}, "state.keep: expected at most"),
        (f'state.keep = "{"x" * 5000}"', {}, "state.keep: expected seconds"),
        ("k" * 5000 + " = 1", {}, "no such setting"),
        (CLIENT + f'auth = {{ type = "{"k" * 5000}" }}', {}, "webhooks.0.auth: input tag"),
        (CLIENT + f'confirmation_url = "ftp://{"k" * 5000}"', {}, "expected an https:// address"),
        (CLIENT + f'signing_secret_file = "{"k" * 5000}"', {}, "cannot read kkk"),
        ("", {"HUB_WEBHOOKS": "[" * 100_000}, "not nested so deep"),
        ("", {"HUB_WEBHOOKS__²__NAME": "a"}, "webhooks"),
        (CLIENT, {"HUB_WEBHOOKS__99999__NAME": "a"}, "webhooks.0.99999: no such setting"),
        (CLIENT, {f"HUB_WEBHOOKS__{'9' * 5000}__NAME": "a"}, "no such setting"),
        ("", {"HUB_RETRY__WAITS": "[1e400]"}, "retry.waits.0: expected at most"),
        ("", {"HUB_BROKER__URL": "amqp://\udcff@h/"}, "HUB_BROKER__URL: expected UTF-8"),
        ("", {"HUB_" + "X" * 5000: "1"}, "no such setting"),
        ("webhooks = [" + "1," * 2000 + "]", {}, "got 2000 faults"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_few_words(
    tmp_path: Path, text: str, variables: dict[str, str], said: str
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refused:
        load(file, variables)

    assert said in str(refused.value)
    assert max(map(len, refused.value.faults)) < LONGEST_ERROR


def test_an_empty_table_in_a_variable_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(CLIENT)

    assert load(file, {"HUB_WEBHOOKS": "{}"}) == load(file, {})


def test_a_long_run_of_commas_between_two_brokers_is_one_comma() -> None:
    """It took time with the square of its length: 105 s for 40 kB."""
    assert broker_hosts(f"amqp://a{', ' * 5000}amqp://b") == ("amqp://a", "amqp://b")
