"""Why letters died, in business words, so that five thousand letters of one fault are one line.

A reason is a sentence for people: ``retailops answered 200 to Vendor/PO/MarkSubmitted: vendor 27 not found``. Here it is
read as partner, operation and what was wrong, and what varies from letter to letter (ids, numbers, times, quoted values)
is taken out of the key that letters are grouped by. The forms are those that ``hub.http``, ``hub.amqp.codec``, the
partners and the consumers write; a reason of another form is its own words under its consumer's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from hub.amqp.letter import DEAD_SUFFIX, Letter
from hub.errors import ErrorFacts
from hub.models.events import EVENT_TYPES, shown_type
from hub.quoting import shown_id

_WEBHOOK_QUEUE = "hub.webhook."
# What people call the messages that are no events.
_STORED = {
    "webhook.confirmation": "order confirmation",
    "webhook.cancellation": "order cancellation",
    "webhook.partial_cancellation": "partial cancellation",
    "webhook.disposition": "disposition update",
    "iqmetrix.entry": "feed entry",
    "retailops.po": "purchase order",
}

_ANSWERED = re.compile(
    r"(?P<partner>\S+) answered (?P<status>\d{3}) to (?P<operation>[^:;(]+?)"
    r"(?: \(redirects are not followed\))?(?P<rest>[:;] .*)?$",
    re.DOTALL,
)
_NO_ANSWER = re.compile(r"(?P<partner>[\w-]+): (?P<method>[A-Z]+) (?P<where>\S+): (?P<what>.+)$", re.DOTALL)
_UNREADABLE = re.compile(
    r"(?P<what>expected .+?) from (?P<partner>\S+) to (?P<operation>\S+), got (?P<got>.*)$"
)
_FIELD = re.compile(r"(?P<field>[A-Za-z_][\w*-]*(?:\.[\w*-]+)*): (?P<rule>.+)$", re.DOTALL)
_CODE = re.compile(r" \(code ([^()]*)\)")
_GAVE_UP = re.compile(r"^gave up after \d+ attempts: ")
_BY_BROKER = "set aside by the broker: "
_UNBOUND = "no queue is bound to "
_BY_HAND = "RetailOps has no call to cancel"
_NOT_SUBMITTED = "not yet submitted"

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_QUOTED_LIST = re.compile(r"'…'(?:(?:,| and) '…')+")
# A word with a digit in it: numbers, dates, UUIDs, order ids, tracking numbers.
_WITH_DIGIT = re.compile(r"[^\s'\"()\[\],;]*\d[^\s'\"()\[\],;]*")
# A word of hexadecimal digits without one: the rare id that consists of letters alone.
_HEXADECIMAL = re.compile(r"\b[0-9a-fA-F]{12,}\b")
_POSITION = re.compile(r"(?<=\.)\d+(?=\.|$)")


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


@dataclass(slots=True)
class Group:
    """Letters of one queue that died of one fault."""

    queue: str
    fault: Fault
    example: str
    """The id of one of them: the newest."""
    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    alike: bool = True
    """Whether all of them say it in the same words."""

    def add(self, letter: Letter, fault: Fault) -> None:
        """Count a letter in."""
        self.count += 1
        self.alike = self.alike and fault == self.fault
        if letter.died_at is None:
            return
        self.oldest = min(self.oldest or letter.died_at, letter.died_at)
        if self.newest is None or letter.died_at >= self.newest:
            self.newest, self.example = letter.died_at, shown_id(letter.id)

    @property
    def text(self) -> str:
        """The fault in words; with ``#`` and ``…`` where the letters differ."""
        return str(self.fault) if self.alike else " · ".join(part for part in self.fault.key if part)


def grouped(letters: Iterable[Letter]) -> list[Group]:
    """Group letters by queue and fault, the largest group of a queue first."""
    groups = Groups()
    for letter in letters:
        groups.add(letter)
    return groups.by_size()


