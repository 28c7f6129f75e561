"""Whether an event is the one that was applied under its id before, or another one with the same id.

CloudEvents tell events apart by source and id. The hub keeps what publishers sent by the id alone, so two services that both
number their messages from 1 meet here: the second event is refused, and never taken for done. What the hub itself announces
has ids that anybody can compute beforehand, so it is kept apart from them. The stores call it from ``apply``; it looks
nothing up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from hub.errors import InvalidMessage
from hub.models.events import DEFAULT_SOURCE, EVENT_TYPES, ORDERS, AnyEvent, OrderCancelled, Payload
from hub.models.input.quoting import shown_id

# No id of a publisher holds a control character (``hub.models.types.Identifier``).
_OWN = f"{ORDERS}\x1f"


class OtherContent(InvalidMessage):
    """An id comes again with other content."""

    def __init__(self) -> None:
        super().__init__(
            "expected what was said under this id before, got an event with other content; give every event an id of its own,"
            " and repeat one only as it was",
            field="id",
        )


@dataclass(frozen=True, slots=True)
class AppliedBefore:
    """What is recorded about an event that was applied; ``content`` is None where an older release has recorded it."""

    order_id: str
    type: str
    source: str
    content: str | None = None

    @classmethod
    def of(cls, event: AnyEvent, order_id: str) -> AppliedBefore:
        """Return what is to be recorded about an event."""
        return cls(order_id, event.type, event.source, content_of(event))


def recorded_ids(event: AnyEvent) -> tuple[str, ...]:
    """Return what an event is recorded under, and then what an older release has recorded it under."""
    return (f"{_OWN}{event.id}", event.id) if _is_own(event.type) else (event.id,)


def may_be(event: AnyEvent, recorded_id: str, before: AppliedBefore) -> bool:
    """Whether a record under one of ``recorded_ids`` can be about the event at all.

    Under the bare id of an event of ours there may be one that a publisher has sent, which is none of ours.
    """
    return recorded_id == recorded_ids(event)[0] or _is_own(before.type)


def content_of(event: AnyEvent) -> str | None:
    """Return a hash of what an event says, without its time and source; None for what the hub itself announces.

    A partner's address may change while the lines that name the state of an order do not: that is no other event. The hash
    begins with the form of the payload, since a field that an older release did not know was not in its hash.
    """
    if _is_own(event.type):
        return None
    payload: type[Payload] = type(event.data)
    said = _adapter(payload).dump_json(event.data, exclude_none=True)
    if isinstance(event.data, OrderCancelled) and event.data.charges:
        # The one payload with keys of a publisher's own, in whatever order; the model orders the rest.
        said = orjson.dumps(orjson.loads(said), option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(event.type.encode() + b"\0" + said).hexdigest()
    return f"{_form(payload)}:{digest}"


def is_other_content(content: str | None, before: str | None) -> bool:
    """Whether two contents are known to differ."""
    if content is None or before is None or content == before:
        return False
    return content.split(":")[0] == before.split(":")[0]


def refuse_another(event: AnyEvent, before: AppliedBefore) -> None:
    """Return if ``event`` is the recorded one, told again.

    Raises:
        InvalidMessage: it is another event with the same id; says what was seen before.
    """
    sources = {event.source, before.source}
    if not (
        event.order_id == before.order_id
        and event.type == before.type
        and (len(sources) == 1 or DEFAULT_SOURCE in sources)
    ):
        raise InvalidMessage(
            f"expected an id of its own, {shown_id(event.id)!r} was applied to order "
            f"{shown_id(before.order_id)!r} before, as {before.type} from {shown_id(before.source)!r}, and now is "
            f"{event.type} from {shown_id(event.source)!r}; give every event an id of its own",
            field="id",
        )
    if not event.corrected and is_other_content(content_of(event), before.content):
        raise OtherContent


def _is_own(type_name: str) -> bool:
    return EVENT_TYPES[type_name].exchange == ORDERS


@cache
def _adapter(payload: type[Payload]) -> TypeAdapter[Payload]:
    return TypeAdapter(payload)


@cache
def _form(payload: type[Payload]) -> str:
    """Return a short name of the fields that a payload may have, at every depth."""
    schema = payload.model_json_schema()
    parts: dict[str, Any] = {"": schema, **schema.get("$defs", {})}
    fields = [[name, sorted(part.get("properties", ()))] for name, part in sorted(parts.items())]
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()[:8]
