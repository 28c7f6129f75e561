"""Feed entries to events: every field, and the letters that entries become when they cannot be read."""

import re
from typing import Any

import orjson
import pytest

from hub.config.settings import FeedLimits
from hub.errors import InvalidMessage
from hub.models.events import Event, OrderCreated, OrderStatusUpdated
from hub.partners.iqmetrix.feed import Entry, parse_page
from hub.partners.iqmetrix.translate import (
    entry_from_letter,
    to_event,
    to_item,
    to_order_created,
    to_status_updated,
)
from tests.partners.iqmetrix.samples import (
    ADDRESS,
    CUSTOMER,
    NOW,
    ORDER_ID,
    SOURCE_ORDER_ID,
    SUPPLIER,
    a_page,
    an_entry,
    an_item,
    created,
    settings,
    status_updated,
)

ENTRY_ID = "urn:uuid:0b8c1c0e-66a1-4c1f-9f2e-8c5a2f1b7a01"


def entry_of(content: str, entry_id: str = ENTRY_ID) -> Entry:
    return parse_page(a_page([an_entry(entry_id, content)]), FeedLimits()).entries[0]


def order_of(**values: Any) -> OrderCreated:
    return to_order_created(entry_of(created(**values)), SUPPLIER, "USD").data


def document(event: Event[Any]) -> Any:
    return orjson.loads(orjson.dumps(event.data.model_dump(mode="json", exclude_none=True)))


def test_an_order_is_translated_field_by_field() -> None:
    event = to_order_created(entry_of(created()), SUPPLIER, "USD")

    assert event.id == f"iqmetrix:{SUPPLIER}:{ENTRY_ID}"
    assert (event.type, event.source) == ("order.created", f"/iqmetrix/suppliers/{SUPPLIER}")
    assert (event.subject, event.time) == (ORDER_ID, NOW)
    assert document(event) == {
        "order_id": ORDER_ID,
        "source": "iqmetrix",
        "source_account": SUPPLIER,
        "source_order_id": SOURCE_ORDER_ID,
        "source_event_id": ENTRY_ID,
        "order_number": "KW88IN1042",
        "po_reference": "KW88IN1042",
        "seller": {"company_id": "41870", "location_id": "41902"},
        "created_at": "2024-05-14T16:02:09Z",
        "ship_to_store": False,
        "shipping_method_code": "350",
        "ship_to": {
            "name": "Dana Whitfield",
            "phone": "208-555-0143",
            "street1": "914 W Fort St",
            "city": "Boise",
            "region": "Idaho",
            "region_code": "ID",
            "postal_code": "83702",
            "country": "United States",
            "country_code": "US",
            "address_type": "Home",
        },
        "customer": {
            "id": "b7f2c9d4-1c33-4a5b-9f0e-7e6d5c4b3a21",
            "first_name": "Dana",
            "last_name": "Whitfield",
        },
        "notes": ["ring twice"],
        "currency": "USD",
        "lines": [
            {
                "line_id": "8f0f6c0a",
                "sku": "NF-CASE-GRA",
                "catalog_id": "8f0f6c0a",
                "description": "Rugged Case",
                "quantity": 2,
                "unit_price_cents": 3999,
                "line_total_cents": 7998,
            }
        ],
    }


@pytest.mark.parametrize(
    ("price", "cents"),
    [
        ("100", 10000),
        ("24.5", 2450),
        ("39.99", 3999),
        ("0", 0),
        ("0.005", 1),
        ("0.0049", 0),
        ("1.115", 112),
        ("1.114999999999", 111),
        ("1.995", 200),
    ],
)
def test_prices_become_exact_cents(price: str, cents: int) -> None:
    """Edge case 14: prices 100, 24.5, 39.99, 0: exact cents."""
    line = order_of(items=an_item(price=price, quantity=3)).lines[0]

    assert (line.unit_price_cents, line.line_total_cents) == (cents, 3 * cents)


@pytest.mark.parametrize("quantity", ["2", "2.0", "2.0000", "+2"])
def test_a_quantity_with_a_decimal_point_is_whole(quantity: str) -> None:
    line = order_of(items=an_item(quantity=quantity, price="1,299.00")).lines[0]

    assert (line.quantity, line.unit_price_cents, line.line_total_cents) == (2, 129900, 259800)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"quantity": "2.5"}, r"items\.1\.quantity: expected a whole number"),
        ({"quantity": "1,299"}, r"items\.1\.quantity: .*comma"),
        ({"price": "-5.00"}, r"items\.1\.selling-price: .*discount"),
    ],
)
def test_a_number_that_is_not_read_names_its_line(values: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidMessage, match=named):
        order_of(items=an_item(catalog_id="a") + an_item(catalog_id="b", **values))


def test_elements_of_a_foreign_namespace_are_ignored() -> None:
    foreign = (
        '<x:quantity xmlns:x="urn:vendor:ext">10</x:quantity><x:sku xmlns:x="urn:vendor:ext">EXT</x:sku>'
    )
    item = an_item().replace("<order-item>", f"<order-item>{foreign}")

    line = order_of(items=item).lines[0]

    assert (line.sku, line.quantity) == ("NF-CASE-GRA", 2)


