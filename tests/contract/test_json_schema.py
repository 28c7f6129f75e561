"""The schemas say what the models do: what one refuses the other refuses, at the same field."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from hub.contract.examples import EXAMPLES, Example
from hub.contract.json_schema import data_schema, envelope_schema, routing_keys
from hub.errors import InvalidMessage
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS, EventType
from hub.topology import WorkQueue

TYPES = pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=lambda kind: kind.name)
REPORTED = tuple(example for example in EXAMPLES if EVENT_TYPES[example.type].exchange == FULFILLMENT)
TOLD = tuple(example for example in EXAMPLES if EVENT_TYPES[example.type].exchange == ORDERS)
Path = tuple[str | int, ...]


@TYPES
def test_every_schema_is_valid_and_says_its_dialect(kind: EventType) -> None:
    for schema in (data_schema(kind), envelope_schema(kind)):
        assert validator_for(schema) is Draft202012Validator
        Draft202012Validator.check_schema(schema)


@TYPES
def test_every_field_says_what_it_is(kind: EventType) -> None:
    whole = envelope_schema(kind)
    models = {name: each for name, each in whole["$defs"].items() if each.get("type") == "object"}

    silent = [
        f"{model}.{name}"
        for model, each in models.items()
        for name, field in each["properties"].items()
        if not field.get("description")
    ]

    assert silent == []
    assert [name for name, model in models.items() if not model.get("description")] == []


@TYPES
def test_the_routing_keys_are_those_that_work_queues_bind(kind: EventType) -> None:
    queue = WorkQueue("test", "hear", hears=(kind.name,), sources=("iqmetrix",))
    forms = {key.replace("{source}", "iqmetrix") for key in routing_keys(kind)}

    assert forms == {key for _, key in queue.bindings()}


# --- what the hub accepts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", REPORTED, ids=lambda example: example.name)
def test_schema_and_hub_refuse_the_same_data_at_the_same_field(example: Example) -> None:
    validator = Draft202012Validator(data_schema(EVENT_TYPES[example.type]))
    refused = 0

    for path, changed in _changed(example, validator):
        fault = _fault(example.type, changed)
        taken = validator.is_valid(changed)

        assert taken == (fault is None), (
            f"{path}: the schema {'takes' if taken else 'refuses'} it, the hub: {fault}"
        )
        if fault is not None:
            refused += 1
            where = ".".join(map(str, ("data", *path)))
            assert where.startswith(fault.field or "?") or (fault.field or "").startswith(where), fault

    assert refused > 5


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("order.shipped", {"packages": [{"carrier": "UPS", "tracking_number": "1"}] * 2}),
        ("order.shipped", {"packages": [{"carrier": "UPS", "tracking_number": "1", "items": []}] * 2}),
        (
            "order.shipped",
            {"packages": [{"carrier": "UPS", "tracking_number": "1", "items": [{"quantity": 1}]}]},
        ),
        ("order.cancelled", {"lines": [{"quantity": 1}]}),
        ("order.cancelled", {"lines": [{"line_id": None, "sku": None}]}),
        ("order.cancelled", {"charges": {"lines": {"L1": {"tax_cents": -1}}}}),
        ("order.cancelled", {"charges": {"lines": {"L\0": {}}}}),
        ("order.accepted", {"order_id": "iqmetrix:71204"}),
        ("order.accepted", {"order_id": "iqmetrix::7a0e5d1c"}),
        ("order.accepted", {"order_id": None}),
    ],
)
def test_a_rule_over_several_fields_is_in_the_schema_too(event_type: str, data: dict[str, Any]) -> None:
    data = {"order_id": "iqmetrix:71204:7a0e5d1c"} | data

    assert not Draft202012Validator(data_schema(EVENT_TYPES[event_type])).is_valid(data)
    assert _fault(event_type, data) is not None


@pytest.mark.parametrize("event_id", ["e", "e" * 400, "e" * 401, "", None])
def test_the_envelope_refuses_the_ids_that_the_hub_refuses(event_id: str | None) -> None:
    envelope = Draft202012Validator(envelope_schema(EVENT_TYPES["order.accepted"]))
    document = orjson.loads(cloudevents.encode(_example("order.accepted").event()).body) | {"id": event_id}

    message = Message(
        orjson.dumps(document), content_type=cloudevents.CLOUDEVENTS_JSON, routing_key="order.accepted"
    )

    assert envelope.is_valid(document) == (_refusal(message) is None)


# --- what the hub writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", TOLD, ids=lambda example: example.name)
def test_what_the_hub_writes_keeps_what_its_schema_promises(example: Example) -> None:
    document = orjson.loads(cloudevents.encode(example.event()).body)

    Draft202012Validator(envelope_schema(EVENT_TYPES[example.type])).validate(document)
    assert document["data"] == example.data


@pytest.mark.parametrize("example", TOLD, ids=lambda example: example.name)
def test_a_promised_field_is_written_also_when_the_producer_gave_none(example: Example) -> None:
    """A producer gives what it must; the rest is left out, or has its default."""
    model = EVENT_TYPES[example.type].payload
    least = Example(
        example.type,
        "",
        {key: example.data[key] for key in example.data if model.model_fields[key].is_required()},
    )

    written = orjson.loads(cloudevents.encode(least.event()).body)["data"]

    schema = data_schema(EVENT_TYPES[example.type])
    Draft202012Validator(schema).validate(written)
    assert set(written) == set(schema["required"])


# --- changing one thing ------------------------------------------------------------------------------------


def _example(name: str) -> Example:
    return next(example for example in EXAMPLES if example.name == name)


def _fault(event_type: str, data: object) -> InvalidMessage | None:
    return _refusal(Message(orjson.dumps(data), content_type="application/json", routing_key=event_type))


def _refusal(message: Message) -> InvalidMessage | None:
    try:
        cloudevents.decode(message)
    except InvalidMessage as refused:
        return refused
    return None


def _changed(example: Example, validator: Draft202012Validator) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give the example with one thing changed at a time: a field gone, or a value of another kind or size."""
    schema: Mapping[str, Any] = validator.schema
    for path, node in _fields(example.data, schema, schema, ()):
        gone = deepcopy(dict(example.data))
        del _holder(gone, path)[path[-1]]
        yield path, gone
        for value in _values(node):
            other = deepcopy(dict(example.data))
            _holder(other, path)[path[-1]] = value
            yield path, other


