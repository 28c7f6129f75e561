"""``hub letters replay``: letters back to where they died, each with a full budget; a few first, if so wanted.

    preview (--dry-run)   or   canary (--first N) -> its outcome -> a yes -> the rest

A letter is published with confirm into its work queue and only then leaves its queue. A process that is killed in between
leaves both: a duplicate that the ledger of effects knows, never a loss. Ctrl-C ends it between two lots.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from hub.amqp.copies.signature import Signer
from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.context import read_settings, signer
from hub.cli.dead_letters.adoption import confirmed_adoption, unsigned
from hub.cli.dead_letters.audit import AuditTrail
from hub.cli.dead_letters.canary import Canary, ReplayResult, tell_canary
from hub.cli.dead_letters.preview import Preview, tell_preview
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
from hub.cli.dead_letters.survey import Survey, agreed, in_one_queue, is_about_many, need_reason, survey
from hub.cli.output.asking import at_terminal
from hub.cli.output.printing import AsJson, counted, note, print_json, say
from hub.cli.output.progress import Bar, progress
from hub.config.settings import Settings
from hub.config.types import parse_duration
from hub.errors import ConfigError, HubError
from hub.observability.logging import LogEvent
from hub.process.event_loop import run_short
from hub.process.lifecycle import Stop

# Letters whose confirms are waited for together: one by one the disk's latency would be the rate.
_LOT = 50
# With a rate, as many lots a second at least, so that it is even.
_LOTS_PER_SECOND = 10

Why = Annotated[str, typer.Option("--reason", help="Why; kept in the orders' timelines and in the log.")]


def replay(
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    first: Annotated[
        int | None, typer.Option(min=1, help="Send so many, see what becomes of them, then ask for the rest.")
    ] = None,
    watch: Annotated[str, typer.Option(metavar="TIME", help="With --first: how long to watch them.")] = "30s",
    rate: Annotated[float | None, typer.Option(min=0.01, help="At most so many letters a second.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send without a question; with --first: the rest.")
    ] = False,
    reason: Why = "",
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Sign also what bears no signature of this hub, after it was shown; needs --reason.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send letters back to where they died, each with a full budget of attempts."""
    if adopt and not reason.strip():
        raise ConfigError("--adopt: expected --reason to say why the letters are the hub's own, got none")
    settings = read_settings()
    filters = Filters(
        fault, order, source, older_than, newer_than, facts(partner, operation, status, code, field)
    )
    choice = choose(settings, ids, queue, filters, everything=everything)
    if not dry_run:
        need_reason(choice, reason)
    found = survey(settings, choice)
    choice = in_one_queue(choice, found)
    if dry_run:
        preview = run_short(_preview(settings, choice))
        tell_preview(preview, as_json=as_json)
        name_missing(sorted(choice.ids - preview.ids))
        return
    if first is None:
        agreed(choice, found, verb="Replay", yes=yes)
    signs = run_short(signer(settings))
    if adopt and not confirmed_adoption(run_short(unsigned(settings, choice, signs)), yes=yes):
        note("hub: nothing was sent")
        raise typer.Exit(1)
    trail = AuditTrail(settings, "letter replayed", LogEvent.LETTER_REPLAYED, reason.strip())
    run = _Run(settings, choice, rate, trail, signs, adopt)
    watched = Canary(_seconds(watch))
    try:
        go_on = first is None or _try_first(run, first, found, watched, yes=yes, as_json=as_json)
        if go_on and not run.interrupted:
            left = found.count - run.trail.count if is_about_many(choice) else None
            run.send(passing=watched, limit=left)
    finally:
        run.trail.log()
    _tell_end(run, watched, as_json=as_json, all_sent=go_on)