def test_a_foreign_element_beside_the_order_is_ignored() -> None:
    entry = entry_of('<x:note xmlns:x="urn:vendor:ext"/>' + created())

    assert entry.kind == "order-created"


def test_the_lines_of_several_lists_are_merged() -> None:
    order = to_order_created(
        entry_of(created().replace("</items>", f"</items><items>{an_item(catalog_id='b', sku='B')}</items>")),
        SUPPLIER,
        "USD",
    ).data

    assert [line.sku for line in order.lines] == ["NF-CASE-GRA", "B"]


@pytest.mark.parametrize(
    ("items", "named"),
    [
        (an_item() + '<order-item i:nil="true" />', r"items\.1\.quantity: expected a value, got none"),
        (an_item() + "<order-item>lost</order-item>", r"items\.1\.quantity: expected a value, got none"),
        (an_item().replace("<sku>", "<sku>X</sku><sku>"), "sku: expected one value, got two that differ"),
        (an_item() * 5001, "items: expected at most 5000 order-items, got 5001"),
    ],
)
def test_no_line_is_dropped_in_silence(items: str, named: str) -> None:
    with pytest.raises(InvalidMessage, match=named):
        order_of(items=items)


def test_two_addresses_that_differ_are_named() -> None:
    twice = created().replace(
        "<shipping-customer>",
        "<shipping-address><locality>B</locality></shipping-address><shipping-customer>",
    )

    with pytest.raises(InvalidMessage, match="shipping-address: expected one, got 2 that differ"):
        to_order_created(entry_of(twice), SUPPLIER, "USD")


def test_what_is_nil_or_empty_is_absent_wherever_it_is_optional() -> None:
    nil = created()
    for name in (
        "printable-id",
        "po-reference",
        "shipping-method",
        "ship-to-store",
        "selling-price",
        "description",
    ):
        nil = re.sub(rf"<{name}>[^<]*</{name}>", f'<{name} i:nil="true" />', nil)
    empty = nil.replace(' i:nil="true" />', "> </x>")
    empty = re.sub(r"<([a-z0-9-]+)> </x>", r"<\1> </\1>", empty)

    for content in (nil, empty):
        order = to_order_created(entry_of(content), SUPPLIER, "USD").data
        assert (order.order_number, order.po_reference, order.ship_to_store) == (None, None, False)
        assert order.lines[0].unit_price_cents is None


def test_an_order_of_another_vocabulary_is_no_order() -> None:
    content = '<order-created xmlns="urn:vendor:ext"><order-id>7</order-id></order-created>'

    (malformed,) = parse_page(a_page([an_entry("x", content)]), FeedLimits()).malformed

    assert malformed.reason.startswith("content: expected exactly one element of urn:iQmetrix:dropship")


def test_a_missing_price_is_left_out() -> None:
    line = order_of(items=an_item().replace("<selling-price>39.99</selling-price>", "")).lines[0]

    assert (line.unit_price_cents, line.line_total_cents) == (None, None)


def test_nulls_zero_ids_and_malformed_ids_are_harmless() -> None:
    """Edge case 8: i:nil on phone, street 2 and type; zero GUID address id; malformed catalog id."""
    nil = '<phone i:nil="true" /><street-address-2 i:nil="true" /><type i:nil="true" />'
    zero = "00000000-0000-0000-0000-000000000000"
    address = f"<address-id>{zero}</address-id>{nil}<street-address-1>914 W Fort St</street-address-1>"

    order = order_of(
        address=address,
        customer=f"<customer-id>{zero}</customer-id><primary-name>Dana</primary-name>",
        items=an_item(catalog_id="not-a-{guid}") + an_item(catalog_id=zero, sku="B"),
    )

    assert order.ship_to is not None
    assert order.customer is not None
    assert (order.ship_to.phone, order.ship_to.street2, order.ship_to.address_type) == (None, None, None)
    assert order.ship_to.name == "Dana"
    assert order.customer.id is None
    assert [line.line_id for line in order.lines] == ["not-a-{guid}", f"{SOURCE_ORDER_ID}:2"]


def test_lines_without_a_catalog_id_of_their_own_are_named_by_position() -> None:
    items = (
        an_item(catalog_id="x") + an_item(catalog_id="y") + an_item(catalog_id="x") + an_item(catalog_id="")
    )

    order = order_of(items=items)

    assert [line.line_id for line in order.lines] == [
        f"{SOURCE_ORDER_ID}:1",
        "y",
        f"{SOURCE_ORDER_ID}:3",
        f"{SOURCE_ORDER_ID}:4",
    ]


@pytest.mark.parametrize(
    ("streets", "street1", "street2"),
    [
        (
            "<street-address-1>A</street-address-1><street-address-2>B</street-address-2>",
            "A",
            "B, P.O. Box 12",
        ),
        ("<street-address-1>A</street-address-1>", "A", "P.O. Box 12"),
        ("", "P.O. Box 12", None),
    ],
)
def test_a_post_office_box_goes_behind_the_streets(streets: str, street1: str, street2: str | None) -> None:
    order = order_of(address=f"{streets}<post-office-box-number>12</post-office-box-number>")

    assert order.ship_to is not None
    assert (order.ship_to.street1, order.ship_to.street2) == (street1, street2)


