"""``hub letters edit``: correct the body of one letter, in an editor or by ``--body``, and send it back.

The letter stays where it is while the editor is open; it is fetched again to be sent, and must be as it was. What was
written is held against the contract first: events against the model of their type, raw feed entries and purchase orders
by the producer that will read them. The original is kept whole in the archive, and the copy names its hash.

An event keeps its id, since that is what was or was not done before: what was applied under an id is not applied
again. To say something new, publish a new event. A stored webhook is refused: its bytes are what every attempt posts.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import client_session
from hub.cli.context import read_settings, signer
from hub.cli.dead_letters.archive import ARCHIVE, InArchive, append_lines, archived, given_reason
from hub.cli.dead_letters.audit import AuditTrail
from hub.cli.dead_letters.selection import Choice, Filters, OnQueue, choose, chosen, name_missing
from hub.cli.output.asking import Yes, confirmed, which_queue
from hub.cli.output.printing import note, say
from hub.config.settings import Settings
from hub.errors import ConfigError, InvalidMessage
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.observability.logging import LogEvent
from hub.process.event_loop import run_short
from producers import PRODUCERS

_STORED_WEBHOOK = "webhook."
# Letters whose original had no id that could be read carry a hash instead.
_NO_ID = re.compile(r"::letter:|sha256|[0-9a-f]{64}")

Again = Callable[[Message, Settings], Awaitable[Item]]


def edit(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the archive and in the order's timeline.")],
    queue: OnQueue = None,
    archive: InArchive = ARCHIVE,
    body_from: Annotated[
        str | None,
        typer.Option(
            "--body", metavar="FILE", help="The corrected body; - is standard input. No editor is opened."
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Correct a letter's body in $VISUAL or $EDITOR, check it, keep the original, and send it back.

    With --body the difference is shown, personal data too, and asked about.
    """
    why = given_reason(reason)
    settings = read_settings()
    given = None if body_from is None else _body_of(body_from)
    editor = _editor() if given is None else []
    choice = choose(settings, [letter_id], queue, Filters())
    letter = _the_one(letter_id, run_short(_fetch(settings, choice)))
    _refuse_what_must_stay(letter)
    body = (
        _corrected(letter, settings, editor) if given is None else _agreed(letter, settings, given, yes=yes)
    )
    trail = AuditTrail(settings, "letter edited", LogEvent.LETTER_EDITED, why)
    run_short(_send_back(settings, letter, body, archive, trail, why))
    say(
        f"letter edited and replayed; the original ({dead_letter_queue.digest(letter.message.body)}) is in {archive}"
    )


def _editor() -> list[str]:
    """Return the editor's command line.

    Raises:
        ConfigError: none is set.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise ConfigError("expected VISUAL or EDITOR to name an editor, got neither")
    return command


async def _fetch(settings: Settings, choice: Choice) -> list[Letter]:
    found: list[Letter] = []
    async with client_session(settings.broker, name="hub letters") as open_session:
        for name in choice.queues:
            async with chosen(open_session, name, choice) as every:
                found += [letter async for letter in every]
    return found


def _the_one(letter_id: str, found: Sequence[Letter]) -> Letter:
    name_missing([letter_id] if not found else [])
    queues = sorted({letter.queue for letter in found})
    queue = which_queue(letter_id, queues) if len(queues) > 1 else queues[0]
    here = [letter for letter in found if letter.queue == queue]
    if len(here) > 1:
        note(f"hub: {len(here)} letters of {queue} have this id; the first is edited, the others stay")
    return here[0]


def _refuse_what_must_stay(letter: Letter) -> None:
    if letter.type.startswith(_STORED_WEBHOOK):
        note(
            "hub: a stored webhook cannot be edited: every attempt posts the same bytes under the same webhook-id,"
            " and the client may have them already. Mend the settings and replay it, or discard it and publish a"
            " new event; the letter stays"
        )
        raise typer.Exit(1)


def _body_of(source: str) -> bytes:
    """Return what a file, or standard input, holds.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"--body: expected a file that can be read, got {error.strerror} at {source}"
        ) from None


def _agreed(letter: Letter, settings: Settings, body: bytes, *, yes: bool) -> bytes:
    """Return the given body once it is valid, its difference was shown and agreed to; else end with status 1."""
    before, after = (
        _readable(text).decode(errors="replace").splitlines() for text in (letter.message.body, body)
    )
    if before == after:
        note("hub: nothing was changed; the letter stays as it is")
        raise typer.Exit(1)
    try:
        run_short(_check(dead_letter_queue.edited(letter, body), settings, letter))
    except InvalidMessage as fault:
        note(f"hub: {fault}")
        note("hub: the letter stays as it was")
        raise typer.Exit(1) from None
    for line in difflib.unified_diff(before, after, "letter", "--body", lineterm="", n=1):
        say(line)
    if not confirmed("Send the letter back like this?", yes=yes):
        note("hub: the letter stays as it was")
        raise typer.Exit(1)
    return body


