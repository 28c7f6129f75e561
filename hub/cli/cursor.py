"""``hub cursor``: where the pollers stand, what they fail of, stepping over a page, and sending one back to the beginning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.context import operator, read_settings, state_store, write_new
from hub.cli.output.printing import AsJson, Wide, print_table, say
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.errors import ConfigError
from hub.messaging.polling.ingest import LETTERS
from hub.observability.logging import LogEvent, log
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.process.event_loop import run_short
from hub.service.flows import poller_names
from hub.state.poller_notes import PollerNotes
from producers.iqmetrix.iqmetrix_orders import CURRENT, name_of

app = typer.Typer(no_args_is_help=True, help="Where the pollers stand.")

_COLUMNS = (
    Column("name", "id"), Column("cursor", "line"), Column("moved at", "number"), Column("held by", "id"),
    Column("held until", "number"), Column("failing since"), Column("status", "number"), Column("code"), Column("check"),
)  # fmt: skip
# What a terminal of 80 columns has room for.
_ON_TERMINAL = ("name", "cursor", "moved at", "failing since", "code")
# As long as one reset may take; a running poller holds the same lease, so that it cannot be reset under way.
_LEASE = timedelta(seconds=30)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One poller; none: all.")] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Save the page that holds the poller, as it is, to this new file."),
    ] = None,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Show the pollers: their cursors, which process polls now, and what the last poll failed of, if it did."""
    settings = read_settings()
    if page is not None:
        run_short(_save_page(settings, name, page))
        return
    rows = run_short(_rows(settings, name, as_json=as_json))
    print_table(_COLUMNS, rows, as_json=as_json, on_terminal=_ON_TERMINAL, wide=wide)


@app.command()
def skip(
    name: Annotated[str, typer.Argument(help="The poller, as hub cursor show names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded with who and when.")],
) -> None:
    """Step over the page that holds a poller: its entries are not taken in. It need not be stopped for that.

    Only the page as it is now is stepped over; once it can be read, it is read. Where a poll is held since most of what it
    brings cannot be translated, all of that is set aside, for 24 hours.
    """
    if not reason.strip():
        raise ConfigError("expected --reason with some words, got none")
    said = run_short(_skip(read_settings(), name, reason.strip()))
    say(said)


@app.command()
def reset(
    name: Annotated[str, typer.Argument(help="The poller, as hub cursor show names it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget what was taken in, too: all of it is published again.")
    ] = False,
) -> None:
    """Send a poller back to the beginning; what it took in before is told apart unless --forget."""
    settings = read_settings()
    if not yes:
        consequence = (
            "all of it is published again" if forget else "what it took in before is not published again"
        )
        raise ConfigError(
            f"expected --yes: {name} would start from the beginning of the partner's feed; {consequence}"
        )
    run_short(_reset(settings, name, forget=forget))
    say(f"{name} starts from the beginning at its next poll")


async def _rows(settings: Settings, name: str | None, *, as_json: bool) -> list[Sequence[Any]]:
    async with state_store(settings) as store:
        cursors, leases = await store.cursors(), await store.leases()
        known = sorted({*cursors, *poller_names(settings, store)})
        failures = {poller: await PollerNotes(store, poller).failure() for poller in known}
    # One that has neither succeeded nor failed has not begun.
    names = [poller for poller in known if poller in cursors or failures[poller]]
    _refuse_unknown(name, names)
    rows: list[Sequence[Any]] = []
    for poller in names:
        if name is None or poller == name:
            cursor, moved_at = cursors.get(poller, (None, None))
            holder, until = leases.get(poller, (None, None))
            kept = None if cursor is None else dict(cursor)
            shown = kept if as_json or kept is None else json.dumps(kept, ensure_ascii=False)
            failure = failures[poller]
            rows.append(
                (
                    poller,
                    "none: it has never succeeded" if shown is None and not as_json else shown,
                    moved_at,
                    holder,
                    until,
                    failure.get("since"),
                    failure.get("status"),
                    failure.get("code"),
                    failure.get("check"),
                )
            )
    return rows


async def _skip(settings: Settings, name: str, reason: str) -> str:
    async with state_store(settings) as store:
        notes = PollerNotes(store, name)
        failure = await notes.failure()
        page = failure.get("page")
        if not page:
            raise ConfigError(
                f"expected a poller that a page holds, got {name!r}"
                + (
                    f", which fails of something else: {failure['reason']}"
                    if failure
                    else ", which is not held"
                )
            )
        await notes.add_skip(page, failure.get("digest", ""), reason=reason, by=operator())
    log.warning(LogEvent.PAGE_SKIPPED, poller=name, page=page, by=operator(), reason=reason)
    if page == LETTERS:
        return f"{name} sets aside at its next poll what cannot be translated; see hub letters list"
    return (
        f"{name} steps over {page} at its next poll, as long as it is as it was; its entries are not taken in"
    )


async def _save_page(settings: Settings, name: str | None, file: Path) -> None:
    accounts = {name_of(account): account for account in settings.iqmetrix}
    if name not in accounts:
        raise ConfigError(f"expected an iQmetrix poller ({', '.join(accounts) or 'none'}), got {name!r}")
    async with state_store(settings) as store:
        page = (await PollerNotes(store, name).failure()).get("page")
    client = IqmetrixClient(accounts[name])
    try:
        body = await client.raw_page(page if page not in ("", None, CURRENT, LETTERS) else None)
    finally:
        await client.close()
    write_new(file, body)
    say(f"saved {len(body)} bytes of {page or CURRENT} to {file}")


async def _reset(settings: Settings, name: str, *, forget: bool) -> None:
    from hub.state.process_identity import this_process

    holder = this_process()
    async with state_store(settings) as store:
        _refuse_unknown(name, await store.cursors())
        await store.acquire_lease(name, holder=holder, lease=_LEASE)
        try:
            await store.reset(name, forget_keys=forget)
        finally:
            await store.release_lease(name, holder=holder)


def _refuse_unknown(name: str | None, cursors: Any) -> None:
    if name is not None and name not in cursors:
        known = ", ".join(sorted(cursors)) or "none yet"
        raise ConfigError(f"expected a poller that has a cursor ({known}), got {name!r}")
