"""A row of ``CONSUMERS``: what a consumer's file says of itself, so that a new one is its file and its row.

Every consumer's file ends with its ``FLOW``. Who reads it: ``hub.service.flows`` for the queues, ``hub.service.composition`` for the
routes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hub.config.settings import Settings
from hub.messaging.dispatch import Route
from hub.process.lifecycle import Resources
from hub.topology import WorkQueue


@dataclass(frozen=True, slots=True)
class ConsumerFlow:
    """One consumer: its name, its work queues under given settings, and how a queue's route is built."""

    name: str
    queues: Callable[[Settings], tuple[WorkQueue, ...]]
    route: Callable[[WorkQueue, Resources], Route]
