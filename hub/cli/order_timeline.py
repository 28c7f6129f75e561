"""An order's timeline in words: one line for each thing that happened, on the clock of this machine.

Both directions are in it: seen at the partner and published, then each attempt of each consumer, waits, dead letters, and
what operators did to them. The words come from the facts that ``hub.messaging.timeline``, ``hub.amqp.receiving.consumer`` and
``hub.cli.dead_letters.audit`` write; an entry of another kind shows its facts as they are. ``#2`` is the second attempt of a budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from hub.cli.output.printing import clock, flow_of
from hub.cli.output.tables import Column
from hub.models.settlement import SettlementState
from hub.operations.dead_letters.legacy import read_reason
from hub.state.protocols import TimelineEntry

COLUMNS = (Column("at"), Column("where"), Column("what"), Column("took"))
ON_TERMINAL = (
    Column("time", "number"),
    Column("where", "short"),
    Column("what", "line"),
    Column("took", "number"),
)
_FAILED = (SettlementState.WAITING, SettlementState.DEAD)
_ATTEMPTS = tuple(SettlementState)


def rows(entries: Sequence[TimelineEntry]) -> list[Sequence[Any]]:
    """Return a row for each entry in the order of ``COLUMNS``."""
    return [(entry.at, where(entry), what(entry), took(entry)) for entry in entries]


def rows_by_day(entries: Sequence[TimelineEntry]) -> Iterator[Sequence[Any]]:
    """Yield the rows with times of day, and a row with date and zone wherever a new day begins."""
    day: date | None = None
    for entry in entries:
        moment = entry.at.astimezone()
        if moment.date() != day:
            day = moment.date()
            yield (moment.strftime("%Y-%m-%d %Z"), "", "", "")
        yield (moment.strftime("%H:%M:%S"), where(entry), what(entry), took(entry))


def last_failure(entries: Sequence[TimelineEntry]) -> str | None:
    """Return the whole reason of the last attempt's failure, if the last attempt of some queue failed."""
    last = {entry.facts.get("queue"): entry for entry in entries if entry.what in _ATTEMPTS}
    failed = [entry for entry in last.values() if entry.what in _FAILED]
    if not failed:
        return None
    newest = max(failed, key=lambda entry: entry.at)
    return f"{where(newest)}: {newest.facts.get('note')}"


def where(entry: TimelineEntry) -> str:
    """Return the flow of the queue, or the poller that saw it, with its partner."""
    return flow_of(_text(entry.facts, "queue") or _text(entry.facts, "poller").split(":")[0])


def took(entry: TimelineEntry) -> str:
    """Say how long an attempt took."""
    milliseconds = entry.facts.get("milliseconds")
    if not isinstance(milliseconds, int | float):
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def what(entry: TimelineEntry) -> str:
    """Say what happened."""
    facts = entry.facts
    match entry.what:
        case "seen":
            return f"seen: {facts.get('type')}"
        case "published":
            return f"published {facts.get('type')}"
        case SettlementState.DONE:
            again = " after a replay" if facts.get("replays") else ""
            return f"{_attempt(facts)} done{again}: {facts.get('note') or 'nothing to tell'}"
        case SettlementState.WAITING:
            return f"{_attempt(facts)} {_wait(facts)}: {_fault(facts)}"
        case SettlementState.DEAD:
            return f"{_attempt(facts)} dead letter: {_fault(facts)}"
        case "likely duplicate":
            return f"package {facts.get('package_id')} is likely {facts.get('like')} once more"
        case "other spelling":
            return f"{facts.get('type')} names {facts.get('said')}, taken for line {facts.get('line_id')}"
        case action if action.startswith("letter "):
            why = f": {facts['why']}" if facts.get("why") else ""
            return f"{action} by {facts.get('by', 'somebody')}{why}"
        case other:
            return ", ".join((other, *(f"{key}={value}" for key, value in facts.items())))


def _attempt(facts: Mapping[str, Any]) -> str:
    return f"#{facts.get('attempt', '?')}"


def _wait(facts: Mapping[str, Any]) -> str:
    """Say when it is tried again; a wait behind somebody else, or for what is away, is no failure."""
    verb = "parked" if facts.get("parked") else "failed"
    try:
        until = datetime.fromisoformat(_text(facts, "until"))
    except ValueError:
        return verb
    return f"{verb}, again {clock(until)}"


def _fault(facts: Mapping[str, Any]) -> str:
    """Return the reason in short; partner and consumer stand beside it already."""
    queue = _text(facts, "queue")
    fault = read_reason(_text(facts, "note"), queue=queue, message_type=_text(facts, "type"))
    about = [words for words in fault.about if words.replace(" ", "-") not in queue.split(".")]
    return " · ".join((*about, fault.text)) if fault.text else " · ".join(about)


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""