class Groups:
    """Groups that grow letter by letter, so that no body has to be kept."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, tuple[str, ...]], Group] = {}

    def add(self, letter: Letter) -> None:
        """Count a letter into its group."""
        fault = fault_of(letter)
        group = self._groups.setdefault(
            (letter.queue, fault.key), Group(letter.queue, fault, example=shown_id(letter.id))
        )
        group.add(letter, fault)

    def by_size(self) -> list[Group]:
        """Give the groups, queue by queue as they came, the largest of each first."""
        queues = list(dict.fromkeys(group.queue for group in self._groups.values()))
        return sorted(
            self._groups.values(), key=lambda group: (queues.index(group.queue), -group.count, group.text)
        )


def fault_of(letter: Letter) -> Fault:
    """Read the facts of a letter's error, or else, from an earlier release, its reason."""
    queue, kind = letter.work_queue or letter.queue, shown_type(letter.type)
    error = letter.book.error
    return (
        of_facts(error, letter.reason, queue=queue, message_type=kind)
        if error
        else read_reason(letter.reason, queue=queue, message_type=kind)
    )


# What kept an answer from coming, in words.
_HOW = {
    "timeout": "no complete answer in time",
    "tls": "TLS failed",
    "connection": "no connection",
    "damaged": "answer cut off or damaged",
}


def of_facts(error: ErrorFacts, reason: str, *, queue: str, message_type: str | None) -> Fault:
    """Say a fault by its facts; ``reason`` gives the words where no partner was asked."""
    partner, operation = _work_of(queue, message_type)
    asked = (error.partner or partner, operation if queue.startswith(_WEBHOOK_QUEUE) else "")
    if error.status or error.code in _HOW:
        about = (asked[0], asked[1] or (_operation(error.operation) if error.operation else operation))
        field = _POSITION.sub("#", error.field)
        said = {
            name: f" {name}: {error.code}" if name else f" code {error.code}" for name in (error.field, field)
        }
        status = str(error.status) if error.status else ""
        words = _HOW.get(error.code)
        text = words or status + (said[error.field] if error.code else "")
        return Fault(about, text, (*about, words or status + (said[field] if error.code else "")))
    rule = _without_got(_GAVE_UP.sub("", reason).removeprefix(f"{error.field}: "))
    if error.field:
        about = (_event(message_type) or _STORED.get(message_type or "") or operation, error.field)
        return Fault(about, rule, (about[0], _POSITION.sub("#", error.field), error.code))
    about = (error.partner or partner, error.operation or operation)
    return Fault(about, rule, (*about, error.code, normalised(rule)))


def read_reason(reason: str, *, queue: str, message_type: str | None) -> Fault:
    """Read a reason.

    Args:
        reason: as the hub wrote it, perhaps cut at its end.
        queue: the work queue it is about.
        message_type: the event or message type, or the routing key where there was none.
    """
    partner, operation = _work_of(queue, message_type)
    # How often it was tried is a column of its own; the fault is that of the last attempt.
    reason = _GAVE_UP.sub("", reason)
    for read in _FORMS:
        fault = read(reason, partner, operation, message_type)
        if fault is not None:
            return fault
    return _fault((partner, operation), _without_got(reason))


def normalised(text: str) -> str:
    """Take out what varies from letter to letter: quoted values become ``'…'``, words with a digit ``#``."""
    text = _QUOTED_LIST.sub("'…'", _QUOTED.sub("'…'", text))
    return " ".join(_HEXADECIMAL.sub("#", _WITH_DIGIT.sub("#", text)).split())


# --- the forms of reasons, the first that fits -----------------------------------------------------------------


