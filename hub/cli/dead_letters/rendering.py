"""Letters as groups, as rows, as full pages, and as lines of the archive and of an export."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from hub.amqp.copies import headers
from hub.amqp.dead_letters.dead_letter import Letter
from hub.cli.output.printing import age, as_objects, counted, plain, print_table, printable, say
from hub.cli.output.tables import Column, fitting, shortened
from hub.messaging import cloudevents
from hub.models.events import shown_type
from hub.models.input.quoting import shown_id
from hub.models.types import utc_text
from hub.operations.dead_letters.grouping import Group
from hub.operations.masking import MASK, masked, readable_body, shown_key
from hub.state.protocols import RefusedMessage

GROUPS = (
    Column("queue"), Column("letters", "number"), Column("reason"), Column("oldest"), Column("newest"), Column("example"),
)  # fmt: skip
LETTERS = (
    Column("id", "id"), Column("type", "line"), Column("order id", "id"), Column("attempts", "number"),
    Column("replays", "number"), Column("first failed"), Column("last failed"), Column("age", "number"), Column("reason"),
    Column("user"), Column("app"),
)  # fmt: skip
# What a terminal of 80 columns has room for.
_ON_TERMINAL = ("id", "type", "age", "reason")


def row(letter: Letter, now: datetime) -> Sequence[Any]:
    """Return the facts of a letter in the order of ``LETTERS``."""
    book = letter.book
    return (
        shown_id(letter.id),
        shown_type(letter.type),
        letter.order_id and shown_id(letter.order_id),
        letter.attempts,
        book.replays,
        book.first_failed_at or None,
        book.last_failed_at or None,
        age(letter.died_at, now),
        letter.reason,
        letter.message.user_id,
        letter.message.others.get("app_id"),
    )


def print_letters(title: str, rows: Sequence[Sequence[Any]], *, wide: bool = False) -> None:
    """Print letters one by one."""
    print_table(LETTERS, rows, title=title, on_terminal=_ON_TERMINAL, wide=wide)


def print_groups(groups: Sequence[Group], now: datetime, *, wide: bool = False) -> None:
    """Print the groups of letters: a table for each queue, and for each reason the id of one letter below it."""
    if wide or not sys.stdout.isatty():
        print_table(GROUPS, [_group_row(group) for group in groups], wide=wide)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for queue, own in groupby(groups, key=lambda group: group.queue):
        here = list(own)
        console.print(Text(f"{queue}: {counted(sum(group.count for group in here), 'letter')}", style="bold"))
        rows = []
        for group in here:
            name = shortened(printable(group.example), console.width - _BESIDE_REASON)
            ages = (
                f"{age(group.newest, now)} to {age(group.oldest, now)}"
                if group.count > 1
                else age(group.newest, now)
            )
            rows.append([str(group.count), ages, f"{printable(group.text)}\n{name}"])
        columns = (Column("letters", "number"), Column("age", "number"), Column("reason, id of the newest"))
        console.print(fitting(columns, rows, title="", width=console.width))


# What stands on a line beside a reason: number, ages, and what is between them.
_BESIDE_REASON = 7 + 2 + 12 + 2


def group_objects(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return the groups as objects, for JSON."""
    return as_objects(GROUPS, [_group_row(group) for group in groups])


def _group_row(group: Group) -> Sequence[Any]:
    return (group.queue, group.count, group.text, group.oldest, group.newest, group.example)


def in_full(letter: Letter, *, unmask: bool) -> dict[str, Any]:
    """Return all of a letter, the body as text; masked is what is no value of a known field, unless ``unmask``."""
    error, message = letter.book.error, letter.message
    facts = {
        "partner": error.partner,
        "operation": error.operation,
        "status": error.status,
        "code": error.code,
        "field": error.field,
    }
    of_id = _as_it_is if unmask else shown_id
    of_key = _as_it_is if unmask else _shown_route
    properties = _properties(letter)
    if error.answer and not unmask:
        answer: str | None = f"({len(error.answer)} characters; --unmask shows them)"
    else:
        answer = error.answer or None
    return {
        "id": of_id(letter.id),
        "queue": letter.queue,
        "position": letter.position,
        "order_id": letter.order_id and of_id(letter.order_id),
        "reason": letter.reason,
        "error": {name: fact for name, fact in facts.items() if fact},
        "answer": answer,
        "attempts": letter.attempts,
        "exchange": of_key(message.exchange),
        "routing_key": of_key(message.routing_key),
        "properties": properties if unmask else _masked_properties(properties),
        "headers": dict(letter.arrived.headers) if unmask else _masked_headers(letter),
        "body": readable_body(message.body, unmask=unmask),
    }


