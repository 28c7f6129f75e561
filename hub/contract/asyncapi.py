"""The contract as one AsyncAPI 3.0 document with AMQP bindings, from the events, the map and the examples.

Written from the hub's point of view: it *sends* the events of ``hub.orders`` and *receives* those of
``hub.fulfillment``. A channel is a routing key on one of the two exchanges. A received event may come in three
encodings, which are three messages of its channel. Its examples are the messages that the tests publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from hub.contract.examples import Example, examples_of
from hub.contract.json_schema import Schema, data_schema, envelope_schema, routing_keys
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import DEFAULT_SOURCE, EVENT_TYPES, FULFILLMENT, ORDERS, EventType
from hub.topology import Topology, draw

# The version of the contract, not of the hub: the first number stays as long as the versioning promise is kept.
VERSION = "1.0.0"
_BINDING = {"bindingVersion": "0.3.0"}
_PLAIN_JSON = "application/json"

# encoding -> what all messages of that encoding have in common.
_TRAITS: Mapping[str, dict[str, Any]] = {
    "structured": {
        "contentType": cloudevents.CLOUDEVENTS_JSON,
        "description": "One CloudEvents 1.0 JSON document. Properties: content_type as here, message_id the event's id,"
        " type its type, delivery_mode 2.",
        "headers": {
            "type": "object",
            "properties": {"traceparent": {"type": "string", "description": "W3C Trace Context"}},
        },
    },
    "plain": {
        "contentType": _PLAIN_JSON,
        "description": "The data alone. The type comes from the type property or else the routing key, the id from"
        f" message_id or else a hash of routing key and body; the source is {DEFAULT_SOURCE}.",
        "headers": {
            "type": "object",
            "properties": {"traceparent": {"type": "string", "description": "W3C Trace Context"}},
        },
    },
    "binary": {
        "contentType": _PLAIN_JSON,
        "description": "CloudEvents binary mode: the data is the body, the attributes are headers; the prefixes"
        " cloudEvents: and cloudEvents_ are read like ce-.",
        "headers": {
            "type": "object",
            "required": ["ce-specversion", "ce-id", "ce-type", "ce-source"],
            "properties": {
                "ce-specversion": {"type": "string", "const": "1.0"},
                "ce-id": {"type": "string", "minLength": 1, "maxLength": 400},
                "ce-type": {"type": "string"},
                "ce-source": {"type": "string", "minLength": 1, "maxLength": 400},
                "ce-subject": {"type": "string"},
                "ce-time": {"type": "string", "format": "date-time"},
                "ce-traceparent": {"type": "string"},
            },
        },
    },
}


def encodings(kind: EventType) -> tuple[str, ...]:
    """Return the encodings in which events of a type travel: what the hub writes is structured."""
    return ("structured",) if kind.exchange == ORDERS else tuple(_TRAITS)


def example_message(example: Example, encoding: str) -> Message:
    """Return an example as the message that is published, in one of the encodings."""
    structured = cloudevents.encode(example.event())
    if encoding == "structured":
        return structured
    document = orjson.loads(structured.body)
    headers = {}
    if encoding == "binary":
        headers = {
            f"ce-{name}": value
            for name, value in document.items()
            if name not in ("data", "datacontenttype") and value != ""
        }
    return Message(
        body=orjson.dumps(example.data),
        content_type=_PLAIN_JSON,
        message_id=structured.message_id,
        headers=headers,
        exchange=structured.exchange,
        routing_key=structured.routing_key,
    )


def document() -> dict[str, Any]:
    """Return the whole document; the same models and map give the same document."""
    kinds = tuple(EVENT_TYPES.values())
    topology = draw((), ())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dropship-hub",
            "version": VERSION,
            "description": "Dropship orders of iQmetrix and RetailOps as events: hub.orders tells of orders, hub.fulfillment"
            " takes what became of them. Fields are added, never removed or narrowed.",
            "tags": [
                {"name": ORDERS, "description": "the hub tells the world"},
                {"name": FULFILLMENT, "description": "the world tells the hub"},
            ],
        },
        "defaultContentType": cloudevents.CLOUDEVENTS_JSON,
        "servers": _servers(),
        "channels": {_camel(kind.name): _channel(kind, topology) for kind in kinds},
        "operations": {_operation_name(kind): _operation(kind) for kind in kinds},
        "components": {
            "messages": {
                _message_name(kind, encoding): _message(kind, encoding)
                for kind in kinds
                for encoding in encodings(kind)
            },
            "messageTraits": dict(_TRAITS),
            "schemas": _schemas(kinds),
            "securitySchemes": {
                "user": {
                    "type": "userPassword",
                    "description": "publisher may write to hub.fulfillment; subscriber may bind queues named svc.… to"
                    " hub.orders",
                }
            },
        },
    }


def to_json() -> str:
    """Return the document as text, with a line end at its end."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _servers() -> dict[str, Any]:
    security = [{"$ref": "#/components/securitySchemes/user"}]
    host = {"default": "localhost", "description": "the broker's host"}
    return {
        "broker": {
            "host": "{host}:5672",
            "protocol": "amqp",
            "protocolVersion": "0.9.1",
            "description": "RabbitMQ",
            "variables": {"host": host},
            "security": security,
        },
        "secureBroker": {
            "host": "{host}:5671",
            "protocol": "amqps",
            "protocolVersion": "0.9.1",
            "description": "RabbitMQ with TLS",
            "variables": {"host": host},
            "security": security,
        },
    }


