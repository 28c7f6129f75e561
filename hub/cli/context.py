"""What several commands stand on: settings with a broker, an open state store, the timeline."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.amqp.copies.signature import Signer
from hub.cli.output.printing import note
from hub.config.settings import Settings, load_given
from hub.errors import ConfigError, StoreUnavailable
from hub.observability.logging import set_up_logging
from hub.state.protocols import Store, TimelineEntry


def read_settings() -> Settings:
    """Read the settings for a command that ends by itself: only what goes wrong is logged beside its result.

    Raises:
        ConfigError: with every fault.
    """
    settings = load_given()
    set_up_logging(settings.log.format, "warning")
    return settings


@asynccontextmanager
async def state_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the state store for one command.

    Raises:
        ConfigError: it is a file that does not exist; a command creates none.
        StoreUnavailable: it does not answer, or cannot be written.
    """
    from hub.state.store import open_store

    store = await open_store(settings.state.url, busy_timeout=settings.state.busy_timeout, create=False)
    try:
        yield store
    finally:
        await store.close()


async def signer(settings: Settings) -> Signer:
    """Return what signs as this installation does: a letter that goes back is signed anew.

    Raises:
        StoreUnavailable: the state store, which holds the key, does not answer.
    """
    async with state_store(settings) as store:
        return Signer((await store.signing()).key)


def operator() -> str:
    """Say who is at the desk: ``HUB_OPERATOR`` where several people share a login, else the system's user."""
    named = os.environ.get("HUB_OPERATOR") or os.environ.get("SUDO_USER")
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user without a name.
        return str(os.getuid())


async def tell_timeline(
    settings: Settings, what: str, told: Sequence[tuple[str | None, Mapping[str, Any]]]
) -> None:
    """Record what an operator did in the timelines of the orders concerned; (order id, facts) each.

    The action is done already: a store that is unreachable is said on standard error and fails nothing.
    """
    now = datetime.now(UTC)
    entries = [
        TimelineEntry(order_id, now, what, {**facts, "by": operator()})
        for order_id, facts in told
        if order_id
    ]
    if not entries:
        return
    try:
        async with state_store(settings) as store:
            await store.add_to_timeline(entries)
    except (StoreUnavailable, ConfigError) as error:
        note(f"done, but the timeline could not be written: {error}")


def write_new(file: Path, body: bytes) -> None:
    """Write a file that holds names and addresses: for this user alone, and never over another file."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as saved:
            saved.write(body)
    except OSError as error:
        raise ConfigError(
            f"expected a new file that can be written, got {error.strerror} at {file}"
        ) from None
