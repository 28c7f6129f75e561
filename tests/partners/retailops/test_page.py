"""An answer is read record by record: what damages one PO stays in it, and no answer is too much to read."""

import orjson
import pytest

from hub.errors import InvalidMessage, PartnerContractBroken
from hub.models.input.exact_json import Inexact
from hub.partners.retailops.page import DEEPEST, LARGE, MOST_RECORDS, Unreadable, read_document, render
from hub.partners.retailops.translate import po_of, read_purchase_order, record_from_letter, to_letter
from tests.partners.retailops.samples import VENDOR

GOOD = b'{"po":"D1","items":[{"po_item_id":1,"vpc":"A","quantity":1}]}'


def page(*records: bytes) -> bytes:
    return b'{"success":1,"records":[%b]}' % b",".join(records)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"po":"B","x":NaN}', "expected JSON, got NaN or Infinity at character 14"),
        (b'{"po":"B","x":-Infinity}', "expected JSON, got NaN or Infinity at character 15"),
        (b'{"po":"B","x":"a\x0bb"}', "got the control character U+000B in a text at character 16"),
        (b'{"po":"B","x":"\xe9"}', "expected UTF-8, got the byte 0xe9 at byte 15"),
        (b'{"po":"B","x":"\\ud83d"}', "expected JSON, got half a surrogate pair"),
        (b'{"po":"B" "x":1}', "expected JSON, got something else at character 10"),
        (b'{"po":"B","items":[{"a":1]}', "expected JSON, got something else"),
        (b'{"po":"B","items":[{"a":1}}', "expected JSON, got something else"),
        (b'{"po":' + b"[" * 100 + b"]" * 100 + b"}", f"expected at most {DEEPEST} objects and lists"),
        (b'{"po":"\\"],\\\\"}\xff', "expected UTF-8, got the byte 0xff"),
    ],
)
def test_what_damages_one_record_is_set_aside_with_it(record: bytes, reason: str) -> None:
    document = read_document(page(GOOD, record, GOOD))

    assert document is not None
    first, damaged, last = document["records"]
    assert isinstance(damaged, Unreadable)
    assert damaged.raw == record
    assert reason in damaged.reason
    assert first == last == orjson.loads(GOOD)
    assert document["success"] == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"records":[{"po":', b'{"records":[]}]', b"\xff"])
def test_records_that_cannot_be_told_apart_are_no_answer(body: bytes) -> None:
    assert read_document(body) is None


def test_a_list_of_that_name_elsewhere_is_not_the_records() -> None:
    body = b'{"x":{"records":[1]},"y":"records","records":[NaN,{"records":[2]}]}'

    document = read_document(body)

    assert document is not None
    assert document["x"] == {"records": [1]}
    assert isinstance(document["records"][0], Unreadable)
    assert document["records"][1] == {"records": [2]}


def test_a_large_answer_is_read_as_a_small_one() -> None:
    record = b'{"po":"D1","note":"%b"}' % (b"x" * LARGE)

    assert read_document(page(record, GOOD)) == orjson.loads(page(record, GOOD))


@pytest.mark.parametrize(
    "body",
    [
        b'{"records":[' + b"[]," * 200_000 + b"1]}",
        b'{"records":[' + b"1," * 600_000 + b"1]}",
        b'{"records":["' + b"\\\\" * 150_000 + b'"]}',
        page(*[GOOD] * (MOST_RECORDS + 1)),
    ],
    ids=["lists", "numbers", "escapes", "records"],
)
def test_more_than_any_answer_has_breaks_the_contract(body: bytes) -> None:
    with pytest.raises(PartnerContractBroken, match="expected at most"):
        read_document(body)


@pytest.mark.parametrize(
    ("number", "digits"),
    [
        (b"90071992547409931234", "90071992547409931234"),
        (b"9007199254740993", "9007199254740993"),
        (b"18446744073709551616", "18446744073709551616"),
        (b"48213", "48213"),
    ],
)
def test_a_po_number_keeps_its_digits(number: bytes, digits: str) -> None:
    document = read_document(page(GOOD.replace(b'"D1"', number)))

    assert document is not None
    (record,) = document["records"]
    assert po_of(record) == read_purchase_order(record).po == digits


@pytest.mark.parametrize(
    "number",
    [
        *(b"9.400111899223197e+21", b"9.4E21", b"12345678901234567.5", b"1" * 101),
        *(b"48213.0", b"48213.50", b"1E5", b"-0"),
    ],
)
def test_a_po_number_that_no_type_keeps_is_refused(number: bytes) -> None:
    document = read_document(page(GOOD.replace(b'"D1"', number), GOOD))

    assert document is not None
    inexact, good = document["records"]
    assert po_of(inexact) is None
    assert po_of(good) == "D1"
    letter = to_letter(inexact, VENDOR, "po: expected a PO number").letter
    assert letter is not None
    assert number in letter.body


@pytest.mark.parametrize("number", ["12.50", "1E5", "1.0", "-0", "12.5", "7"])
def test_a_product_code_that_is_a_number_keeps_its_digits(number: str) -> None:
    document = read_document(page(GOOD.replace(b'"A"', number.encode())))

    assert document is not None
    assert read_purchase_order(document["records"][0]).items[0].vpc == number


@pytest.mark.parametrize("number", [b"1.0", b"1.50", b"1E5", b"-0"])
def test_a_line_whose_id_is_no_whole_number_is_named(number: bytes) -> None:
    document = read_document(page(GOOD.replace(b'"po_item_id":1', b'"po_item_id":' + number)))

    assert document is not None
    with pytest.raises(InvalidMessage) as invalid:
        read_purchase_order(document["records"][0])
    assert invalid.value.facts.field == "items.0.po_item_id"


@pytest.mark.parametrize(
    ("said", "twice", "field"),
    [
        (b'"po":"D1"', b'"po":"D2","po":"D1"', "po"),
        (b'"vpc":"A"', b'"vpc":"B","vpc":"A"', "items.0.vpc"),
        (b'"quantity":1', b'"quantity":2,"quantit\\u0079":1', "items.0.quantity"),
        (b'"items":', b'"ship_address":{"city":"a","city":"b"},"items":', "ship_address.city"),
    ],
)
def test_a_po_with_two_members_of_one_name_is_set_aside(said: bytes, twice: bytes, field: str) -> None:
    document = read_document(page(GOOD.replace(said, twice), GOOD))

    assert document is not None
    double, good = document["records"]
    assert po_of(good) == "D1"
    assert isinstance(double, Unreadable)
    assert double.reason == f"expected each member once, got two of the name {field} that differ"


@pytest.mark.parametrize("extra", [b'"seen":1,"seen":2,', b'"po":"D1",', b'"note":"\\u003a",'])
def test_a_po_whose_repeated_members_change_nothing_is_read(extra: bytes) -> None:
    document = read_document(page(GOOD.replace(b"{", b"{" + extra, 1)))

    assert document is not None
    assert [po_of(record) for record in document["records"]] == ["D1"]


def test_a_letter_holds_the_digits_that_came() -> None:
    raw = GOOD.replace(b'"D1"', b"90071992547409931234")
    document = read_document(page(raw))
    assert document is not None
    (record,) = document["records"]

    letter = to_letter(record, VENDOR, "items: none").letter

    assert letter is not None
    assert letter.body == raw == render(record)
    assert po_of(record_from_letter(letter.body)) == "90071992547409931234"


def test_a_letter_that_is_damaged_still_says_where() -> None:
    with pytest.raises(InvalidMessage, match="the byte 0xff at byte 7"):
        record_from_letter(b'{"po":"\xff"}')


@pytest.mark.parametrize(
    ("quantity", "units"), [(b"2", 2), (b"2.0", 2), (b'"2"', 2), (b'"1.0000"', 1), (b"1.0000", 1)]
)
def test_a_quantity_with_a_point_is_read_exactly(quantity: bytes, units: int) -> None:
    document = read_document(page(GOOD.replace(b'"quantity":1', b'"quantity":' + quantity)))

    assert document is not None
    assert read_purchase_order(document["records"][0]).items[0].quantity == units


@pytest.mark.parametrize("quantity", [b"1.5", b"-1", b'"1,299"', b"true", b"null", b"1e3000", b'"two"'])
def test_any_other_quantity_names_its_line(quantity: bytes) -> None:
    document = read_document(page(GOOD.replace(b'"quantity":1', b'"quantity":' + quantity)))

    assert document is not None
    with pytest.raises(InvalidMessage) as invalid:
        read_purchase_order(document["records"][0])
    assert "items.0.quantity" in str(invalid.value) or "expected JSON" in str(invalid.value)


def test_a_number_that_is_not_kept_shows_nothing_of_itself() -> None:
    assert repr(Inexact("9.4e21")) == "Inexact"
