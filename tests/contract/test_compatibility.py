"""What counts as a break of the contract, in small schemas; and whether today's models break the published one."""

import json
from pathlib import Path
from typing import Any

import pytest

from hub.contract.compatibility import breaks
from hub.contract.json_schema import data_schema
from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS

SCHEMAS = Path(__file__).parents[2] / "schemas"
TEXT: dict[str, Any] = {"type": "string"}


def the_breaks(old: dict[str, Any], new: dict[str, Any], exchange: str = FULFILLMENT) -> list[str]:
    where = {"x-amqp": {"exchange": exchange}}
    return [str(each) for each in breaks({"t": where | old}, {"t": where | new})]


def an_object(required: tuple[str, ...] = (), **fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required)}


def test_the_models_break_no_promise_of_the_published_schemas() -> None:
    """If this fails: take the change back, or make it an addition. A re-export alone does not make it right."""
    published = {name: json.loads((SCHEMAS / f"{name}.json").read_bytes()) for name in _published()}
    assert published

    found = breaks(published, {name: data_schema(kind) for name, kind in EVENT_TYPES.items()})

    assert not found, "\n" + "\n".join(map(str, found))


def _published() -> list[str]:
    return [path.stem for path in SCHEMAS.glob("*.json") if path.name != "asyncapi.json"]


@pytest.mark.parametrize("exchange", [FULFILLMENT, ORDERS])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (an_object(a=TEXT), an_object(), "t: a: field removed"),
        (
            an_object(),
            an_object(("a",), a=TEXT),
            "t: a: new field is required: what was valid without it is refused",
        ),
        (
            an_object(a=TEXT),
            an_object(("a",), a=TEXT),
            "t: a: field became required: what was valid without it is refused",
        ),
        (
            an_object(a={"type": ["string", "null"]}),
            an_object(a=TEXT),
            "t: a: type narrowed: null is not taken any more",
        ),
        (
            an_object(a={"type": "number"}),
            an_object(a={"type": "integer"}),
            "t: a: type narrowed: number is not taken any more",
        ),
        (
            an_object(a={"enum": ["x", "y"]}),
            an_object(a={"enum": ["x"]}),
            "t: a: values narrowed: y is not taken any more",
        ),
        (
            an_object(a=TEXT),
            an_object(a=TEXT | {"enum": ["x"]}),
            "t: a: values narrowed: any other value is not taken any more",
        ),
        (
            an_object(a=TEXT | {"maxLength": 9}),
            an_object(a=TEXT | {"maxLength": 8}),
            "t: a: limit narrowed: maxLength was 9, is now 8",
        ),
        (
            an_object(a=TEXT),
            an_object(a=TEXT | {"minLength": 1}),
            "t: a: limit narrowed: minLength was absent, is now 1",
        ),
        (
            an_object(a=TEXT),
            an_object(a=TEXT | {"pattern": "^x"}),
            "t: a: rule changed: pattern was absent, is now ^x",
        ),
        (
            an_object(a={"type": "array", "items": an_object(b=TEXT)}),
            an_object(a={"type": "array", "items": an_object()}),
            "t: a[].b: field removed",
        ),
        (
            an_object(a={"type": "object", "additionalProperties": an_object(b=TEXT)}),
            an_object(a={"type": "object", "additionalProperties": an_object()}),
            "t: a.*.b: field removed",
        ),
        (
            an_object() | {"a rule of tomorrow": 1},
            an_object() | {"a rule of tomorrow": 2},
            "t: the whole event: rule changed: a rule of tomorrow was 1, is now 2",
        ),
        (
            an_object(),
            an_object() | {"additionalProperties": False},
            "t: the whole event: additionalProperties was True, is now False",
        ),
    ],
)
def test_what_narrows_is_a_break_for_writers_and_for_letters(
    old: dict[str, Any], new: dict[str, Any], said: str, exchange: str
) -> None:
    assert the_breaks(old, new, exchange) == [said]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            an_object(("a",), a=TEXT),
            an_object(a=TEXT),
            "t: a: field is not promised any more: readers may miss it",
        ),
        (
            an_object(a=TEXT),
            an_object(a={"type": ["string", "null"]}),
            "t: a: type widened: it may now be null, which readers do not expect",
        ),
        (
            an_object(a={"enum": ["x"]}),
            an_object(a={"enum": ["x", "y"]}),
            "t: a: values widened: it may now be y, which readers do not expect",
        ),
        (
            an_object(a={"maximum": 8}),
            an_object(a={"maximum": 9}),
            "t: a: limit widened: maximum was 8, is now 9",
        ),
        (an_object(a={"minimum": 0}), an_object(a={}), "t: a: limit widened: minimum was 0, is now absent"),
        (
            an_object(a={"pattern": "^x"}),
            an_object(a={}),
            "t: a: rule changed: pattern was ^x, is now absent",
        ),
    ],
)
def test_what_widens_is_a_break_for_readers_and_none_for_writers(
    old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    assert the_breaks(old, new, ORDERS) == [said]
    assert the_breaks(old, new, FULFILLMENT) == []


@pytest.mark.parametrize("exchange", [FULFILLMENT, ORDERS])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (an_object(), an_object(a=TEXT)),
        (an_object(), an_object(("a",), a={"type": "boolean", "default": False})),
        (an_object(a=TEXT), an_object(a=TEXT | {"description": "said better", "title": "A"})),
    ],
)
def test_an_addition_is_no_break_for_anyone(old: dict[str, Any], new: dict[str, Any], exchange: str) -> None:
    assert the_breaks(old, new, exchange) == []


def test_a_type_that_is_gone_is_a_break_and_a_new_one_is_none() -> None:
    (gone,) = breaks({"t": an_object()}, {"u": an_object()})

    assert str(gone) == "t: the whole event: the event type was removed"


def test_an_event_that_moves_to_another_exchange_or_key_is_a_break() -> None:
    (moved,) = breaks({"t": {"x-amqp": {"exchange": ORDERS}}}, {"t": {"x-amqp": {"exchange": FULFILLMENT}}})

    assert "x-amqp" in moved.what


def test_a_model_is_compared_behind_its_name_also_where_it_may_be_null() -> None:
    def schema(*fields: str) -> dict[str, Any]:
        model = an_object((), **dict.fromkeys(fields, TEXT))
        optional = {"anyOf": [{"$ref": "#/$defs/M"}, {"type": "null"}]}
        return an_object(one=optional, many={"type": "array", "items": {"$ref": "#/$defs/M"}}) | {
            "$defs": {"M": model}
        }

    assert the_breaks(schema("a", "b"), schema("a")) == [
        "t: one.b: field removed",
        "t: many[].b: field removed",
    ]
    assert the_breaks(schema("a"), schema("a", "b")) == []


def test_a_model_inside_itself_is_walked_once() -> None:
    def schema(*fields: str) -> dict[str, Any]:
        model = an_object((), **dict.fromkeys(fields, TEXT), inner={"$ref": "#/$defs/M"})
        return an_object(top={"$ref": "#/$defs/M"}) | {"$defs": {"M": model}}

    assert the_breaks(schema("a"), schema()) == ["t: top.a: field removed"]