def refused_in_full(kept: RefusedMessage, *, unmask: bool) -> dict[str, Any]:
    """Return all of a letter that lies in the state store, masked as one of a queue is, unless ``unmask``."""
    properties = json.loads(kept.properties)
    arrived = properties.pop("headers", {})
    route = {name: properties.pop(name, None) or "" for name in ("exchange", "routing_key")}
    if not unmask:
        properties = _masked_properties(properties) | {"others": masked(properties.get("others", {}))}
    return {
        "id": kept.id,
        "queue": kept.queue,
        "at": utc_text(kept.at),
        "reason": kept.reason,
        "refusal": kept.refusal,
        **(route if unmask else {name: _shown_route(key) for name, key in route.items()}),
        "properties": properties,
        "headers": arrived if unmask else _masked_table(arrived, own=True),
        "body": readable_body(kept.body, unmask=unmask),
    }


def _as_it_is(text: str) -> str:
    return text


def _shown_route(key: str) -> str:
    """Show names of the topology: publishers choose keys, and the broker knows which there are."""
    return key if key.startswith("hub.") else shown_type(key)


def _masked_properties(properties: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Callable[[str], str]] = {
        "content_type": _shown_kind,
        "type": shown_type,
        "message_id": shown_id,
        "correlation_id": shown_id,
    }
    return {
        name: shown[name](value) if value and name in shown else value for name, value in properties.items()
    }


def _shown_kind(content_type: str) -> str:
    kind = content_type.split(";")[0].strip().lower()
    return (
        kind if kind in ("application/json", cloudevents.CLOUDEVENTS_JSON, "application/atom+xml") else MASK
    )


def _masked_headers(letter: Letter) -> dict[str, Any]:
    """Show the hub's own headers where they are the hub's, and of others what has the form of a known field."""
    own = letter.arrived.headers.get(headers.REASON) == letter.book.reason
    return _masked_table(letter.arrived.headers, own=own)


def _masked_table(table: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    return {
        shown_key(name): value if own and name in headers.SHOWN else masked(value, name=name)
        for name, value in table.items()
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
    """Return a letter, whole and unmasked, as one line of JSON; ``more`` comes first."""
    return json.dumps(
        {**more, **_whole(letter), "body_base64": base64.b64encode(letter.message.body).decode()},
        default=plain,
    )


def as_csv(letter: Letter) -> list[str]:
    """Return a letter, whole and unmasked, as the cells of ``CSV_HEAD``.

    A cell that a spreadsheet would take for a formula begins with an apostrophe; JSON lines are the faithful form.
    """
    whole = _whole(letter)
    try:
        body, encoded = letter.message.body.decode(), ""
    except UnicodeDecodeError:
        body, encoded = "", base64.b64encode(letter.message.body).decode()
    cells = {
        **whole,
        **whole["properties"],
        "died_at": letter.died_at,
        "attempts": letter.attempts,
        "replays": letter.book.replays,
        "headers": json.dumps(whole["headers"], default=plain),
        "body": body,
        "body_base64": encoded,
    }
    return [_harmless(cells[name]) for name in CSV_HEAD]


CSV_HEAD = (
    "queue", "id", "order_id", "type", "reason", "attempts", "replays", "died_at", "exchange", "routing_key",
    "content_type", "headers", "body", "body_base64",
)  # fmt: skip


def _whole(letter: Letter) -> dict[str, Any]:
    return {
        "queue": letter.queue,
        "id": letter.id,
        "order_id": letter.order_id,
        "reason": letter.reason,
        "exchange": letter.message.exchange,
        "routing_key": letter.message.routing_key,
        "properties": _properties(letter),
        "headers": dict(letter.arrived.headers),
    }


def _harmless(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else str(plain(value))
    # Blanks before it are dropped by some spreadsheets, of which Python does not take all for blanks.
    begins = text.lstrip().lstrip(_INVISIBLE).lstrip()[:1]
    return f"'{text}" if begins in _FORMULA or text[:1] in _BREAKS else text


# What a spreadsheet takes for the beginning of a formula; the full-width forms are read as the narrow ones.
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = frozenset("\t\r\n")
# Byte order mark, zero-width space, joiners and marks of direction.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad\0"


def _properties(letter: Letter) -> dict[str, Any]:
    message = letter.message
    return {
        "content_type": message.content_type,
        "type": message.type,
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "timestamp": utc_text(message.timestamp) if message.timestamp else None,
        "user_id": message.user_id,
        "app_id": message.others.get("app_id"),
    }