def _fields(
    data: Any, node: Mapping[str, Any], root: Mapping[str, Any], path: Path
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    node = next((each for each in node.get("anyOf", ()) if "$ref" in each), node)
    node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
    if isinstance(data, dict):
        for name in data.keys() & node.get("properties", {}).keys():
            yield (*path, name), node["properties"][name]
            yield from _fields(data[name], node["properties"][name], root, (*path, name))
    if isinstance(data, list):
        for position, each in enumerate(data):
            yield from _fields(each, node["items"], root, (*path, position))


def _values(node: Mapping[str, Any]) -> list[Any]:
    """Values on both sides of every limit; none that the hub takes beyond its schema out of kindness."""
    values: list[Any] = [None, {"another": "kind"}]
    if "string" in node.get("type", ()) and "format" not in node and "enum" not in node:
        longest = node.get("maxLength", 2000)
        values += ["", "a" * longest, "a" * (longest + 1), "a\0b", "  ", "é ß", "a\tb", "a:b:c"]
    if "integer" in node.get("type", ()):
        values += [node.get("minimum", 0), node.get("minimum", 0) - 1, node.get("maximum", 9) + 1, 1.5]
    if "enum" in node:
        values += [*node["enum"], "another", ""]
    if "array" in node.get("type", ()):
        values += [[], [None]]
    return values


def _holder(data: Any, path: Path) -> Any:
    for step in path[:-1]:
        data = data[step]
    return data
