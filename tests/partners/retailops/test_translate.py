"""Purchase orders to events: which fields, which dates, which ids, and what makes two states of a PO the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from hub.errors import InvalidMessage
from hub.partners.retailops.translate import (
    line_hash,
    parse_date_submit,
    po_of,
    read_purchase_order,
    record_from_letter,
    to_letter,
    to_order_changed,
    to_order_created,
)
from tests.partners.retailops.samples import VENDOR, a_po, lines_of

SUBMIT = datetime(2024, 5, 14, 15, 55, tzinfo=UTC)


def created(record: object):
    return to_order_created(read_purchase_order(record), VENDOR, SUBMIT)


def hash_of(record: object, vendor: str = VENDOR) -> str:
    return line_hash(vendor, read_purchase_order(record))


@pytest.mark.parametrize(
    "value",
    [
        "2024-05-14T15:55:00Z",
        "2024-05-14t15:55:00z",
        "2024-05-14T17:55:00+02:00",
        "2024-05-14T17:55:00+0200",
        "2024-05-14T08:55:00-07:00",
        "2024-05-14T15:55:00",
        "2024-05-14T15:55:00.000",
        "2024-05-14 15:55:00",
        "2024-05-14 15:55",
        " 2024-05-14 15:55:00 Z ",
        1715702100,
        1715702100.0,
        "1715702100",
        "1715702100.0",
    ],
)
def test_every_format_of_date_submit_is_the_same_moment_in_utc(value: object) -> None:
    """Edge case 23: each accepted format."""
    assert parse_date_submit(value) == SUBMIT


def test_a_plain_date_is_its_first_moment_in_utc() -> None:
    """Edge case 23: a date without a time."""
    assert parse_date_submit("2024-05-14") == datetime(2024, 5, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "  ",
        "soon",
        "0000-00-00 00:00:00",
        "2024-02-30",
        "2024-05-14T25:00:00Z",
        "20240514",
        "05/14/2024",
        "0001-01-01T00:00:00+14:00",
        0,
        "0",
        True,
        -1715702100,
        1715702100000,
        float("nan"),
        float("inf"),
        [2024, 5, 14],
        {"date": "2024-05-14"},
    ],
)
def test_a_missing_or_garbled_date_submit_is_no_moment(value: object) -> None:
    """Edge case 23: missing, and garbage."""
    assert parse_date_submit(value) is None


def test_a_purchase_order_becomes_an_order_with_ids_as_texts() -> None:
    event = created(a_po())

    assert (event.id, event.type, event.source, event.subject, event.time) == (
        "retailops:27:D48213",
        "order.created",
        "/retailops/vendors/27",
        "retailops:27:D48213",
        SUBMIT,
    )
    data = event.data.model_dump(exclude_none=True)
    assert data.pop("source_event_id") == hash_of(a_po())
    assert data == {
        "order_id": "retailops:27:D48213",
        "source": "retailops",
        "source_account": "27",
        "source_order_id": "D48213",
        "order_number": "D48213",
        "po_reference": "D48213",
        "created_at": SUBMIT,
        "submit_after": SUBMIT,
        "ship_to_store": False,
        "notes": (),
        "lines": (
            {"line_id": "90311", "source_item_id": "90311", "sku": "NF-CASE-GRA", "quantity": 2},
            {"line_id": "90312", "source_item_id": "90312", "sku": "NF-CHG-30", "quantity": 1},
        ),
    }


def test_numbers_that_come_as_texts_and_texts_that_come_as_numbers_are_read_alike() -> None:
    loose = a_po(48213, items=[{"po_item_id": "90311", "vpc": 350, "quantity": "2"}])  # type: ignore[arg-type]  # that is the point
    strict = a_po("48213", items=[{"po_item_id": 90311, "vpc": "350", "quantity": 2}])

    assert created(loose) == created(strict)


@pytest.mark.parametrize("inside", [True, False])
def test_an_address_is_read_by_the_names_of_the_sibling_calls(inside: bool) -> None:
    place = {
        "addressee": "Dana Whitfield",
        "phone_number": 2085550143,
        "address1": "914 W Fort St",
        "address2": None,
        "city": "Boise",
        "state_abbr": "ID",
        "state_name": "Idaho",
        "postal_code": "83702",
        "country_name": "United States",
    }
    more: dict[str, Any] = {"ship_address": place} if inside else place

    data = created(
        a_po(ship_service={"name": "UPS Ground"}, order={"gift_message": "Enjoy"}, unknown=[1], **more)
    ).data

    assert data.ship_to is not None
    assert data.ship_to.model_dump(exclude_none=True) == {
        "name": "Dana Whitfield",
        "phone": "2085550143",
        "street1": "914 W Fort St",
        "city": "Boise",
        "region": "Idaho",
        "region_code": "ID",
        "postal_code": "83702",
        "country": "United States",
    }
    assert data.shipping_method_code == "UPS Ground"
    assert data.notes == ("Enjoy",)


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ("D1", ""),
        ({}, "po"),
        (a_po(items=None), "items"),
        ({"po": "D1"}, "items"),
        (a_po(items=[]), "items"),
        (a_po(items=[{"po_item_id": 1, "quantity": 1}]), "items.0.vpc"),
        (a_po(items=[{"po_item_id": 1, "vpc": "A", "quantity": 0}]), "items.0.quantity"),
        (a_po(items=[{"po_item_id": 1, "vpc": "A", "quantity": True}]), "items.0.quantity"),
        (a_po(items=[{"po_item_id": 1, "vpc": "A", "quantity": 1}] * 2), "items.0.po_item_id"),
        (a_po("D" * 101), "po"),
    ],
)
def test_a_purchase_order_that_cannot_be_used_names_the_field(record: object, field: str) -> None:
    with pytest.raises(InvalidMessage) as invalid:
        read_purchase_order(record)

    assert str(invalid.value).startswith(f"{field}: " if field else "")
    assert invalid.value.field == field


def test_an_error_about_an_address_does_not_quote_it() -> None:
    with pytest.raises(InvalidMessage) as invalid:
        created(a_po(addressee="Dana\x00Whitfield"))

    assert "Dana" not in str(invalid.value)


def test_the_line_hash_is_of_the_lines_whatever_their_order_and_form() -> None:
    turned = a_po(
        items=[{**line, "po_item_id": str(line["po_item_id"])} for line in reversed(a_po()["items"])]
    )

    assert hash_of(turned) == hash_of(a_po(status="open", note="x"))


@pytest.mark.parametrize(
    ("other", "vendor"),
    [
        (a_po(), "28"),
        (a_po("D48214"), VENDOR),
        (a_po(items=lines_of(A=1)), VENDOR),
        (a_po(items=[{**a_po()["items"][0], "quantity": 3}, a_po()["items"][1]]), VENDOR),
    ],
)
def test_another_vendor_po_or_line_has_another_hash(other: object, vendor: str) -> None:
    assert hash_of(other, vendor) != hash_of(a_po())


def test_a_change_has_the_id_of_its_lines_and_the_time_it_was_seen() -> None:
    """Edge case 29: the event of a PO that changed."""
    seen_at = SUBMIT + timedelta(hours=1)
    record = a_po(items=lines_of(A=1))

    event = to_order_changed(read_purchase_order(record), VENDOR, SUBMIT, seen_at=seen_at)
    again = to_order_changed(read_purchase_order(record), VENDOR, SUBMIT, seen_at=seen_at, again=2)

    assert event.type == "order.changed"
    assert event.id == f"retailops:27:D48213:{hash_of(record)}"
    assert again.id == f"{event.id}:2"
    assert event.time == seen_at
    assert event.data.created_at == SUBMIT
    assert [line.sku for line in event.data.lines] == ["A"]


def test_a_letter_holds_the_raw_record_and_its_account() -> None:
    record = a_po(items=None, addressee="Dana Whitfield")

    item = to_letter(record, VENDOR, "items: none")

    assert item.letter is not None
    assert (item.letter.type, item.letter.headers["x-hub-account"]) == ("retailops.po", "27")
    assert record_from_letter(item.letter.body) == record
    assert item.reason == "items: none"


def test_one_po_is_one_letter_for_each_reason_and_content() -> None:
    first = to_letter(a_po(items=None, fetched=1), VENDOR, "items: none")
    again = to_letter(a_po(items=None, fetched=2), VENDOR, "items: none")
    other = to_letter(a_po(items=None), VENDOR, "items: too many")
    lines = [to_letter(a_po(items=lines_of(A=n)), VENDOR, "items: none").key for n in (-1, -2)]
    assert len({first.key, *lines}) == 3
    nameless = [to_letter({"n": n}, VENDOR, "po: none").key for n in (1, 2)]

    assert first.key == again.key != other.key
    assert nameless[0] != nameless[1]


def test_a_po_number_is_read_from_anything() -> None:
    assert po_of({"po": 48213}) == "48213"
    assert [po_of(record) for record in (None, "D1", {}, {"po": ""}, {"po": True}, {"po": ["D1"]})] == [
        None
    ] * 6


def test_a_letter_that_is_no_json_says_so() -> None:
    with pytest.raises(InvalidMessage, match="expected a purchase order as JSON"):
        record_from_letter(b"<po/>")

    assert record_from_letter(orjson.dumps(a_po())) == a_po()
