"""What is masked in texts and bodies of any size: the same rule, in time that grows with the text alone."""

import orjson
import pytest

from hub.models.input.body_limits import LARGEST_BODY, MOST_MARKUP, MOST_VALUES
from hub.observability import redaction

NAME = "Wilhelmina Canary-O'Neil"
TOKEN = "token." + "x1Y2z3" * 200


def test_only_the_start_of_a_long_text_is_kept() -> None:
    said = redaction.reason("word " * 100_000, b"{}")

    assert said == ("word " * 1000)[: redaction.LONGEST_QUOTE]


@pytest.mark.parametrize("before", range(redaction.LONGEST_QUOTE - 30, redaction.LONGEST_QUOTE, 5))
def test_a_name_on_the_edge_of_what_is_kept_leaves_no_half(before: int) -> None:
    text = "x" * (before - 1) + " " + NAME + " and more " * 1000

    said = redaction.quotable(text, {NAME})

    assert "Wil" not in said
    assert "Canary" not in said


@pytest.mark.parametrize("before", [100, redaction.LONGEST_QUOTE - 40, redaction.LONGEST_QUOTE - 5])
def test_a_long_token_on_the_edge_of_what_is_kept_leaves_no_half(before: int) -> None:
    redaction.remember(TOKEN)
    text = "x" * (before - 1) + " " + TOKEN + " and more " * 1000

    assert "token." not in redaction.quotable(text, ())
    assert "token." not in redaction.reason(text, b"{}")


def test_tokens_that_are_masked_move_no_half_of_one_into_view() -> None:
    redaction.remember(TOKEN)

    said = redaction.quotable(f"{TOKEN} " * 50, ())

    assert "token." not in said
    assert "x1Y2z3" not in said


def test_a_very_long_value_is_known_by_its_start() -> None:
    note = "please ring twice, " * 100

    said = redaction.quotable(f"the note was: {note}", {note.strip()})

    assert said == "the note was: ***"


def test_a_name_is_found_however_deep_it_stands() -> None:
    body = b'{"a":' * 900 + orjson.dumps({"name": NAME}) + b"}" * 900

    assert redaction.persons_in(body) == {NAME}


def test_names_in_xml_are_found_in_elements_and_attributes() -> None:
    body = b"""<?xml version="1.0"?>
        <order xmlns="urn:o"><Customer first="Wilhelmina"><id>7</id>Al&#105;ce <b>Roe</b></Customer>
        <item sku="NF" city="Vogelheim">thing</item></order>"""

    found = redaction.persons_in(body)

    assert {"Wilhelmina", "Alice", "Roe", "Vogelheim"} <= found
    assert not {"NF", "thing"} & found


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"%b","x":[%b0]}' % (NAME.encode(), b"0," * MOST_VALUES),
        b"<name>%b</name>" % (NAME.encode() + b"<b/>" * MOST_MARKUP),
        b'{"name":"%b","x":"%b"}' % (NAME.encode(), b"a" * LARGEST_BODY),
    ],
    ids=["values", "markup", "bytes"],
)
def test_of_a_body_too_large_to_be_searched_no_word_is_repeated(body: bytes) -> None:
    said = redaction.reason(f"body: expected at most 32000 values, got {NAME} 2085550143", body)

    assert said == "body: expected at most 32000 values, got *** ***-***'*** ***"


def test_of_a_body_with_very_many_names_each_word_is_masked() -> None:
    names = [f"Ann{number} Bee{number}" for number in range(3000)]
    body = orjson.dumps({"name": names})

    said = redaction.reason("data.name.7: expected ann7, got BEE2999 and Ann3001", body)

    assert said == "data.name.7: expected ***, got *** and Ann3001"


def test_a_stranger_hides_nothing_in_half_a_surrogate_pair() -> None:
    said = redaction.quotable(r"\ud83d\ude00 \ud83d W\u0069lhelmina", {"Wilhelmina"})

    assert said.encode() == "\U0001f600 \ufffd ***".encode()
