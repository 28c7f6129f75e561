"""Events as bytes and back (EIP Message Translator): CloudEvents 1.0 over AMQP 0-9-1.

Out: one structured JSON document, encoded once. In: three encodings, told apart by what the message itself says:

    structured   content type application/cloudevents+json, or JSON with specversion and data
    binary       headers ce-…, cloudEvents:… or cloudEvents_…, body = data
    plain        body = data; type from the type property or else the routing key, id from message_id or else a hash

Whatever is wrong becomes ``InvalidMessage`` with the path of the field.
"""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Container, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from hub.errors import InvalidMessage
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, ORDERS, AnyEvent, Event, EventType, order_of, shown_type
from hub.models.input import exact_json
from hub.models.input.body_limits import LARGEST_BODY, MOST_VALUES, has_too_many_values
from hub.models.input.repeated_names import first_repeated, may_repeat, names_read
from hub.models.input.validation import faults_of
from hub.models.types import EARLIEST, LONGEST_ID, Identifier, Timestamp, utc_text
from hub.observability.tracing import TRACEPARENT, TRACESTATE

CLOUDEVENTS_JSON = "application/cloudevents+json"
# How far a publisher's clock may be ahead: a later time is a mistake, and would outlive all that is said after it.
_AHEAD = timedelta(minutes=5)
# What a publisher sends by mistake, and may be named.
_KNOWN_KINDS = frozenset(
    {
        "text/plain",
        "text/xml",
        "text/html",
        "application/xml",
        "application/octet-stream",
        "application/x-protobuf",
    }
)
_TOO_DEEP = "expected JSON in UTF-8: got a text nested too deep"
# What is read of a structured CloudEvent beside its data.
_ATTRIBUTES = frozenset(
    {"specversion", "id", "type", "source", "subject", "time", "data", "data_base64", TRACEPARENT, TRACESTATE}
)
BINARY_PREFIXES = ("ce-", "cloudEvents:", "cloudEvents_")
_TIME: TypeAdapter[datetime] = TypeAdapter(Timestamp)
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


def encode(event: AnyEvent) -> Message:
    """Encode an event as a structured CloudEvent, with its exchange and routing key.

    Raises:
        InvalidMessage: the encoded event would be larger than a message may be (``hub.models.input.body_limits``).
    """
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": utc_text(event.time),
        "datacontenttype": "application/json",
    }
    headers = {
        name: value
        for name, value in ((TRACEPARENT, event.traceparent), (TRACESTATE, event.tracestate))
        if value
    }
    document |= headers
    # The model writes its own JSON; the envelope is put around it, so that no value becomes a Python object in between.
    data = event.data.model_dump_json(exclude_none=True).encode()
    body = b'%b,"data":%b}' % (orjson.dumps(document)[:-1], data)
    if len(body) > LARGEST_BODY:
        raise InvalidMessage(f"expected at most {LARGEST_BODY} bytes, {event.type} would take {len(body)}")
    if has_too_many_values(body):
        raise InvalidMessage(f"expected at most {MOST_VALUES} values, {event.type} would have more")
    exchange, routing_key = address(event)
    return Message(
        body=body,
        content_type=CLOUDEVENTS_JSON,
        type=event.type,
        message_id=event.id,
        timestamp=event.time,
        headers=headers,
        exchange=exchange,
        routing_key=routing_key,
    )


def address(event: AnyEvent) -> tuple[str, str]:
    """Return exchange and routing key of an event."""
    kind = EVENT_TYPES[event.type]
    # By the order and not by the subject, which a publisher may have chosen.
    return kind.exchange, kind.routing_key(event.order_id.split(":", 1)[0] if event.order_id else None)


def trace_context(message: Message) -> Mapping[str, Any]:
    """Return where the trace context of a message may stand: its headers, or else the attributes of its CloudEvent.

    What stands there is not checked; a body that cannot be read has none.
    """
    if TRACEPARENT in message.headers:
        return message.headers
    if _is_structured(message) or b'"specversion"' in message.body:
        with suppress(orjson.JSONDecodeError):
            fits = len(message.body) <= LARGEST_BODY and not has_too_many_values(message.body)
            document = orjson.loads(message.body.removeprefix(BOM_UTF8)) if fits else None
            return document if isinstance(document, dict) else {}
    return _binary_attributes(message.headers)


