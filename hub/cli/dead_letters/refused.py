"""``hub letters refused``: letters that the broker takes in no form, which lie in the state store.

They are no letters of a queue: nothing replays them. Whoever has corrected the broker's right or limit publishes the
body again. What is shown is masked as ``hub letters show`` masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from hub.amqp.dead_letters.dead_letter import order_id_of
from hub.cli.context import operator, read_settings, state_store, tell_timeline, write_new
from hub.cli.dead_letters.rendering import print_in_full, refused_in_full
from hub.cli.output.printing import AsJson, Wide, print_json, print_table, say
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.errors import ConfigError
from hub.messaging.message import Message
from hub.models.events import shown_type
from hub.observability.logging import LogEvent, log
from hub.process.event_loop import run_short
from hub.state.protocols import RefusedMessage

app = typer.Typer(
    no_args_is_help=True, help="Letters that the broker takes in no form, in the state store: list, show."
)

_COLUMNS = (
    Column("id", "id"), Column("queue", "line"), Column("type", "line"), Column("at"), Column("bytes", "number"),
    Column("reason"), Column("refusal"),
)  # fmt: skip
_ON_TERMINAL = ("id", "queue", "reason", "refusal")


@app.command("list")
def list_refused(wide: Wide = False, as_json: AsJson = False) -> None:
    """List them, oldest first: why each is a letter, and what the broker said of it."""
    kept = run_short(_all(read_settings()))
    rows = [_row(each) for each in kept]
    if rows or as_json:
        print_table(_COLUMNS, rows, as_json=as_json, on_terminal=_ON_TERMINAL, wide=wide)
    else:
        say("no letters that the broker refused")


@app.command("show")
def show_refused(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or how it begins.")],
    unmask: Annotated[bool, typer.Option("--unmask", help="Show personal data too.")] = False,
    body: Annotated[
        Path | None,
        typer.Option(
            "--body", metavar="FILE", help="Save the body to a new file, byte for byte; not masked."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one in full; personal data is masked.

    Who looks at personal data, or saves it, leaves a line in the log and in the order's timeline.
    """
    settings = read_settings()
    kept = _the_one(letter_id, run_short(_all(settings)))
    if unmask or body is not None:
        run_short(_note(settings, kept))
    if body is not None:
        write_new(body, kept.body)
        say(f"saved {len(kept.body)} bytes to {body}")
        return
    found = refused_in_full(kept, unmask=unmask)
    if as_json:
        print_json(found)
    else:
        print_in_full(found)


async def _all(settings: Settings) -> Sequence[RefusedMessage]:
    async with state_store(settings) as store:
        return await store.refused()


def _row(kept: RefusedMessage) -> Sequence[Any]:
    properties = orjson.loads(kept.properties)
    kind = properties.get("type") or properties.get("routing_key") or ""
    return (kept.id, kept.queue, shown_type(kind), kept.at, len(kept.body), kept.reason, kept.refusal)


def _the_one(letter_id: str, kept: Sequence[RefusedMessage]) -> RefusedMessage:
    head, _, tail = letter_id.partition("…")
    found = [each for each in kept if each.id.startswith(head) and each.id.endswith(tail)]
    if len(found) != 1:
        raise ConfigError(
            f"expected the id of one letter that hub letters refused list shows, {len(found)} begin like it"
        )
    return found[0]


async def _note(settings: Settings, kept: RefusedMessage) -> None:
    log.warning(LogEvent.LETTER_UNMASKED, letters=1, queues={kept.queue: 1}, by=operator(), ids=[kept.id])
    properties = orjson.loads(kept.properties)
    headers = properties.get("headers") or {}
    order = order_id_of(Message(kept.body, correlation_id=properties.get("correlation_id"), headers=headers))
    facts = {"queue": kept.queue, "message_id": kept.id}
    await tell_timeline(settings, "letter shown unmasked", [(order, facts)])