def test_a_company_is_named_as_one_and_the_customers_phone_is_the_second_choice() -> None:
    order = order_of(
        address="<locality>Boise</locality>",
        customer="<primary-name>Northfork</primary-name><type>Company</type><phone>1</phone>",
    )

    assert order.ship_to is not None
    assert (order.ship_to.company, order.ship_to.phone) == ("Northfork", "1")


def test_a_store_order_is_told_by_its_flag() -> None:
    assert order_of(ship_to_store="true").ship_to_store


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"order_id": ""}, "order-id"),
        ({"supplier": "71205"}, "supplier-id"),
        ({"supplier": ""}, "supplier-id"),
        ({"items": ""}, "items"),
        ({"items": an_item(sku="")}, "items.0.sku"),
        ({"items": an_item() + an_item(quantity="")}, "items.1.quantity"),
        ({"items": an_item(quantity=0)}, "items.0.quantity"),
        ({"items": an_item(quantity=-1)}, "items.0.quantity"),
        ({"items": an_item(quantity="two")}, "items.0.quantity"),
        ({"items": an_item(quantity="1.5")}, "items.0.quantity"),
        ({"items": an_item(price="free")}, "items.0.selling-price"),
        ({"items": an_item(price="-1")}, "items.0.selling-price"),
        ({"items": an_item(price="NaN")}, "items.0.selling-price"),
        ({"ship_to_store": "perhaps"}, "ship-to-store"),
        ({"items": an_item(sku="x" * 1001)}, "lines.0.sku"),
        ({"order_id": "x" * 400}, "order_id"),
    ],
)
def test_an_order_that_breaks_the_contract_becomes_a_letter(values: dict[str, Any], field: str) -> None:
    """Edge case 10: a malformed entry is quarantined raw, with the field in the reason."""
    item = to_item(entry_of(created(**values)), settings())

    assert item.event is None
    assert item.letter is not None
    assert item.reason.startswith(f"{field}: ")
    assert "Whitfield" not in item.reason
    assert item.key == ENTRY_ID
    assert item.letter.content_type == "application/atom+xml;type=entry"
    assert item.letter.type == "iqmetrix.entry"
    assert item.letter.message_id == f"iqmetrix:{SUPPLIER}:{ENTRY_ID}"
    assert item.letter.headers == {"x-hub-account": SUPPLIER}


def test_an_unknown_content_element_becomes_a_letter() -> None:
    """Edge case 10: unknown content element."""
    item = to_item(entry_of('<order-exploded xmlns="urn:iQmetrix:dropship"/>'), settings())

    assert item.letter is not None
    assert "order-exploded" in item.reason


def test_a_letter_can_be_taken_in_again() -> None:
    letter = to_item(entry_of(created(supplier="71205")), settings()).letter
    assert letter is not None

    event = to_event(entry_from_letter(letter.body, FeedLimits()), settings(supplier_id=71205))

    assert event.order_id == f"iqmetrix:71205:{SOURCE_ORDER_ID}"
    assert isinstance(event.data, OrderCreated)
    assert event.data.notes == ("ring twice",)


def test_an_entry_before_the_start_is_only_remembered() -> None:
    item = to_item(entry_of("<broken/>"), settings(start_from="2024-05-14T16:02:10Z"))

    assert (item.publish, item.event, item.letter) == (False, None, None)
    assert to_item(entry_of(created()), settings(start_from="2024-05-14T16:02:09Z")).publish


@pytest.mark.parametrize(
    ("status", "name"), [("Shipped", "Shipped"), ("2", "Shipped"), ("Exception", "Exception")]
)
def test_a_status_update_is_never_an_order(status: str, name: str) -> None:
    event = to_event(entry_of(status_updated(status)), settings())

    assert event.type == "order.status_updated"
    assert isinstance(event.data, OrderStatusUpdated)
    assert document(event) == {
        "order_id": ORDER_ID,
        "lines": [
            {
                "sku": "NF-CHG-30",
                "catalog_id": "c1d5a1b7-2f5e-4c0a-8a66-11d2d4f0ab21",
                "status": name,
                "quantity": 1,
                "tracking_number": "1Z2E07A20302245707",
                "carrier": "UPS",
            }
        ],
    }


def test_a_status_update_of_another_supplier_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="supplier-id"):
        to_status_updated(entry_of(status_updated()), "71205")


def test_the_name_falls_back_to_the_customers_names() -> None:
    address = ADDRESS.replace("<attention-to>Dana Whitfield</attention-to>", "")
    customer = CUSTOMER.replace('<middle-name i:nil="true" />', "<middle-name>M.</middle-name>")

    order = order_of(address=address, customer=customer)

    assert order.ship_to is not None
    assert order.ship_to.name == "Dana M. Whitfield"