def decode(message: Message, *, types: Container[str] = EVENT_TYPES) -> AnyEvent:
    """Decode a message of any of the three encodings.

    Args:
        message: with the exchange by which it first came; without one (a text that was not sent yet) any type will do.
        types: the event types that its queue is for.

    Raises:
        InvalidMessage: too large, too many values, not JSON, unknown type, a type of another exchange or queue, a type that
            its routing key does not announce, or data that break the type's contract; names the field.
    """
    if len(message.body) > LARGEST_BODY:
        raise InvalidMessage(
            f"expected at most {LARGEST_BODY} bytes, got {len(message.body)}; send large payloads by reference",
            field="body",
        )
    if has_too_many_values(message.body):
        raise InvalidMessage(
            f"expected at most {MOST_VALUES} objects, lists and values, got more; send several messages",
            field="body",
        )
    if _is_structured(message):
        attributes, content = _structured(message)
    elif binary := _binary_attributes(message.headers):
        attributes, content = binary, message.body
    elif _is_unannounced(message):
        attributes, content = _structured(message)
    else:
        attributes, content = _plain(message), message.body
    return _event(attributes, content, message, types)


def _is_structured(message: Message) -> bool:
    return (message.content_type or "").split(";")[0].strip().lower() == CLOUDEVENTS_JSON


