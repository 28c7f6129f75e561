"""The events as JSON Schema 2020-12, from the models: what other services program against.

Two views of a model: what the hub accepts (``hub.fulfillment``), where an optional field may be null; and what the
hub writes (``hub.orders``), where nothing is ever null and a field with a default is always there. Every keyword is
one that draft 07 means alike, so that AsyncAPI can carry the same schemas.

``x-amqp`` says where an event is published. Called by ``hub.cli``; ``compatibility`` compares two of the results.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from hub.models.events import ORDERS, EventType
from hub.models.types import Identifier

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Of an event's id and source, as the codec checks them.
_IDENTIFIER = TypeAdapter(Identifier).json_schema()

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """pydantic's generator, without what a reader skips: titles made of field names, and defaults of null."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if "default" in found and found["default"] is None:
            del found["default"]
        return found

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if self.mode == "serialization":
            return inner
        if isinstance(inner.get("type"), str) and not inner.keys() & {"enum", "const"}:
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A rule for the keys stands beside the values, not around them: easier to read and to compare."""
        found = super().dict_schema(schema)
        for pattern, values in found.pop("patternProperties", {}).items():
            found |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return found

    def field_is_required(self, field: Any, total: bool) -> bool:
        """What is written has every field whose default is a value; those whose default is None are left out."""
        if self.mode == "serialization" and field["schema"]["type"] == "default":
            return self.get_default_value(field["schema"]) is not None
        return super().field_is_required(field, total)


def data_schema(kind: EventType) -> Schema:
    """Return the schema of an event's data: the body of a plain JSON message, the ``data`` of a CloudEvent."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:dropship-hub:{kind.name}",
        "title": kind.payload.__name__,
        "x-amqp": {"exchange": kind.exchange, "routingKeys": list(routing_keys(kind))},
        **json.loads(_generated(kind)),
    }


def envelope_schema(kind: EventType) -> Schema:
    """Return the schema of the whole CloudEvent in structured mode; its data schema is among its ``$defs``."""
    data = {key: value for key, value in data_schema(kind).items() if key not in ("$schema", "$id", "x-amqp")}
    definitions = data.pop("$defs", {})
    name = kind.payload.__name__
    written = ["subject", "time", "datacontenttype"] if kind.exchange == ORDERS else []
    return {
        "$schema": DIALECT,
        "$id": f"urn:dropship-hub:{kind.name}:cloudevent",
        "title": f"{name}Event",
        "description": f"{kind.name} as one CloudEvents 1.0 document, content type application/cloudevents+json.",
        "type": "object",
        "required": ["specversion", "id", "type", "source", *written, "data"],
        "properties": {**_attributes(kind), "data": {"$ref": f"#/$defs/{name}"}},
        "$defs": {**definitions, name: data},
    }


def routing_keys(kind: EventType) -> tuple[str, ...]:
    """Return the forms of the type's routing key; ``{source}`` is the partner in the order id."""
    by_source = f"{kind.name}.{{source}}"
    if not kind.by_source:
        return (kind.name,)
    return (by_source,) if kind.exchange == ORDERS else (kind.name, by_source)


@cache
def _generated(kind: EventType) -> str:
    """As text, so that each caller has a schema of its own: an export asks for each of them many times."""
    mode: JsonSchemaMode = "serialization" if kind.exchange == ORDERS else "validation"
    return json.dumps(_in_markdown(kind.payload.model_json_schema(mode=mode, schema_generator=_Generator)))


def _attributes(kind: EventType) -> Schema:
    """The context attributes, as this side of the exchange writes or reads them."""
    told = kind.exchange == ORDERS
    return {
        "specversion": {"type": "string", "const": "1.0"},
        "id": _IDENTIFIER
        | {
            "description": "The same whenever the same thing is told again: together with source, what to drop doubles by."
            if told
            else "Yours, and yours alone among all publishers: begin it with the name of your service. Told again it is done"
            " once; an id that stood for something else is refused."
        },
        "type": {"type": "string", "const": kind.name},
        "source": _IDENTIFIER
        | {
            "format": "uri-reference",
            "description": "Who tells it, such as /iqmetrix/suppliers/71204 or /warehouse.",
        },
        "subject": {"type": "string", "description": "The order id, where the event is about an order."},
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "When it happened."
            if told
            else "When it happened; of two contradicting reports the later one counts. Absent: the timestamp property,"
            " or else the moment it arrives.",
        },
        "datacontenttype": {"type": "string", "description": "application/json"},
        "traceparent": {"type": "string", "description": "W3C Trace Context; the hub continues the trace."},
    }


def _in_markdown(value: Any) -> Any:
    """Turn the double backticks of docstrings into the single ones of Markdown, in every description."""
    if isinstance(value, dict):
        return {
            key: each.replace("``", "`").replace("\n", " ")
            if key == "description" and isinstance(each, str)
            else _in_markdown(each)
            for key, each in value.items()
        }
    return [_in_markdown(each) for each in value] if isinstance(value, list) else value
