"""Faults are counted as whoever sent the input would count them."""

import pytest
from pydantic import ValidationError

from hub.models.events import EVENT_TYPES, OrderShipped
from hub.models.input.validation import faults_of

ORDER = "iqmetrix:71204:a"
PARCEL = {"carrier": "UPS", "tracking_number": "1Z"}


def faults(**values: object) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        OrderShipped.model_validate({"order_id": ORDER, **values})
    return [fault.field for fault in faults_of(refused.value)]


def test_a_refused_item_does_not_make_its_list_too_short() -> None:
    assert faults(packages=[{"carrier": "UPS"}]) == ["packages.0.tracking_number"]


def test_an_empty_list_is_too_short() -> None:
    assert faults(packages=[]) == ["packages"]


@pytest.mark.parametrize(
    ("type", "data", "field"),
    [
        ("order.shipped", {"packages": []}, "packages"),
        ("order.shipped", {"packages": [{**PARCEL, "items": []}]}, "packages.0.items"),
        ("order.cancelled", {"lines": []}, "lines"),
        ("order.backordered", {"lines": []}, "lines"),
        ("order.failed", {"lines": [], "status": "Error"}, "lines"),
        ("order.ship_date_estimated", {"lines": [], "estimated_ship_date": "2026-05-14T12:00:00Z"}, "lines"),
        ("inventory.counted", {"items": []}, "items"),
    ],
)
def test_an_empty_list_does_not_stand_for_all(type: str, data: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        EVENT_TYPES[type].payload.model_validate({"order_id": ORDER, **data})

    (fault,) = faults_of(refused.value)
    assert fault.field == field
    assert fault.message.startswith("expected a list with at least one item, got an empty one")


def test_a_rule_over_several_fields_is_told_without_a_prefix() -> None:
    parcel = {"carrier": "UPS", "tracking_number": "1Z"}

    with pytest.raises(ValidationError) as refused:
        OrderShipped.model_validate({"order_id": ORDER, "packages": [parcel, parcel]})

    (fault,) = faults_of(refused.value)
    assert fault.message.startswith("packages.0.items: expected items")
