"""What of a stranger's words may be shown: forms of ids, types, codes and paths, and nothing else."""

import pytest

from hub.models.events import shown_type
from hub.models.input.quoting import digest, shown_code, shown_id, shown_path


@pytest.mark.parametrize(
    "text",
    [
        "warehouse-shipment-4711",
        "iqmetrix:71204:2f429ce5-9ff3-478f-8c1b-0c3e1c07724e",
        "retailops:27:D48213",
        "webhook:acme:confirmation:wh-1:1:PKG-1",
        "sha256:" + "0a" * 32,
        "urn:uuid:2f429ce5-9ff3-478f-8c1b-0c3e1c07724e",
        "1Z999AA10123456784",
        "NF-CASE-GRA",
    ],
)
def test_an_id_of_a_known_form_is_shown(text: str) -> None:
    assert shown_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Jane Doe",
        "Quackenbush",
        "Jane-Doe-4711",
        "1313-Mockingbird-Ln",
        "jane.doe1@example.com",
        "208-555-0143",
        "+1-208-555-0143",
        "Zoë1",
        "id 1\x1b[31m",
        "&#74;ane1",
        "\\u004aane1",
        "٣٤٥",
        "x1" * 200,
    ],
)
def test_an_id_of_another_form_is_shown_as_its_digest(text: str) -> None:
    assert shown_id(text) == digest(text)
    assert shown_id(text) == shown_id(shown_id(text))


def test_no_id_is_shown_as_none() -> None:
    assert shown_id("") == ""


@pytest.mark.parametrize(
    ("text", "is_shown"),
    [
        ("order.shipped", True),
        ("order.shipped.iqmetrix", True),
        ("webhook.confirmation", True),
        ("order.shipped.Jane", False),
        ("jane.doe", False),
        ("Jane", False),
    ],
)
def test_only_a_type_of_the_hub_is_shown(text: str, is_shown: bool) -> None:
    assert shown_type(text) == (text if is_shown else digest(text))


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1042", "1042"),
        ("E1042", "E1042"),
        ("missing_field", "missing_field"),
        ("PO_NOT_FOUND", "PO_NOT_FOUND"),
        ("invalid", "invalid"),
        ("", ""),
        ("Quackenbush", digest("Quackenbush")),
        ("Jane Doe", digest("Jane Doe")),
        ("2085550143", digest("2085550143")),
    ],
)
def test_only_what_looks_like_a_code_is_shown(code: str, shown: str) -> None:
    assert shown_code(code) == shown


def test_a_path_is_shown_if_every_step_is_a_known_field() -> None:
    known = ("ship_to", "zip_code", "lines")

    assert shown_path("$.shipTo.zip-code", known) == "ship_to.zip_code"
    assert shown_path("lines[0]", known) == "lines.0"
    assert shown_path("ship_to.Quackenbush", known) == ""
    assert shown_path("", known) == ""
