"""Letters as rows, as full pages, and as lines of the archive."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.amqp.letters import Letter
from hub.cli.masking import masked, readable_body
from hub.cli.output import age, plain, say
from hub.models.values import utc_text

COLUMNS = (
    "position", "id", "type", "order id", "reason", "attempts", "replays", "first failed", "last failed", "age",
)  # fmt: skip


def row(letter: Letter, now: datetime) -> Sequence[Any]:
    """Give the facts of a letter in the order of ``COLUMNS``."""
    book = letter.book
    since = _moment(book.last_failed_at) or letter.message.timestamp
    return (
        letter.position,
        letter.id,
        letter.type,
        letter.order_id,
        letter.reason,
        letter.attempts,
        book.replays,
        book.first_failed_at or None,
        book.last_failed_at or None,
        age(since, now),
    )


def in_full(letter: Letter, *, unmask: bool) -> dict[str, Any]:
    """Give all of a letter, the body as text; personal data masked unless ``unmask``."""
    headers = dict(letter.arrived.headers)
    return {
        "id": letter.id,
        "queue": letter.queue,
        "position": letter.position,
        "order_id": letter.order_id,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "exchange": letter.message.exchange,
        "routing_key": letter.message.routing_key,
        "properties": _properties(letter),
        "headers": headers if unmask else masked(headers),
        "body": readable_body(letter.message.body, unmask=unmask),
    }


def print_in_full(facts: dict[str, Any]) -> None:
    """Print what ``in_full`` gave: a line per fact, then the body."""
    for name, value in facts.items():
        if isinstance(value, dict):
            say(f"{name}:")
            for key, inner in value.items():
                shown = inner if isinstance(inner, str) else json.dumps(inner, default=plain)
                say(f"  {key}: {shown}")
        elif name != "body":
            say(f"{name}: {value if value is not None else '-'}")
    say("body:")
    say(facts["body"])


def as_line(letter: Letter, **more: str) -> str:
    """Give a letter, whole and unmasked, as one line of JSON; ``more`` comes first."""
    return json.dumps(
        {
            **more,
            "queue": letter.queue,
            "id": letter.id,
            "order_id": letter.order_id,
            "reason": letter.reason,
            "exchange": letter.message.exchange,
            "routing_key": letter.message.routing_key,
            "properties": _properties(letter),
            "headers": dict(letter.arrived.headers),
            "body_base64": base64.b64encode(letter.message.body).decode(),
        },
        default=plain,
    )


def append_line(path: Path, line: str) -> None:
    """Append a line to a file that only its owner can read (0600); returns when the disk has it.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _properties(letter: Letter) -> dict[str, Any]:
    message = letter.message
    return {
        "content_type": message.content_type,
        "type": message.type,
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "timestamp": utc_text(message.timestamp) if message.timestamp else None,
    }


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
