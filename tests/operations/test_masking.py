import json

import pytest

from hub.operations.masking import MASK, masked, readable_body


def test_people_and_places_are_masked_wherever_they_stand() -> None:
    document = {
        "order_id": "iqmetrix:1:a",
        "data": {
            "ship_to": {"name": "Dana", "city": "Boise", "lines": ["914 W Fort St"], "company": None},
            "customer": {"first_name": "Dana"},
            "lines": [{"sku": "A", "quantity": 2, "attention-to": "Dana"}],
            "notes": ["ring twice"],
        },
    }

    shown = masked(document)

    assert shown["order_id"] == "iqmetrix:1:a"
    assert shown["data"]["lines"] == [{"sku": "A", "quantity": 2, "attention-to": MASK}]
    assert shown["data"]["ship_to"] == {"name": MASK, "city": MASK, "lines": [MASK], "company": None}
    for private in ("Dana", "Boise", "Fort", "ring"):
        assert private not in json.dumps(shown)


def test_raw_xml_is_masked_by_element_and_attribute_below_any_namespace() -> None:
    body = b"""<entry xmlns="http://www.w3.org/2005/Atom" xmlns:d="urn:d"><!-- Dana --><id>urn:uuid:1</id>
      <content><d:dropship-order><d:shipping-address attention-to="Dana"><d:locality>Boise</d:locality>tail Dana
      </d:shipping-address><d:shipping-customer><d:primary-name>Dana</d:primary-name></d:shipping-customer>
      <d:sku>A-1</d:sku></d:dropship-order></content></entry>"""

    shown = readable_body(body)

    assert "urn:uuid:1" in shown
    assert "A-1" in shown
    assert "Dana" not in shown
    assert "Boise" not in shown


@pytest.mark.parametrize("body", [b"Dana Whitfield, 914 W Fort St", b"\xff\xfe", b'"Dana"', b"<open>Dana"])
def test_what_has_no_known_form_is_not_shown(body: bytes) -> None:
    shown = readable_body(body)

    assert "Dana" not in shown
    assert "--unmask" in shown


def test_an_external_entity_is_not_read() -> None:
    body = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'

    assert "root:" not in readable_body(body, unmask=True)


def test_unmask_shows_all() -> None:
    assert "Dana" in readable_body(b'{"name": "Dana"}', unmask=True)
    assert "Dana" in readable_body(b"<name>Dana</name>", unmask=True)
    assert "Dana" in readable_body(b"Dana", unmask=True)


@pytest.mark.parametrize(
    "field",
    [
        "reason",
        "customer_name",
        "address_line1",
        "postcode",
        "dob",
        "iban",
        "refresh_token",
        "x",
        "message",
        "title",
    ],
)
def test_a_field_that_is_not_known_is_masked(field: str) -> None:
    shown = readable_body(json.dumps({"data": {field: "Dana", "sku": "A-1"}, field: 1313}).encode())

    assert field in shown
    assert "A-1" in shown
    assert "Dana" not in shown
    assert "1313" not in shown


def test_a_known_field_is_shown_only_in_the_form_of_one() -> None:
    document = {
        "sku": "Dana Whitfield",
        "carrier": "UPS Ground",
        "line_id": "Quackenbush",
        "service": "Dana <b>",
    }

    assert masked(document) == {"sku": MASK, "carrier": "UPS Ground", "line_id": MASK, "service": MASK}


def test_a_key_that_is_no_name_is_masked() -> None:
    assert masked({"Dana Whitfield": None, "x\x1b[31m": None, "k" * 41: None}) == {MASK: None}


@pytest.mark.parametrize("unmask", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        b'{"data":' * 900 + b"1" + b"}" * 900,
        b"[" * 900 + b"]" * 900,
        b"<data>" * 900 + b"</data>" * 900,
    ],
    ids=["objects", "lists", "XML"],
)
def test_a_document_of_900_levels_is_shown(body: bytes, unmask: bool) -> None:
    shown = readable_body(body, unmask=unmask)

    assert shown.count("data") >= 900 or shown.count("[") == 900


def test_json_is_printed_as_it_was_indented_before() -> None:
    document = {"id": "1", "lines": [{"quantity": 2, "sku": "A-1"}, {}], "items": [], "time": None}

    assert readable_body(json.dumps(document).encode()) == json.dumps(document, indent=2)


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 600_000 + b"1]", b"<a>" + b"<b/>" * 400_000 + b"</a>"],
    ids=["JSON", "XML"],
)
def test_of_a_body_with_very_many_values_the_first_are_shown(body: bytes) -> None:
    shown = readable_body(body)

    assert shown.splitlines()[-1] == (
        "… and more: the first 32000 values are shown, --unmask shows all as they came"
    )
    assert len(shown) < len(body)
    assert readable_body(body, unmask=True).encode() == body


def test_very_many_attributes_of_an_element_are_masked_together() -> None:
    attributes = " ".join(f'a{each}="1"' for each in range(20_000))

    assert readable_body(f"<a {attributes}><sku>A-1</sku></a>".encode()) == "<a ***>\n  <sku>A-1</sku>\n</a>"