def _corrected(letter: Letter, settings: Settings, editor: Sequence[str]) -> bytes:
    """Return the new body; ends with status 1, the letter untouched, when there is none that is valid."""
    text = _readable(letter.message.body)
    while True:
        edited = _edited(text, editor, suffix=".xml" if text.lstrip()[:1] == b"<" else ".json")
        if edited.strip() == _readable(letter.message.body).strip():
            note("hub: nothing was changed; the letter stays as it is")
            raise typer.Exit(1)
        try:
            run_short(_check(dead_letter_queue.edited(letter, edited), settings, letter))
        except InvalidMessage as fault:
            note(f"hub: {fault}")
            if sys.stdin.isatty() and typer.confirm("Edit again?", default=True):
                text = edited
                continue
            note("hub: the letter stays as it was")
            raise typer.Exit(1) from None
        return edited


def _edited(text: bytes, editor: Sequence[str], *, suffix: str) -> bytes:
    """Have a person edit a text, in a file that only its owner can read and that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hub-letter-") as folder:
        file = Path(folder) / f"letter{suffix}"
        file.touch(0o600)
        file.write_bytes(text)
        try:
            ended = subprocess.run([*editor, str(file)], check=False).returncode
        except FileNotFoundError:
            raise ConfigError(f"VISUAL or EDITOR: expected a command, {editor[0]!r} is not there") from None
        if ended:
            note(f"hub: {editor[0]} ended with status {ended}; the letter stays as it was")
            raise typer.Exit(1)
        return file.read_bytes()


async def _check(letter: Letter, settings: Settings, original: Letter) -> None:
    """Read the corrected letter as its consumer will.

    Raises:
        InvalidMessage: names the field.
    """
    for flow in PRODUCERS:
        if letter.type.startswith(flow.stored):
            await _check_raw(letter, settings, original, flow.again)
            return
    event = cloudevents.decode(letter.message)
    # A long id travels as its hash: then the body alone has it.
    known = original.message.message_id
    if known not in (None, event.id) and not str(known).startswith("sha256:"):
        raise InvalidMessage(
            f"expected the id to stay {original.id!r}, got {event.id!r}: publish a new event instead",
            field="id",
        )


def _readable(body: bytes) -> bytes:
    """Return JSON with line breaks, and anything else as it is."""
    try:
        return json.dumps(orjson.loads(body), indent=2, ensure_ascii=False).encode() + b"\n"
    except orjson.JSONDecodeError:
        return body


async def _check_raw(letter: Letter, settings: Settings, original: Letter, again: Again) -> None:
    """Read a raw entry or purchase order as its producer will; it must stay the partner's own.

    Its id is in the letter's id, or a hash stands there where the original had none that could be read.
    """
    item = await again(letter.message, settings)
    if item.event is None:
        raise InvalidMessage(item.reason)
    kept = original.id == item.event.id or original.id.startswith(f"{item.event.id}:")
    if not kept and not _NO_ID.search(original.id):
        raise InvalidMessage(
            f"expected the partner's id to stay that of {original.id!r}, got {item.event.id!r}", field="id"
        )


async def _send_back(
    settings: Settings, letter: Letter, body: bytes, archive: Path, trail: AuditTrail, why: str
) -> None:
    """Fetch the letter again, keep the original on disk, and send the correction in its place.

    Raises:
        ConfigError: it is not there any more as it was.
        OSError: the archive cannot be written; the letter stays.
    """
    choice = Choice((letter.queue,), frozenset({letter.id}))
    signs = await signer(settings)
    try:
        async with (
            client_session(settings.broker, name="hub letters") as open_session,
            chosen(open_session, letter.queue, choice) as every,
        ):
            async for now in every:
                if now.message.body == letter.message.body:
                    append_lines(archive, [archived(now, action="edited", why=why)])
                    await dead_letter_queue.replace_by(now, body, open_session, signs)
                    await trail.add(now, original=dead_letter_queue.digest(now.message.body))
                    return
        raise ConfigError(
            f"expected the letter {letter.id!r} to be in {letter.queue} as it was, it has gone or changed meanwhile;"
            " nothing was sent"
        )
    finally:
        await trail.flush()
        trail.log()