def _channel(kind: EventType, topology: Topology) -> dict[str, Any]:
    (exchange,) = (exchange for exchange in topology.exchanges if exchange.name == kind.exchange)
    address, *longer = routing_keys(kind)
    channel: dict[str, Any] = {
        "address": address,
        "title": kind.name,
        "description": f"Routing key on the exchange {kind.exchange}."
        + (f" Also {longer[0]}, where source is the first part of the order id." if longer else ""),
        "tags": [{"name": kind.exchange}],
        "messages": {
            encoding: {"$ref": f"#/components/messages/{_message_name(kind, encoding)}"}
            for encoding in encodings(kind)
        },
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange.name,
                    "type": exchange.type,
                    "durable": True,
                    "autoDelete": False,
                    "vhost": "/",
                },
                **_BINDING,
            }
        },
    }
    if "{source}" in address:
        channel["parameters"] = {
            "source": {
                "description": "the partner that the order is from",
                "examples": ["iqmetrix", "retailops"],
            }
        }
    return channel


def _operation(kind: EventType) -> dict[str, Any]:
    channel = f"#/channels/{_camel(kind.name)}"
    sends = kind.exchange == ORDERS
    return {
        "action": "send" if sends else "receive",
        "channel": {"$ref": channel},
        "title": f"{'Tell of' if sends else 'Hear of'} {kind.name}",
        "summary": _summary(kind),
        "messages": [{"$ref": f"{channel}/messages/{encoding}"} for encoding in encodings(kind)],
        "bindings": {
            "amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True, **_BINDING}
            if sends
            else {"ack": True, **_BINDING}
        },
    }


def _message(kind: EventType, encoding: str) -> dict[str, Any]:
    name = kind.payload.__name__
    examples = []
    for example in examples_of(kind.name):
        message = example_message(example, encoding)
        examples.append(
            {
                "name": example.name,
                "summary": example.summary,
                "headers": dict(message.headers),
                "payload": orjson.loads(message.body),
            }
        )
    return {
        "name": kind.name,
        "title": f"{kind.name}, {encoding}",
        "summary": _summary(kind),
        "payload": {"$ref": f"#/components/schemas/{name}{'Event' if encoding == 'structured' else ''}"},
        "traits": [{"$ref": f"#/components/messageTraits/{encoding}"}],
        "bindings": {"amqp": {"messageType": kind.name, **_BINDING}},
        "examples": examples,
    }


def _schemas(kinds: tuple[EventType, ...]) -> dict[str, Schema]:
    """Return every schema once, by the name of its model; the references point to each other here."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        for whole in (data_schema(kind), envelope_schema(kind)):
            for name, schema in {**whole.pop("$defs", {}), whole["title"]: whole}.items():
                own = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "x-amqp")}
                moved = json.loads(json.dumps(own).replace("#/$defs/", "#/components/schemas/"))
                if found.setdefault(name, moved) != moved:
                    raise ValueError(
                        f"expected one schema named {name}, got two: give one of the models another name"
                    )
    return found


def _summary(kind: EventType) -> str:
    return str(data_schema(kind)["description"])


def _message_name(kind: EventType, encoding: str) -> str:
    return f"{kind.name}.{encoding}"


def _operation_name(kind: EventType) -> str:
    camel = _camel(kind.name)
    return f"{'send' if kind.exchange == ORDERS else 'receive'}{camel[0].upper()}{camel[1:]}"


def _camel(name: str) -> str:
    first, *rest = name.replace("_", ".").split(".")
    return first + "".join(word.capitalize() for word in rest)
