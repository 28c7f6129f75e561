"""Looks each minute for status updates that iQmetrix accepted (202) and whose order its feed has not shown since.

Run by the process that polls the account, so that one process counts and one warns. What the feed shows is noted by the
consumer ``update_order_status``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hub.config.settings import Iqmetrix
from hub.errors import TransientError
from hub.observability.logging import LogEvent, log
from hub.observability.metrics import UPDATES_UNECHOED
from hub.state.protocols import EchoStore

_PARTNER = "iqmetrix"
_EVERY_SECONDS = 60.0
# Later than that nobody expects the feed to show a report, and a person has had two weeks to look.
_LOOKS_BACK = timedelta(days=14)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EchoWatch:
    """Counts the late updates of one account, and names each order in the log once, when it becomes late.

    Args:
        settings: of the account.
        store: knows which reports wait.
        every: seconds between two looks.
        now: the time, for tests.
    """

    def __init__(
        self,
        settings: Iqmetrix,
        store: EchoStore,
        *,
        every: float = _EVERY_SECONDS,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._settings = settings
        self._store = store
        self._every = every
        self._now = now
        self._looked_before: datetime | None = None

    async def run(self) -> None:
        """Look until cancelled; then show no count any more, since another process may."""
        if not self._settings.echo_within:
            return
        account = self._settings.account
        try:
            while True:
                with suppress(TransientError):
                    await self._look(account)
                await asyncio.sleep(self._every)
        finally:
            with suppress(KeyError):
                UPDATES_UNECHOED.remove(account)

    async def _look(self, account: str) -> None:
        before = self._now() - self._settings.echo_within
        after = before - _LOOKS_BACK
        late = await self._store.unechoed(_PARTNER, account, reported_after=after, reported_before=before)
        UPDATES_UNECHOED.labels(account).set(late.count)
        if late.count and self._looked_before is not None:
            late = await self._store.unechoed(
                _PARTNER, account, reported_after=self._looked_before, reported_before=before
            )
        # A clock that was set back makes nobody late anew.
        self._looked_before = max(before, self._looked_before or before)
        if late.count:
            log.warning(
                LogEvent.UPDATES_UNECHOED,
                account=account,
                count=late.count,
                order_ids=late.order_ids,
                reason="iQmetrix accepted an update of each of these orders, and its feed has not shown one since",
            )