def _is_unannounced(message: Message) -> bool:
    """Whether a message is a whole CloudEvent, though its content type says no more than JSON, or nothing."""
    if b'"specversion"' not in message.body or "json" not in (message.content_type or "json").lower():
        return False
    try:
        document = orjson.loads(message.body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and "specversion" in document and "data" in document


def derived_id(message: Message) -> str:
    """Return the id of a message that brings none: a hash of routing key and body, the same each time."""
    return "sha256:" + hashlib.sha256(message.routing_key.encode() + b"\0" + message.body).hexdigest()


def _structured(message: Message) -> tuple[Mapping[str, Any], Any]:
    document = _json(message.body)
    if not isinstance(document, dict):
        raise InvalidMessage(f"expected a JSON object, got {type(document).__name__}", field="body")
    if "data_base64" in document:
        raise InvalidMessage("expected data as JSON, got data_base64", field="data")
    return document, document.get("data")


def _binary_attributes(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key[len(prefix) :].lower(): value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for key, value in headers.items()
        for prefix in BINARY_PREFIXES
        if key.startswith(prefix)
    }


def _plain(message: Message) -> dict[str, Any]:
    if message.content_type and "json" not in message.content_type.lower():
        raise InvalidMessage(
            f"expected application/json or {CLOUDEVENTS_JSON}, got {_kind_of(message.content_type)}",
            field="content_type",
        )
    return {
        "specversion": "1.0",
        "id": message.message_id or derived_id(message),
        "type": message.type or _type_of_key(message.routing_key) or message.routing_key,
        "source": "/amqp",
        TRACEPARENT: message.headers.get(TRACEPARENT),
        TRACESTATE: message.headers.get(TRACESTATE),
    }


@lru_cache(maxsize=256)
def _type_of_key(routing_key: str) -> str | None:
    for name in EVENT_TYPES:
        if routing_key == name or routing_key.startswith(f"{name}."):
            return name
    return None


def _event(attributes: Mapping[str, Any], content: Any, message: Message, types: Container[str]) -> AnyEvent:
    if attributes.get("specversion") != "1.0":
        raise InvalidMessage(
            f"expected '1.0', got {_other(attributes.get('specversion'))}", field="specversion"
        )
    kind = _kind(attributes, message, types)
    source = _attribute(attributes, "source")
    event_id = _attribute(attributes, "id")
    # Of what is published on the other exchange each body was written by the hub.
    if kind.exchange != ORDERS:
        _check_names(kind, message.body, attributes, content)
    payload = _payload(kind, content)
    _check_routing_key(kind, payload, message.routing_key)
    return Event(
        id=event_id,
        type=kind.name,
        source=source,
        subject=_optional_text(attributes.get("subject")) or order_of(payload) or "",
        time=_time(attributes.get("time"), message),
        data=payload,
        traceparent=_optional_text(attributes.get(TRACEPARENT)),
        tracestate=_optional_text(attributes.get(TRACESTATE)),
    )


def _kind(attributes: Mapping[str, Any], message: Message, types: Container[str]) -> EventType:
    name = attributes.get("type")
    kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        name = _attribute(attributes, "type")
        raise InvalidMessage(
            f"expected one of {', '.join(EVENT_TYPES)}; got {_other(name)}{_near(name)}", field="type"
        )
    announced = _type_of_key(message.routing_key)
    if announced is not None and announced != name:
        raise InvalidMessage(
            f"expected {announced!r} as its routing key says, got {shown_type(name)!r}", field="type"
        )
    # Whoever may publish on one exchange must not speak for those who publish on another.
    if message.exchange and message.exchange != kind.exchange:
        raise InvalidMessage(
            f"expected a type of the exchange that it came by, got {kind.name}, which is published on {kind.exchange}",
            field="type",
        )
    if kind.name not in types:
        raise InvalidMessage(f"expected a type that this queue is bound to, got {kind.name}", field="type")
    return kind


def _check_routing_key(kind: EventType, payload: Any, routing_key: str) -> None:
    """A key that ends in another source than the order's would reach some consumers and pass others by."""
    suffix = routing_key.removeprefix(kind.name).removeprefix(".")
    order_id = order_of(payload)
    if routing_key.startswith(f"{kind.name}.") and order_id and suffix != order_id.split(":", 1)[0]:
        raise InvalidMessage(
            f"expected {kind.name} or {kind.name}.{order_id.split(':', 1)[0]} for this order, got {shown_type(routing_key)!r}",
            field="routing_key",
        )


def _check_names(kind: EventType, body: bytes, attributes: Mapping[str, Any], content: Any) -> None:
    """Refuse two members of one name among those that are read: which of them counts is a matter of the reader."""
    is_data = isinstance(content, bytes)
    try:
        if not may_repeat(body, orjson.loads(body.removeprefix(BOM_UTF8)) if is_data else attributes):
            return
    except orjson.JSONDecodeError:
        # NaN, or no JSON at all, which whoever reads the data says in better words.
        pass
    names = names_read(kind.payload)
    try:
        path = first_repeated(body.removeprefix(BOM_UTF8).decode(), names if is_data else names | _ATTRIBUTES)
    except RecursionError:
        raise InvalidMessage(_TOO_DEEP, field="body") from None
    except ValueError:
        return
    if path is not None:
        field = f"data.{path}" if is_data else path
        raise InvalidMessage("expected each member once, got two of this name", field=field)


def _payload(kind: EventType, content: Any) -> Any:
    """Validate the data; bytes are parsed and validated in one go by pydantic's own JSON reader."""
    try:
        if isinstance(content, bytes):
            content = content.removeprefix(BOM_UTF8)
            payload = kind.payload.model_validate_json(content)
            if exact_json.is_exact(content):
                return payload
            content = _json(content)
        return kind.payload.model_validate(content)
    except ValidationError as error:
        faults = faults_of(error)
        first = faults[0]
        if first.kind == "json_invalid":
            raise InvalidMessage(
                f"expected JSON in UTF-8, got {first.message.removeprefix('Invalid JSON: ')}", field="body"
            ) from None
        # A rule over several fields names its own path; pydantic then only knows the whole object.
        field = f"data.{first.field}" if first.field else "data"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InvalidMessage(f"{first.message}{more}", field=field, code=first.kind) from None


def _attribute(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidMessage(f"expected a text, got {type(value).__name__}", field=name)
    if len(value) > LONGEST_ID:
        raise InvalidMessage(f"expected at most {LONGEST_ID} characters, got {len(value)}", field=name)
    try:
        return _IDENTIFIER.validate_python(value)
    except ValidationError as error:
        raise InvalidMessage(faults_of(error)[0].message, field=name) from None


def _time(value: Any, message: Message) -> datetime:
    """Return the event's time, or when it was received if it lies too far ahead of that, or before 1990, to be believed."""
    received_at = message.received_at or datetime.now(UTC)
    if value is None:
        moment = message.timestamp or received_at
    else:
        try:
            moment = _TIME.validate_python(value)
        except ValidationError:
            raise InvalidMessage("expected an RFC 3339 timestamp", field="time") from None
    return moment if EARLIEST <= moment <= received_at + _AHEAD else received_at


def _other(value: Any) -> str:
    """Say what came instead, without its text: it may be anything."""
    return "another text" if isinstance(value, str) else f"a value of type {type(value).__name__}"


def _near(name: str) -> str:
    near = get_close_matches(name[:60], EVENT_TYPES, n=1, cutoff=0.8)
    return f", did you mean {near[0]}?" if near else ""


def _kind_of(content_type: str) -> str:
    kind = content_type.split(";")[0].strip().lower()
    return repr(kind) if kind in _KNOWN_KINDS else "another type"


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _json(body: bytes) -> Any:
    """Read JSON with the digits of every number; what cannot be kept exactly is no text to any field."""
    body = body.removeprefix(BOM_UTF8)
    try:
        document = orjson.loads(body)
        return document if exact_json.is_exact(body) else exact_json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, orjson.JSONDecodeError) else None
        said = f"expected JSON in UTF-8: {reason}" if reason else _TOO_DEEP
        raise InvalidMessage(said, field="body") from None
