"""``hub publish``: what another service would tell the hub, by hand. Validates everything before it publishes anything.

Takes the data of an event as a JSON object, or a whole CloudEvent; one, or one per line (JSON lines).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer
from pydantic import ValidationError

from hub.amqp.sending.client_session import client_session
from hub.cli.context import read_settings, state_store
from hub.cli.output.printing import note, print_table, say
from hub.config.settings import Settings
from hub.errors import ConfigError, InvalidMessage, UnknownOrder
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, FULFILLMENT, AnyEvent, EventType
from hub.models.input.validation import faults_of
from hub.operations.publish_preview import COLUMNS, preview
from hub.process.event_loop import run_short

_SOURCE = "/hub/publish"
_TYPES = tuple(name for name, kind in EVENT_TYPES.items() if kind.exchange == FULFILLMENT)


def publish(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {', '.join(_TYPES)}.")],
    file: Annotated[str, typer.Argument(help="JSON, or JSON lines; - is standard input.")] = "-",
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id", help="The event's id, for a repetition that must not count twice; else a new one."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Publish nothing; say what each consumer would do.")
    ] = False,
) -> None:
    """Publish one event, or one per line, and print each event's id once the broker has it."""
    settings = read_settings()
    if event_type not in _TYPES:
        raise ConfigError(
            f"TYPE: expected one of {', '.join(_TYPES)}; got {event_type!r} (producers publish the others)"
        )
    documents = _documents(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    events: list[AnyEvent] = []
    faults: list[str] = []
    for line, (document, fault) in enumerate(documents, start=1):
        where = f"line {line}: " if len(documents) > 1 else ""
        wanted = event_id if event_id is None or len(documents) == 1 else f"{event_id}:{line}"
        found = [fault] if fault else _faults(EVENT_TYPES[event_type], document)
        if not found:
            try:
                events.append(_event(event_type, document, wanted))
            except InvalidMessage as error:
                found = [str(error)]
        faults += [f"{where}{fault}" for fault in found]
    if faults:
        for fault in faults:
            note(f"hub: {fault}")
        note("hub: nothing was published")
        raise typer.Exit(1)
    if dry_run:
        rows = run_short(_preview(settings, events))
        print_table(("event", *COLUMNS), rows)
        return
    run_short(_publish(settings, events))


async def _preview(settings: Settings, events: Sequence[AnyEvent]) -> list[tuple[str, str, str]]:
    rows = []
    async with state_store(settings) as store:
        for event in events:
            order = None
            if event.order_id is not None:
                with suppress(UnknownOrder):
                    order = await store.load_order(event.order_id)
            rows += [(event.id, *row) for row in preview(event, order, settings)]
    return rows


async def _publish(settings: Settings, events: Sequence[AnyEvent]) -> None:
    async with client_session(settings.broker, name="hub publish") as open_session:
        for event in events:
            message = cloudevents.encode(event)
            await open_session.send(message, exchange=message.exchange, routing_key=message.routing_key)
            say(event.id)


def _documents(text: bytes) -> list[tuple[Any, str]]:
    """Return each document with its fault, if it is no JSON object: the whole text is one, or else each line is."""
    if not text.strip():
        raise ConfigError("expected a JSON object, got nothing")
    whole, fault = _document(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not fault or len(lines) == 1 or _document(lines[0])[1]:
        return [(whole, fault)]
    return [_document(line) for line in lines]


def _document(text: bytes) -> tuple[Any, str]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return None, f"expected JSON: {error}"
    if not isinstance(document, dict):
        return None, f"expected a JSON object, got {type(document).__name__}"
    return document, ""


def _faults(kind: EventType, document: Any) -> list[str]:
    """Return every fault of the data, each with the path of its field."""
    data = document.get("data") if "specversion" in document else document
    try:
        kind.payload.model_validate(data)
    except ValidationError as error:
        return [f"data.{fault.field}: {fault.message}" for fault in faults_of(error)]
    return []


def _event(event_type: str, document: Any, event_id: str | None) -> AnyEvent:
    """Make the event; the subject is always the order, since the routing key follows from it."""
    whole = "specversion" in document
    message = Message(
        body=orjson.dumps(document),
        content_type=cloudevents.CLOUDEVENTS_JSON if whole else "application/json",
        type=event_type,
        message_id=None if whole else event_id or str(uuid4()),
        timestamp=datetime.now(UTC),
        routing_key=event_type,
    )
    event = cloudevents.decode(message)
    return replace(
        event,
        id=event_id or event.id,
        source=event.source if whole else _SOURCE,
        subject=event.order_id or event.subject,
    )
