"""Where letters are kept outside the broker: the archive of what was taken away or edited, and exports.

Both hold letters whole, personal data too: the files are for the operator's eyes only (0600). What leaves the broker is
on disk first: a letter is acked after its line is synced.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import stat
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import client_session
from hub.cli.context import operator, read_settings
from hub.cli.dead_letters.audit import AuditTrail
from hub.cli.dead_letters.rendering import CSV_HEAD, as_csv, as_line
from hub.cli.dead_letters.selection import (
    AboutOrder,
    Choice,
    Everything,
    Fault,
    Filters,
    Ids,
    NewerThan,
    OfOperation,
    OfPartner,
    OfSource,
    OlderThan,
    OnQueue,
    WithCode,
    WithField,
    WithStatus,
    choose,
    chosen,
    facts,
    name_missing,
)
from hub.cli.dead_letters.survey import agreed, in_one_queue, is_about_many, survey
from hub.cli.output.asking import Yes
from hub.cli.output.printing import counted, say
from hub.cli.output.progress import progress
from hub.config.settings import Settings
from hub.errors import ConfigError
from hub.models.types import utc_text
from hub.observability.logging import LogEvent
from hub.process.event_loop import run_short
from hub.process.lifecycle import Stop

ARCHIVE = Path("var/discarded-letters.jsonl")
# Letters that are synced together: one sync for each would take longer than all the rest.
_LOT = 50

InArchive = Annotated[Path, typer.Option(help="Where the letters are kept, whole.")]


def discard(
    reason: Annotated[str, typer.Option(help="Why; kept in the archive and in the order's timeline.")],
    ids: Ids = None,
    queue: OnQueue = None,
    fault: Fault = None,
    order: AboutOrder = None,
    source: OfSource = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    partner: OfPartner = None,
    operation: OfOperation = None,
    status: WithStatus = None,
    code: WithCode = None,
    field: WithField = None,
    archive: InArchive = ARCHIVE,
    yes: Yes = False,
) -> None:
    """Take letters away for good, after they were appended to the archive file."""
    why = given_reason(reason)
    settings = read_settings()
    choice = choose(
        settings,
        ids,
        queue,
        Filters(fault, order, source, older_than, newer_than, facts(partner, operation, status, code, field)),
    )
    found = survey(settings, choice)
    choice = in_one_queue(choice, found)
    agreed(choice, found, verb="Discard", yes=yes)
    most = found.count if is_about_many(choice) else None
    trail = AuditTrail(settings, "letter discarded", LogEvent.LETTER_DISCARDED, why)
    interrupted = run_short(_discard(settings, choice, archive, trail, why, most))
    say(f"{counted(trail.count, 'letter')} discarded{', interrupted: the rest stays' if interrupted else ''}")
    if interrupted:
        raise typer.Exit(130)
    name_missing(sorted(choice.ids - trail.ids))


def export(
    to: Annotated[Path, typer.Option(help="The file to append to (0600).")],
    form: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="JSON lines, whole; or CSV for a spreadsheet.")
    ] = "jsonl",
    ids: Ids = None,
    queue: OnQueue = None,
    everything: Everything = False,
    fault: Fault = None,
    order: AboutOrder = None,
    source: OfSource = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    partner: OfPartner = None,
    operation: OfOperation = None,
    status: WithStatus = None,
    code: WithCode = None,
    field: WithField = None,
) -> None:
    """Copy letters, whole and with personal data, to a file; they stay where they are."""
    settings = read_settings()
    filters = Filters(
        fault, order, source, older_than, newer_than, facts(partner, operation, status, code, field)
    )
    choice = choose(settings, ids, queue, filters, everything=everything)
    trail = AuditTrail(settings, "letter exported", LogEvent.LETTER_EXPORTED, names_ids=True)
    run_short(_export(settings, choice, to, form, trail))
    say(f"{counted(trail.count, 'letter')} exported")
    name_missing(sorted(choice.ids - trail.ids))


def given_reason(reason: str) -> str:
    """Return the reason without blanks around it.

    Raises:
        ConfigError: it says nothing.
    """
    if not reason.strip():
        raise ConfigError("--reason: expected a text that says why, got an empty one")
    return reason.strip()


def archived(letter: Letter, *, action: str, why: str) -> str:
    """Return the archive's line of a letter that is ``discarded`` or ``edited``."""
    more = {f"{action}_at": utc_text(datetime.now(UTC)), f"{action}_because": why, f"{action}_by": operator()}
    return as_line(letter, **more)


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append lines to a file that only its owner can read (0600); returns when the disk has them.

    Raises:
        OSError: the file cannot be written.
    """
    with _synced(path) as file:
        file.writelines(line.encode() + b"\n" for line in lines)


async def _discard(
    settings: Settings, choice: Choice, archive: Path, trail: AuditTrail, why: str, most: int | None
) -> bool:
    """Archive and remove lot by lot, ``most`` letters; True when a signal ended it. What was not removed goes back."""
    with Stop().on_signals() as stop, progress("discarding") as bar:
        try:
            async with client_session(settings.broker, name="hub letters") as open_session:
                for name in choice.queues:
                    async with chosen(open_session, name, choice, bar, stop) as every:
                        async for every_lot in _lots(every):
                            lot = every_lot if most is None else every_lot[: most - trail.count]
                            if not lot:
                                break
                            append_lines(
                                archive, [archived(letter, action="discarded", why=why) for letter in lot]
                            )
                            for letter in lot:
                                await dead_letter_queue.remove(letter)
                                await trail.add(letter)
        finally:
            await trail.flush()
            trail.log()
    return stop.asked


async def _lots(every: AsyncGenerator[Letter, None]) -> AsyncGenerator[list[Letter], None]:
    lot: list[Letter] = []
    async for letter in every:
        lot.append(letter)
        if len(lot) == _LOT:
            yield lot
            lot = []
    if lot:
        yield lot


async def _export(settings: Settings, choice: Choice, to: Path, form: str, trail: AuditTrail) -> None:
    """Write the chosen letters, and note in the log and in the orders' timelines who has them."""
    try:
        with progress("exporting") as bar, _synced(to) as file:
            if form == "csv" and file.tell() == 0:
                file.write(_csv_line(CSV_HEAD))
            async with client_session(settings.broker, name="hub letters") as open_session:
                for name in choice.queues:
                    async with chosen(open_session, name, choice, bar) as every:
                        async for letter in every:
                            line = (
                                _csv_line(as_csv(letter))
                                if form == "csv"
                                else as_line(letter).encode() + b"\n"
                            )
                            file.write(line)
                            await trail.add(letter)
    finally:
        await trail.flush()
        trail.log()


def _csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """Open a file for its owner alone, at its end; at the end of the block the disk has what was written.

    Raises:
        ConfigError: the name is a link, or no regular file: letters would be written where it leads.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with os.fdopen(_opened(path), "ab") as file:
        os.fchmod(file.fileno(), 0o600)
        file.seek(0, os.SEEK_END)
        yield file
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _sync_folder(path.parent)


def _opened(path: Path) -> int:
    # Not waiting for a reader, should it be a pipe; for a file that makes no difference.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        kind = "a symbolic link" if error.errno == errno.ELOOP else "a pipe"
        raise ConfigError(f"expected a file of its own, {path} is {kind}; name another file") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"expected a file of its own, {path} is no regular file; name another file")
    return descriptor


def _sync_folder(folder: Path) -> None:
    """A new file's name is in its folder: without this a power cut may lose the file, synced as it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
