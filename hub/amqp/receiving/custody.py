"""Finds the message that ends the process that handles it, among those that were in its hands at the time.

A message that is delivered again is noted in the state store while a process has it in hand, and the note is taken back
when it is settled. A note whose process is gone says that it crashed with the message in hand: perhaps because of it. Such
a message is handled alone, one at a time in this process, so that the next crash tells which it is; after some of them it
is set aside. The redelivered flag only asks for a note: a lost connection redelivers as well, and is nobody's fault. Nothing
is written for a first delivery.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from hub.errors import PermanentError, StoreUnavailable
from hub.messaging.message import Message
from hub.models.input.quoting import shown_id
from hub.observability.logging import LogEvent, log
from hub.state.protocols import PRESENCE, SuspectStore, Suspicion

# One among others, and three alone.
MOST_CRASHES = 4
# Until a process that does not renew its presence is known to be gone.
_UNTIL_KNOWN = PRESENCE + timedelta(seconds=1)


class CrashedTooOften(PermanentError):
    """Processes ended again and again with this message in hand."""


class Custody:
    """The redelivered messages that this process has in hand.

    Args:
        store: keeps the notes.
        holder: this process.
        until_known: how long to wait for another process that has the message in hand too.
    """

    def __init__(self, store: SuspectStore, holder: str, *, until_known: timedelta = _UNTIL_KNOWN) -> None:
        self._store = store
        self._holder = holder
        self._until_known = until_known.total_seconds()
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def of(self, message: Message) -> AsyncIterator[None]:
        """Note a redelivered message as long as the block lasts.

        Raises:
            CrashedTooOften: it is to be set aside.
            StoreUnavailable: it cannot be noted.
        """
        key = key_of(message)
        found = await self._noted(message.queue, key)
        if not found.crashes:
            yield
            await self._clear(message.queue, key)
            return
        async with self._alone:
            log.warning(
                LogEvent.SUSPECT_IN_HAND,
                queue=message.queue,
                message_id=message.message_id and shown_id(message.message_id),
                crashes=found.crashes,
                reason="a process ended with it in hand, so it is handled alone",
            )
            if found.crashes >= MOST_CRASHES:
                raise CrashedTooOften(
                    f"set aside: {found.crashes} processes ended with this message in hand, the last of them while it was"
                    " handled alone; look for the crash in the log of that time before you replay it"
                )
            await self._store.hold_suspect(message.queue, key, holder=self._holder)
            yield
            await self._clear(message.queue, key)

    async def settled(self, message: Message) -> None:
        """Forget a message that was set aside."""
        await self._clear(message.queue, key_of(message))

    async def end(self) -> None:
        """Take all notes of this process back: it ends, and does not crash."""
        try:
            async with asyncio.timeout(PRESENCE.total_seconds()):
                await self._store.clear_suspects(self._holder)
        except (StoreUnavailable, TimeoutError):
            return

    async def _noted(self, queue: str, key: str) -> Suspicion:
        found = await self._store.suspect(queue, key, holder=self._holder)
        if found.held_elsewhere:
            # It still works on it, or it is about to be known as gone.
            await asyncio.sleep(self._until_known)
            found = await self._store.suspect(queue, key, holder=self._holder, take=True)
        return found

    async def _clear(self, queue: str, key: str) -> None:
        try:
            await self._store.clear_suspect(queue, key)
        except StoreUnavailable:
            # A note too many: it counts only if this process crashes, and goes with its end.
            return


def key_of(message: Message) -> str:
    """Return what a message is known by from one delivery to the next."""
    digest = hashlib.sha256(message.body)
    digest.update(
        "\0".join((message.message_id or "", message.exchange, message.routing_key)).encode(
            "utf-8", "replace"
        )
    )
    return digest.hexdigest()
