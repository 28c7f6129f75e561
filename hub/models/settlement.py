"""How one attempt at a message ended, in the words of log, trace, metric and timeline."""

from enum import StrEnum


class SettlementState(StrEnum):
    """How one attempt at a message ended; from the best to the worst."""

    DONE = "done"
    WAITING = "waiting"
    """It will be tried again."""
    DEAD = "dead"
    """It is in the dead-letter queue."""
