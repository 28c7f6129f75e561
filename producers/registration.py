"""A row of ``PRODUCERS``: what a producer's file says of itself, so that a new one is its file and its row.

Every producer's file ends with its ``FLOW``. Who reads it: ``hub.service.flows`` for the queue, ``hub.service.composition`` for the
pollers and for raw entries that come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from hub.config.settings import Settings
from hub.messaging.message import Message
from hub.messaging.polling.poll_loop import Beside
from hub.messaging.polling.poller import Item, Poller
from hub.process.lifecycle import Resources
from hub.topology import WorkQueue


@dataclass(frozen=True, slots=True)
class Polling:
    """One poller that is to run, and the pause between its polls.

    ``beside`` runs in the process that polls, for as long as it does.
    """

    poller: Poller
    every: timedelta
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class ProducerFlow:
    """One producer: its queue, its pollers under given settings, and how it reads a raw entry that comes back.

    ``stored`` is the prefix of the message type of its raw entries; ``again`` reads one.
    """

    name: str
    queue: WorkQueue
    stored: str
    enabled: Callable[[Settings], bool]
    pollers: Callable[[Resources], tuple[Polling, ...]]
    again: Callable[[Message, Settings], Awaitable[Item]]
