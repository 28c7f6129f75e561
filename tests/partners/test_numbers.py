"""Numbers of partners: what is read exactly, and what is refused because it may mean something else."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from hub.partners.numbers import price_cents, whole_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("2", 2),
        ("2.0", 2),
        ("1.0000", 1),
        ("2.", 2),
        (" 2 ", 2),
        ("+2", 2),
        ("-1", -1),
        ("0", 0),
        ("-0", 0),
        ("007", 7),
        ("1,299.00", 1299),
        ("1,299,000", 1299000),
        ("999999999", 999999999),
        (2, 2),
        (2.0, 2),
        (Decimal("1.0000"), 1),
    ],
)
def test_a_whole_number_is_read_however_it_is_written(value: object, number: int) -> None:
    assert whole_number(value) == number


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ".",
        "2.5",
        "1,299",
        "1.299,00",
        "12,99",
        "1e3",
        "0x2",
        "٢",
        "1 000",
        "--1",
        "two",
        "nan",
        "NaN",
        "1_0",
        "1000000000",
        1000000000.0,
        2.5,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        True,
        None,
        [2],
        "1,2999.00",
        ",299.00",
    ],
)
def test_what_is_no_whole_number_for_sure_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        whole_number(value)


@pytest.mark.parametrize(
    ("value", "cents"),
    [
        ("39.99", 3999),
        (".99", 99),
        ("39.", 3900),
        ("1,299.00", 129900),
        ("1,299,000.5", 129900050),
        ("0.005", 1),
        ("0.0049", 0),
        ("-0.00", 0),
        ("1.995", 200),
        (39.99, 3999),
        (39, 3900),
        (Decimal("39.990"), 3999),
    ],
)
def test_a_price_becomes_exact_cents(value: object, cents: int) -> None:
    assert price_cents(value) == cents


@pytest.mark.parametrize(
    "value", ["", "$39.99", "39,99", "1,299", "1.299,00", "1e2", "1" * 13, "0." + "1" * 13, True]
)
def test_what_is_no_price_for_sure_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        price_cents(value)


@pytest.mark.parametrize("value", ["-5.00", "-0.001", -5.0])
def test_a_negative_price_is_named_as_a_discount(value: object) -> None:
    with pytest.raises(ValueError, match="discount"):
        price_cents(value)


@pytest.mark.parametrize("read", [whole_number, price_cents])
def test_a_huge_text_is_refused_unquoted(read: Callable[[object], int]) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read("9" * 1_000_000 + " Whitfield")

    assert len(str(caught.value)) < 200
