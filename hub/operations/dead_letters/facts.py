"""What a letter died of, from the facts of its error: which partner, which operation, and what was wrong.

What varies from letter to letter (ids, numbers, times, quoted values) is not in the key that letters are grouped by.
``hub.operations.dead_letters.grouping`` groups by it, ``hub.operations.dead_letters.legacy`` reads letters that carry no facts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.amqp.dead_letters.dead_letter import DEAD_SUFFIX
from hub.errors import ErrorFacts
from hub.models.events import EVENT_TYPES

_WEBHOOK_QUEUE = "hub.webhook."
# What people call the messages that are no events.
STORED = {
    "webhook.confirmation": "order confirmation",
    "webhook.cancellation": "order cancellation",
    "webhook.partial_cancellation": "partial cancellation",
    "webhook.disposition": "disposition update",
    "iqmetrix.entry": "feed entry",
    "retailops.po": "purchase order",
}

GAVE_UP = re.compile(r"^gave up after \d+ attempts: ")

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_QUOTED_LIST = re.compile(r"'…'(?:(?:,| and) '…')+")
# A word with a digit in it: numbers, dates, UUIDs, order ids, tracking numbers.
_WITH_DIGIT = re.compile(r"[^\s'\"()\[\],;]*\d[^\s'\"()\[\],;]*")
# A word of hexadecimal digits without one: the rare id that consists of letters alone.
_HEXADECIMAL = re.compile(r"\b[0-9a-fA-F]{12,}\b")
POSITION = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What was wrong: ``about`` what (partner and operation, or event and field), and what was said of it.

    Letters with the same ``key`` died of the same fault; ``text`` is how one of them says it.
    """

    about: tuple[str, ...]
    text: str
    key: tuple[str, ...]

    def __str__(self) -> str:
        return " · ".join((*self.about, self.text)) if self.text else " · ".join(self.about)


# What kept an answer from coming, in words.
_HOW = {
    "timeout": "no complete answer in time",
    "tls": "TLS failed",
    "connection": "no connection",
    "damaged": "answer cut off or damaged",
}


def of_facts(error: ErrorFacts, reason: str, *, queue: str, message_type: str | None) -> Fault:
    """Say a fault by its facts; ``reason`` gives the words where no partner was asked."""
    partner, operation = work_of(queue, message_type)
    asked = (error.partner or partner, operation if queue.startswith(_WEBHOOK_QUEUE) else "")
    if error.status or error.code in _HOW:
        about = (asked[0], asked[1] or (operation_of(error.operation) if error.operation else operation))
        field = POSITION.sub("#", error.field)
        said = {
            name: f" {name}: {error.code}" if name else f" code {error.code}" for name in (error.field, field)
        }
        status = str(error.status) if error.status else ""
        words = _HOW.get(error.code)
        text = words or status + (said[error.field] if error.code else "")
        return Fault(about, text, (*about, words or status + (said[field] if error.code else "")))
    rule = without_got(GAVE_UP.sub("", reason).removeprefix(f"{error.field}: "))
    if error.field:
        about = (event_of(message_type) or STORED.get(message_type or "") or operation, error.field)
        return Fault(about, rule, (about[0], POSITION.sub("#", error.field), error.code))
    about = (error.partner or partner, error.operation or operation)
    return Fault(about, rule, (*about, error.code, normalised(rule)))


def says_facts(
    error: ErrorFacts, wanted: ErrorFacts, *, queue: str, message_type: str | None, listed: Fault
) -> bool:
    """Return whether an error has all the facts that are wanted, in any case; an empty one is not wanted.

    Partner and operation are also those that ``hub letters list`` names, and a field's positions may be ``#``.
    """
    partner, _ = work_of(queue, message_type)
    facts = (
        (wanted.partner, (error.partner or partner,)),
        (wanted.operation, (error.operation, operation_of(error.operation), *listed.about[:2])),
        (wanted.code, (error.code,)),
        (wanted.field, (error.field, POSITION.sub("#", error.field))),
    )
    if wanted.status is not None and wanted.status != error.status:
        return False
    return all(not one or one.casefold() in map(str.casefold, those) for one, those in facts)


def normalised(text: str) -> str:
    """Take out what varies from letter to letter: quoted values become ``'…'``, words with a digit ``#``."""
    text = _QUOTED_LIST.sub("'…'", _QUOTED.sub("'…'", text))
    return " ".join(_HEXADECIMAL.sub("#", _WITH_DIGIT.sub("#", text)).split())


# --- words ------------------------------------------------------------------------------------------------------


def plain_fault(about: tuple[str, ...], text: str) -> Fault:
    """Return the fault that this text says, without what varies in its key."""
    return Fault(about, text, (*about, normalised(text)))


def work_of(queue: str, message_type: str | None) -> tuple[str, str]:
    """Return partner and operation by the work queue's name; a client's webhook is called by its kind."""
    work = queue.removesuffix(DEAD_SUFFIX)
    stored = STORED.get(message_type or "")
    if work.startswith(_WEBHOOK_QUEUE):
        return work.removeprefix(_WEBHOOK_QUEUE), stored or event_of(message_type) or "webhook"
    parts = work.split(".", 2)
    if len(parts) < 3:
        return "the broker", event_of(message_type) or "message"
    return parts[1], stored or parts[2].replace("-", " ")


def event_of(message_type: str | None) -> str | None:
    """Return the event type that a message type or routing key begins with."""
    name = message_type or ""
    return next((known for known in EVENT_TYPES if name == known or name.startswith(f"{known}.")), None)


def operation_of(asked: str) -> str:
    """Name a call as its people do: ``Vendor/PO/MarkSubmitted`` is ``MarkSubmitted``."""
    path = asked.split("~")[0].split("/")
    if len(path) > 1:
        return path[-1] if path[-1][:1].isupper() else f"{path[-2]} {path[-1]}"
    return asked.removeprefix("an ").removeprefix("a ").strip()


def without_got(text: str) -> str:
    """What was expected is the fault; what came instead is in the letter."""
    expected, got, _ = text.partition(", got ")
    return expected if got and expected.startswith("expected") else text
