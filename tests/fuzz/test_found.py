"""What fuzzing found at the walls, each by name; that nothing takes long is measured by `make fuzz`."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pamqp import decode, encode
from pydantic import ValidationError

from hub.amqp.protocol import lenient_types
from hub.amqp.protocol.field_tables import DEEPEST
from hub.config.settings import load
from hub.config.types import broker_hosts
from hub.errors import ConfigError, InvalidMessage, PartnerContractBroken
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import InventoryCounted, OrderStatusUpdated
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
    lenient_types.install()
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


@pytest.mark.parametrize("element", ['<seller xmlns="{}">', '<notes xmlns="{}"/><seller>'])
def test_an_entry_with_a_namespace_of_thousands_of_characters_is_a_letter(element: str) -> None:
    """It was copied for each element that has it, also for one that says nothing."""
    content = created().replace("<seller>", element.format("u" * 5000))

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

    assert cloudevents.decode(message).subject == "a:b:c"
    with pytest.raises(InvalidMessage, match="nested too deep"):
        cloudevents.decode(bottomless)


def test_a_subject_of_the_publishers_own_does_not_choose_the_routing_key() -> None:
    event = cloudevents.decode(_structured(subject="elsewhere:1"))

    again = cloudevents.encode(event)

    assert again.routing_key == "order.accepted.a"
    assert cloudevents.decode(again) == event


def test_of_a_list_only_the_first_bad_item_is_told() -> None:
    """Half a million faults took 7 s and 500 MB."""
    body = orjson.dumps({"items": [{"sku": "a", "quantity": 1}, *([1] * 5000)]})

    with pytest.raises(InvalidMessage, match=r"^data\.items\.1: Input should be an object$"):
        cloudevents.decode(Message(body, routing_key="inventory.counted"))
    assert InventoryCounted.model_validate({"items": [{"sku": "a", "quantity": 1}]}).items[0].sku == "a"


@pytest.mark.parametrize(
    "count", ["2147483648", "-2147483649", "9" * 4000, "-" + "9" * 4000, "1e300", f'"{"9" * 4000}"']
)
@pytest.mark.parametrize("structured", [False, True])
def test_a_count_that_no_partner_reads_as_an_integer_is_refused(count: str, structured: bool) -> None:
    """One of 4000 digits was taken, and could not be written again."""
    data = f'{{"items":[{{"sku":"a","quantity":{count}}}]}}'
    body = orjson.dumps({"specversion": "1.0", "id": "e", "type": "inventory.counted", "source": "/t"})
    message = (
        Message(body[:-1] + f',"data":{data}}}'.encode(), content_type="application/cloudevents+json")
        if structured
        else Message(data.encode(), routing_key="inventory.counted")
    )

    with pytest.raises(InvalidMessage, match=r"^(data\.items\.0\.quantity|body): ") as refused:
        cloudevents.decode(message)
    assert len(str(refused.value)) < LONGEST_ERROR


@pytest.mark.parametrize("count", [2**31 - 1, -(2**31), 0])
def test_the_largest_and_the_least_count_are_taken_and_written_again(count: int) -> None:
    data = {"items": [{"sku": "a", "quantity": count}]}

    event = cloudevents.decode(Message(orjson.dumps(data), routing_key="inventory.counted"))

    assert event.data.items[0].quantity == count
    assert cloudevents.decode(cloudevents.encode(event)) == event


def test_a_status_with_more_units_than_an_integer_is_refused() -> None:
    data = {"order_id": "a:b:c", "lines": [{"status": "Shipped", "quantity": 10**300}]}

    with pytest.raises(ValidationError, match="less than or equal to 2147483647"):
        OrderStatusUpdated.model_validate(data)


@pytest.mark.parametrize("attribute", ["id", "source"])
@pytest.mark.parametrize("text", ["17\0", "\0", "17\n18"])
def test_an_event_whose_id_or_source_has_control_characters_is_refused(attribute: str, text: str) -> None:
    """PostgreSQL holds no NUL: the id was refused there, and nobody could tell which field it was."""
    with pytest.raises(InvalidMessage, match=rf"^{attribute}: expected a text without control characters"):
        cloudevents.decode(_structured(**{attribute: text}))


def test_a_plain_message_whose_id_has_a_nul_is_refused() -> None:
    message = Message(ORDER, routing_key="order.accepted", message_id="17\0")

    with pytest.raises(InvalidMessage, match=r"^id: expected a text without control characters"):
        cloudevents.decode(message)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("order.shipped", {"packages": [{"carrier": "UPS\0", "tracking_number": "1"}]}),
        ("order.shipped", {"packages": [{"carrier": "UPS", "tracking_number": "1\0"}]}),
        ("order.shipped", {"packages": [{"carrier": "UPS", "tracking_number": "1", "package_id": "\0"}]}),
        ("order.shipped", {"packages": [{"carrier": "UPS", "tracking_number": "1", "service": "G\0"}]}),
        ("order.cancelled", {"reason": "no\0"}),
        ("order.cancelled", {"lines": [{"sku": "A\0"}]}),
        ("order.backordered", {"message": "\0"}),
        ("order.failed", {"status": "Error", "message": "\0"}),
        ("order.accepted", {"order_id": "a:b:c\0"}),
    ],
)
def test_no_text_that_is_reported_holds_a_nul(kind: str, changes: dict[str, Any]) -> None:
    message = Message(orjson.dumps({"order_id": "a:b:c"} | changes), routing_key=kind)

    with pytest.raises(InvalidMessage, match=r"^data\..*: expected a text without control characters"):
        cloudevents.decode(message)


@pytest.mark.parametrize("lines", [{"k" * 5000: 1}, {str(number): 1 for number in range(2000)}])
def test_the_error_about_a_table_is_short_whatever_its_keys(lines: dict[str, int]) -> None:
    body = orjson.dumps({"order_id": "a:b:c", "charges": {"lines": lines}})

    with pytest.raises(InvalidMessage, match=r"^data") as refused:
        cloudevents.decode(Message(body, routing_key="order.cancelled"))
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
        ("", {"HUB_" + "X" * 5000 + "__Y": "1"}, "no such setting"),
        ("#" * 10**6 + "\n", {}, "settings of at most 1000000 bytes"),
        ("a." * 5000 + 'b = "\\u0000"', {}, "expected a text without U+0000"),
        (
            '[[retailops]]\nvendor_id = "27\\u0000"',
            {},
            "retailops.0.vendor_id: expected a text without U+0000",
        ),
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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_bytes(b"x" * (64 * 1024 + 1)), "expected at most 65536 bytes"),
        (lambda file: file.write_bytes(b"whsec_\xff"), "expected UTF-8"),
        (lambda file: file.mkdir(), "expected a regular file"),
        (os.mkfifo, "expected a regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "expected a regular file"),
    ],
    ids=["too large", "no UTF-8", "a folder", "a pipe", "a device"],
)
def test_what_is_no_file_of_a_secret_is_refused(
    tmp_path: Path, make: Callable[[Path], Any], said: str
) -> None:
    """A device was read until memory ended, a pipe was waited for."""
    secret, file = tmp_path / "secret", tmp_path / "hub.toml"
    make(secret)
    file.write_text(CLIENT + f'signing_secret_file = "{secret}"\n')

    with pytest.raises(ConfigError, match=f"signing_secret_file: {said}") as refused:
        load(file, {})
    assert "whsec_" not in str(refused.value)


def test_the_file_of_a_secret_may_be_a_link_as_orchestrators_make_them(tmp_path: Path) -> None:
    (tmp_path / "data").write_text(f"whsec_{'MDEy' * 8}" + "\n" * 1024)
    (tmp_path / "secret").symlink_to("data")
    file = tmp_path / "hub.toml"
    file.write_text(CLIENT + f'signing_secret_file = "{tmp_path}/secret"\n')

    assert load(file, {}).webhooks[0].signing_secret


def test_an_empty_table_in_a_variable_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(CLIENT)

    assert load(file, {"HUB_WEBHOOKS": "{}"}) == load(file, {})


def test_a_long_run_of_commas_between_two_brokers_is_one_comma() -> None:
    """It took time with the square of its length: 105 s for 40 kB."""
    assert broker_hosts(f"amqp://a{', ' * 5000}amqp://b") == ("amqp://a", "amqp://b")
