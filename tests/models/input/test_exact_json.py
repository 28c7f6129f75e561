"""JSON numbers keep their digits, and what none of our types keeps is no text."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.models.input import exact_json

NUMBERS = st.integers(-(10**99), 10**99) | st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS)
def test_a_number_is_read_as_it_is_or_not_at_all(number: float) -> None:
    read = exact_json.loads(str(number))

    assert isinstance(read, exact_json.Inexact) or read == number


@given(st.recursive(st.integers(-(2**53), 2**53) | st.text() | st.none(), st.lists))
def test_what_is_called_exact_is_read_alike_by_the_quick_reader(document: object) -> None:
    text = orjson.dumps(document)

    assert exact_json.loads(text.decode()) == document
    assert not exact_json.is_exact(text) or orjson.loads(text) == document


@pytest.mark.parametrize(
    "text",
    [
        b"12345678901234567",
        b"[1.0000000000000001]",
        b'{"a":1e5}',
        b'{"a" :\n -1e5}',
        b'["",\t-12345678901234567]',
        b"1e5",
        b'{"\\"":9.4E21}',
    ],
)
def test_a_long_number_or_an_exponent_is_suspect(text: bytes) -> None:
    assert not exact_json.is_exact(text)


@pytest.mark.parametrize("text", [b"[12.50]", b'{"a":100.10,"b":1}', b"-0", b"[0.00001]", b"1.00", b"[-0,1]"])
def test_a_number_that_python_writes_in_other_digits_is_suspect(text: bytes) -> None:
    assert not exact_json.is_exact(text)


@pytest.mark.parametrize(
    "text",
    ["12.50", "1E5", "1e5", "1.0", "-0", "-0.0", "1.00", "0.00001", "100.10", "12.5", "7", "-7", "1E+2"],
)
def test_the_text_of_a_number_is_its_digits_as_sent(text: str) -> None:
    read = exact_json.loads(text)

    assert str(read) == text
    assert float(read) == float(text)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?([eE][-+]?[0-9]{1,2})?", fullmatch=True))
def test_a_number_is_never_another_text(text: str) -> None:
    read = orjson.loads(text) if exact_json.is_exact(text.encode()) else exact_json.loads(text)

    assert isinstance(read, exact_json.Inexact) or str(read) == text


@pytest.mark.parametrize("text", [b'{"a":"12345678901234567890","b":"1e5"}', b"[1,2.5,true,false,null]", b""])
def test_digits_inside_of_texts_are_not(text: bytes) -> None:
    assert exact_json.is_exact(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1" * 5000 + "x"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the library's own)
        exact_json.loads(text)


@pytest.mark.parametrize("text", ["1" * 101, "1" * 100_000, "1e999999999", "0." + "1" * 5000, "9.4e21"])
def test_a_number_beyond_every_type_is_neither_text_nor_endless_work(text: str) -> None:
    assert isinstance(exact_json.loads(text), exact_json.Inexact)
