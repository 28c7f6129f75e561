"""The closed shapes of the four webhooks."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from hub.partners.optoro.wire import (
    Closed,
    DispositionUpdate,
    DropShipmentCancellation,
    DropShipmentConfirmation,
    DropShipmentPartialCancellation,
    encode,
)

ITEM = {"client_identifier": "line-1", "quantity": 2}
SHIPMENT = {
    "client_identifier": "7a0e5d1c",
    "channel": "rts_drop_ship",
    "carrier": "UPS",
    "shipping_method": "UPS Ground",
    "tracking_number": "1Z863YY60392796356",
    "billed_weight": 2.4,
    "shipping_cost_cents": 912,
    "shipment_items": [ITEM],
}
CANCELLED_ITEM = {
    "client_identifier": "line-1",
    "sku": "NF-CASE-GRA",
    "brand": "northfork",
    "condition": "N",
    "quantity": 2,
    "price_cents": 7998,
    "tax_cents": 0,
    "shipping_cost_cents": 0,
    "shipping_tax_cents": 0,
    "status": "cancelled",
}
ORDER = {
    "client_identifier": "7a0e5d1c",
    "billing_address": {},
    "shipping_address": {"name": "Dana Whitfield"},
    "brand": "northfork",
    "shipping_method": "STANDARD",
    "status": "cancelled",
    "price_cents": 7998,
    "tax_cents": 0,
    "shipping_cost_cents": 0,
    "shipping_tax_cents": 0,
    "order_items": [CANCELLED_ITEM],
}
PARTLY = {
    "client_identifier": "7a0e5d1c",
    "status": "shipped",
    "order_items": [
        {"client_identifier": "line-1", "status": "cancelled", "quantity": 3, "cancelled_quantity": 1}
    ],
}
UNIT = {
    "from_disposition": "rtv",
    "to_disposition": "rts_drop_ship",
    "timestamp": datetime(2024, 5, 16, 11, 3, 27, tzinfo=UTC),
    "location_identifier": "RTS-2041",
    "warehouse_identifier": "22",
    "optiturn_lp": "LPNF0093127",
    "program_identifier": "parcel_returns",
    "upc": "0812345678905",
    "from_condition": "TT",
    "to_condition": "N",
}
LEAST: list[tuple[type[Closed], dict[str, Any]]] = [
    (DropShipmentConfirmation, {"shipment": SHIPMENT}),
    (DropShipmentCancellation, {"order": ORDER}),
    (DropShipmentPartialCancellation, {"order": PARTLY}),
    (DispositionUpdate, UNIT),
]


@pytest.mark.parametrize(("model", "document"), LEAST)
def test_a_document_with_the_required_fields_alone_is_whole(
    model: type[Closed], document: dict[str, Any]
) -> None:
    body = encode(model.model_validate(document))

    assert b"null" not in body
    assert orjson.loads(body).keys() == document.keys()


@pytest.mark.parametrize(("model", "document"), LEAST)
def test_a_key_that_the_documents_do_not_know_is_refused_at_the_root(
    model: type[Closed], document: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="event_id"):
        model.model_validate({**document, "event_id": "FUL-1"})


@pytest.mark.parametrize(
    ("model", "document"),
    [
        (DropShipmentConfirmation, {"shipment": {**SHIPMENT, "note": "x"}}),
        (DropShipmentConfirmation, {"shipment": {**SHIPMENT, "shipment_items": [{**ITEM, "note": "x"}]}}),
        (DropShipmentCancellation, {"order": {**ORDER, "note": "x"}}),
        (DropShipmentCancellation, {"order": {**ORDER, "billing_address": {"note": "x"}}}),
        (DropShipmentCancellation, {"order": {**ORDER, "shipping_address": {"note": "x"}}}),
        (DropShipmentCancellation, {"order": {**ORDER, "order_items": [{**CANCELLED_ITEM, "note": "x"}]}}),
        (DropShipmentPartialCancellation, {"order": {**PARTLY, "note": "x"}}),
    ],
)
def test_a_key_that_the_documents_do_not_know_is_refused_inside(
    model: type[Closed], document: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="note"):
        model.model_validate(document)


def test_the_lines_of_a_cancellation_have_no_timestamps() -> None:
    item = {**CANCELLED_ITEM, "created_at": "2024-05-15T14:20:05Z"}

    with pytest.raises(ValidationError, match="created_at"):
        DropShipmentCancellation.model_validate({"order": {**ORDER, "order_items": [item]}})


def test_keys_are_written_in_the_order_of_the_document() -> None:
    partly = dict(reversed(PARTLY.items()))

    body = encode(DropShipmentPartialCancellation.model_validate({"order": partly}))

    assert body == (
        b'{"order":{"client_identifier":"7a0e5d1c","status":"shipped","order_items":[{"client_identifier":"line-1",'
        b'"status":"cancelled","quantity":3,"cancelled_quantity":1}]}}'
    )


def test_text_is_written_as_utf_8() -> None:
    body = encode(
        DropShipmentCancellation.model_validate({"order": {**ORDER, "shipping_address": {"name": "Zoë Łuk"}}})
    )

    assert '"shipping_address":{"name":"Zoë Łuk"}'.encode() in body


def test_a_moment_is_written_in_utc_with_a_z() -> None:
    in_boise = datetime(2024, 5, 15, 8, 20, 5, tzinfo=timezone(-timedelta(hours=6)))

    body = encode(DropShipmentConfirmation.model_validate({"shipment": {**SHIPMENT, "created_at": in_boise}}))

    assert b'"created_at":"2024-05-15T14:20:05Z"' in body


def test_the_timestamp_of_a_disposition_is_utc_without_a_zone_and_without_fractions() -> None:
    in_boise = datetime(2024, 5, 16, 5, 3, 27, 500_000, tzinfo=timezone(-timedelta(hours=6)))

    body = encode(DispositionUpdate.model_validate({**UNIT, "timestamp": in_boise}))

    assert b'"timestamp":"2024-05-16T11:03:27"' in body


def test_a_disposition_that_no_list_names_passes() -> None:
    """Edge case 38 (first half): the document's own sample has a disposition that its list lacks."""
    update = DispositionUpdate.model_validate({**UNIT, "from_disposition": "needs_testing"})

    assert update.from_disposition == "needs_testing"


@pytest.mark.parametrize("field", ["from_condition", "to_condition"])
def test_a_condition_outside_the_enum_fails(field: str) -> None:
    """Edge case 38 (second half): conditions are checked strictly."""
    with pytest.raises(ValidationError, match=field):
        DispositionUpdate.model_validate({**UNIT, field: "Z"})


def test_a_shipping_method_of_a_cancellation_is_one_of_five_words() -> None:
    with pytest.raises(ValidationError, match="PICK-UP"):
        DropShipmentCancellation.model_validate({"order": {**ORDER, "shipping_method": "UPS Ground"}})
