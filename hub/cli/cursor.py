"""``hub cursor``: where the pollers stand, and sending one back to the beginning."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from hub.cli.desk import read_settings, state_store
from hub.cli.output import AsJson, print_table, say
from hub.config import Settings
from hub.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Where the pollers stand.")

_COLUMNS = ("name", "cursor", "moved at", "held by", "held until")
# As long as one reset may take; a running poller holds the same lease, so that it cannot be reset under way.
_LEASE = timedelta(seconds=30)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One poller; none: all.")] = None, as_json: AsJson = False
) -> None:
    """Show the cursors, when they moved last, and which process polls now."""
    rows = asyncio.run(_rows(read_settings(), name, as_json=as_json))
    print_table(_COLUMNS, rows, as_json=as_json)


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
    asyncio.run(_reset(settings, name, forget=forget))
    say(f"{name} starts from the beginning at its next poll")


async def _rows(settings: Settings, name: str | None, *, as_json: bool) -> list[Sequence[Any]]:
    async with state_store(settings) as store:
        cursors, leases = await store.cursors(), await store.leases()
    _refuse_unknown(name, cursors)
    rows: list[Sequence[Any]] = []
    for poller, (cursor, moved_at) in sorted(cursors.items()):
        if name is None or poller == name:
            holder, until = leases.get(poller, (None, None))
            shown = dict(cursor) if as_json else json.dumps(dict(cursor), ensure_ascii=False)
            rows.append((poller, shown, moved_at, holder, until))
    return rows


async def _reset(settings: Settings, name: str, *, forget: bool) -> None:
    from hub.state.holder import this_process

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