def _answered(reason: str, _partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read what a partner said: ``hub.http.classify.raise_for_status`` and the RetailOps client."""
    match = _ANSWERED.match(reason)
    if match is None:
        return None
    asked = match["operation"]
    what = operation if asked == "the webhook" else _operation(asked)
    said = (match["rest"] or "")[2:]
    code = _CODE.search(said)
    said = _CODE.sub("", said)
    error = match["partner"] == "retailops" and bool(match["rest"])
    words = said.removesuffix(", not a success")
    shown = [f"ERROR {words!r}"] if error else [said] if said else []
    varied = normalised(words if error else said)
    # A status and a partner's own code are what the fault is, however many digits they have.
    fixed = [] if error and match["status"] == "200" else [match["status"]]
    coded = [f"code {code[1]}"] if code else []
    key = [f"ERROR {varied!r}"] if error else [varied] if varied else []
    about = (match["partner"], what)
    return Fault(about, " ".join((*fixed, *shown, *coded)), (*about, " ".join((*fixed, *key, *coded))))


def _no_answer(reason: str, _partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read how a connection failed: ``hub.http.session``."""
    match = _NO_ANSWER.match(reason)
    if match is None:
        return None
    stored = (message_type or "").startswith("webhook.")
    last = match["where"].rstrip("/").rsplit("/", 1)[-1].removesuffix(".json")
    return _fault((match["partner"], operation if stored else last), match["what"])


def _unreadable(reason: str, _partner: str, _operation_: str, _type: str | None) -> Fault | None:
    match = _UNREADABLE.match(reason)
    if match is None:
        return None
    return _fault((match["partner"], _operation(match["operation"])), f"{match['what']}, got {match['got']}")


def _in_words(reason: str, partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read the sentences that say the same of every letter but for names in them."""
    if reason.startswith(_BY_BROKER):
        return _fault(
            (_event(message_type) or operation, "set aside by the broker"), reason[len(_BY_BROKER) :]
        )
    if reason.startswith(_UNBOUND):
        # Exchange and key are what the fault is.
        return Fault(("the broker",), reason, ("the broker", reason))
    if reason.startswith(_BY_HAND):
        return _fault((partner, "cancel"), "no such call: a person must cancel it there")
    if reason.startswith(_NOT_SUBMITTED):
        return _fault((partner, operation), _NOT_SUBMITTED)
    return None


def _field(reason: str, partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read which field broke the contract: ``InvalidMessage`` of codec, order and translators."""
    match = _FIELD.match(reason)
    if match is None:
        return None
    if match["field"] == partner:
        return _fault((partner, operation), _without_got(match["rule"]))
    about = (_event(message_type) or _STORED.get(message_type or "") or operation, match["field"])
    rule = _without_got(match["rule"])
    return Fault((*about,), rule, (about[0], _POSITION.sub("#", about[1]), normalised(rule)))


_FORMS: tuple[Callable[[str, str, str, str | None], Fault | None], ...] = (
    _answered, _no_answer, _unreadable, _in_words, _field,
)  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------


def _fault(about: tuple[str, ...], text: str) -> Fault:
    return Fault(about, text, (*about, normalised(text)))


def _work_of(queue: str, message_type: str | None) -> tuple[str, str]:
    """Give partner and operation by the work queue's name; a client's webhook is called by its kind."""
    work = queue.removesuffix(DEAD_SUFFIX)
    stored = _STORED.get(message_type or "")
    if work.startswith(_WEBHOOK_QUEUE):
        return work.removeprefix(_WEBHOOK_QUEUE), stored or _event(message_type) or "webhook"
    parts = work.split(".", 2)
    if len(parts) < 3:
        return "the broker", _event(message_type) or "message"
    return parts[1], stored or parts[2].replace("-", " ")


def _event(message_type: str | None) -> str | None:
    """Give the event type that a message type or routing key begins with."""
    name = message_type or ""
    return next((known for known in EVENT_TYPES if name == known or name.startswith(f"{known}.")), None)


def _operation(asked: str) -> str:
    """Name a call as its people do: ``Vendor/PO/MarkSubmitted`` is ``MarkSubmitted``."""
    path = asked.split("~")[0].split("/")
    if len(path) > 1:
        return path[-1] if path[-1][:1].isupper() else f"{path[-2]} {path[-1]}"
    return asked.removeprefix("an ").removeprefix("a ").strip()


def _without_got(text: str) -> str:
    """What was expected is the fault; what came instead is in the letter."""
    expected, got, _ = text.partition(", got ")
    return expected if got and expected.startswith("expected") else text