@dataclass(slots=True)
class _Run:
    """One replay: what is chosen, how fast, and what was done so far."""

    settings: Settings
    choice: Choice
    rate: float | None
    trail: AuditTrail
    signs: Signer
    adopt: bool
    interrupted: bool = False
    _next_at: float = dataclasses.field(default=0.0)

    def send(
        self,
        *,
        passing: Canary | None = None,
        limit: int | None = None,
        then: Callable[[ClientSession, Stop], Awaitable[None]] | None = None,
        sent: Callable[[Letter], None] | None = None,
    ) -> None:
        """Replay the chosen letters, and do what comes ``then`` on the same connection.

        Args:
            passing: letters that have gone before and died again are passed by.
            limit: at most so many.
            then: what to do when they are sent.
            sent: called with each letter that is on its way.
        """

        async def main() -> None:
            with Stop().on_signals() as stop:
                try:
                    async with client_session(self.settings.broker, name="hub letters") as open_session:
                        with progress("replaying") as bar:
                            await self._send(open_session, stop, bar, passing, limit, sent)
                        if then is not None and not stop.asked:
                            await then(open_session, stop)
                finally:
                    self.interrupted = stop.asked
                    await self.trail.flush()

        try:
            run_short(main())
        except (HubError, OSError):
            say(f"{counted(self.trail.count, 'letter')} replayed before it failed; the rest stays")
            raise

    async def _send(
        self,
        open_session: ClientSession,
        stop: Stop,
        bar: Bar,
        passing: Canary | None,
        limit: int | None,
        sent: Callable[[Letter], None] | None,
    ) -> None:
        left = limit if limit is not None else sys.maxsize
        for name in self.choice.queues:
            if not left or stop.asked:
                return
            lot: list[Letter] = []
            async with chosen(open_session, name, self.choice, bar, stop) as every:
                async for letter in every:
                    if passing is not None and passing.has_sent(letter):
                        continue
                    lot.append(letter)
                    left -= 1
                    if len(lot) == self._lot_size() or not left:
                        await self._go(open_session, lot, stop, sent)
                        lot = []
                    if not left:
                        break
                await self._go(open_session, lot, stop, sent)

    async def _go(
        self,
        open_session: ClientSession,
        lot: list[Letter],
        stop: Stop,
        sent: Callable[[Letter], None] | None,
    ) -> None:
        """Replay a lot to its end, also when the end is asked for meanwhile; the first error is raised after that."""
        await self._pace(len(lot), stop)
        if stop.asked:
            return
        ends = await asyncio.gather(
            *(dead_letter_queue.replay(letter, open_session, self.signs, adopt=self.adopt) for letter in lot),
            return_exceptions=True,
        )
        failed = None
        for letter, end in zip(lot, ends, strict=True):
            if isinstance(end, BaseException):
                failed = failed or end
                continue
            await self.trail.add(letter, **self._adopted(letter))
            if sent is not None:
                sent(letter)
        if failed is not None:
            raise failed

    def _adopted(self, letter: Letter) -> dict[str, bool]:
        return {"adopted": True} if self.adopt and not dead_letter_queue.is_signed(letter, self.signs) else {}

    async def _pace(self, number: int, stop: Stop) -> None:
        if self.rate is None or not number:
            return
        now = time.monotonic()
        await stop.sleep(max(self._next_at - now, 0))
        self._next_at = max(self._next_at, now) + number / self.rate

    def _lot_size(self) -> int:
        return _LOT if self.rate is None else max(1, min(_LOT, int(self.rate / _LOTS_PER_SECOND)))


def _try_first(run: _Run, first: int, found: Survey, canary: Canary, *, yes: bool, as_json: bool) -> bool:
    """Send the first letters and see what becomes of them; whether the rest is to go."""

    async def watch(open_session: ClientSession, stop: Stop) -> None:
        await canary.watch(open_session, run.settings, stop)

    run.send(limit=first, sent=canary.add, then=watch)
    if not as_json:
        tell_canary(canary)
    if run.interrupted or not canary.sent:
        return False
    if canary.count(ReplayResult.DEAD) or canary.count(ReplayResult.WAITING):
        note("hub: not all of the first letters made it, so the rest stays; without --first all are sent")
        return False
    left = found.count - run.trail.count
    if yes or left <= 0:
        return True
    if not at_terminal():
        note(
            f"hub: the rest, {counted(left, 'letter')}, stays: nobody is here to be asked; with --yes it follows when none of the first fails"
        )
        return False
    try:
        return typer.confirm(f"Send the rest, {counted(left, 'letter')}?")
    except typer.Abort:
        run.interrupted = True
        return False


def _tell_end(run: _Run, canary: Canary, *, as_json: bool, all_sent: bool) -> None:
    """Say how far it came; the exit status is 130 when interrupted, 1 when a canary failed or an id is missing."""
    if as_json:
        print_json({"replayed": run.trail.count, "interrupted": run.interrupted, "first": canary.objects()})
    else:
        rest = "; interrupted, the rest stays" if run.interrupted else ""
        say(f"{counted(run.trail.count, 'letter')} replayed{rest}")
    if run.interrupted:
        raise typer.Exit(130)
    if all_sent:
        name_missing(sorted(run.choice.ids - run.trail.ids))
    if canary.count(ReplayResult.DEAD) or canary.count(ReplayResult.WAITING):
        raise typer.Exit(1)


async def _preview(settings: Settings, choice: Choice) -> Preview:
    preview = Preview()
    with progress("reading") as bar:
        async with client_session(settings.broker, name="hub letters") as open_session:
            for name in choice.queues:
                async with chosen(open_session, name, choice, bar) as every:
                    async for letter in every:
                        preview.add(letter)
    return preview


def _seconds(text: str) -> float:
    try:
        return float(parse_duration(text).total_seconds())  # type: ignore[attr-defined]  # a text becomes a timedelta
    except ValueError:
        raise ConfigError(f"--watch: expected a time such as 30s or 5m, got {text!r}") from None
