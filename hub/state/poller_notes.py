"""What is known of a poller beside its cursor: its last failure, what a person stepped over, and its habit.

Kept in the table of what was last said of something, under names that no partner has. Written by the poll loop and by
``hub cursor skip``, each its own note; read by both, by ``hub cursor show`` and by ``hub doctor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hub.state.protocols import ReportedStateStore

# How long a skip of something that has no path and no bytes holds.
_SKIP_HOLDS = timedelta(hours=24)
# Skips that are kept, the newest.
_MOST_SKIPS = 50


@dataclass(frozen=True, slots=True)
class PollerNotes:
    """The notes of one poller.

    Args:
        store: keeps them.
        poller: its name.
    """

    store: ReportedStateStore
    poller: str

    async def failure(self) -> Mapping[str, Any]:
        """Return what was wrong with the last poll; empty: nothing."""
        return await self._read("failure")

    async def set_failure(self, facts: Mapping[str, Any]) -> None:
        """Record what is wrong with the last poll; empty: nothing."""
        await self._write("failure", facts)

    async def habit(self) -> Mapping[str, Any]:
        """Return when something new came, as the poll loop keeps it."""
        return await self._read("habit")

    async def set_habit(self, facts: Mapping[str, Any]) -> None:
        """Record when something new came."""
        await self._write("habit", facts)

    async def skips(self) -> list[Mapping[str, Any]]:
        """Return what was stepped over, oldest first: ``page``, ``digest``, ``reason``, ``by``, ``at``."""
        return list((await self._read("skips")).get("skips", ()))

    async def add_skip(self, page: str, digest: str, *, reason: str, by: str) -> None:
        """Record that a person steps over a page as it is now."""
        entry = {"page": page, "digest": digest, "reason": reason, "by": by, "at": _text(datetime.now(UTC))}
        await self._write("skips", {"skips": [*await self.skips(), entry][-_MOST_SKIPS:]})

    async def is_skipped(self, page: str, digest: str = "") -> bool:
        """Return whether a person stepped over this page with these bytes; without bytes: in the last 24 hours."""
        since = _text(datetime.now(UTC) - _SKIP_HOLDS)
        return any(
            skip["page"] == page and skip["digest"] == digest and (digest or skip["at"] >= since)
            for skip in await self.skips()
        )

    async def _read(self, kind: str) -> Mapping[str, Any]:
        return await self.store.told(f"poller {kind}", self.poller) or {}

    async def _write(self, kind: str, facts: Mapping[str, Any]) -> None:
        await self.store.tell(f"poller {kind}", self.poller, facts)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
