"""What a letter of an earlier release died of, read from its reason: it carries no facts of its error.

A reason is a sentence: ``retailops answered 200 to Vendor/PO/MarkSubmitted: vendor 27 not found``. The forms are those
that earlier releases wrote; a reason of another form is its own words under its consumer's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hub.operations.dead_letters.facts import (
    GAVE_UP,
    POSITION,
    STORED,
    Fault,
    event_of,
    normalised,
    operation_of,
    plain_fault,
    without_got,
    work_of,
)

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
_BY_BROKER = "set aside by the broker: "
_UNBOUND = "no queue is bound to "
_BY_HAND = "RetailOps has no call to cancel"
_NOT_SUBMITTED = "not yet submitted"


def read_reason(reason: str, *, queue: str, message_type: str | None) -> Fault:
    """Read a reason.

    Args:
        reason: as the hub wrote it, perhaps cut at its end.
        queue: the work queue it is about.
        message_type: the event or message type, or the routing key where there was none.
    """
    partner, operation = work_of(queue, message_type)
    # How often it was tried is a column of its own; the fault is that of the last attempt.
    reason = GAVE_UP.sub("", reason)
    for read in _FORMS:
        fault = read(reason, partner, operation, message_type)
        if fault is not None:
            return fault
    return plain_fault((partner, operation), without_got(reason))


# --- the forms of reasons, the first that fits -----------------------------------------------------------------


def _answered(reason: str, _partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read what a partner said: ``hub.http.classify.raise_for_status`` and the RetailOps client."""
    match = _ANSWERED.match(reason)
    if match is None:
        return None
    asked = match["operation"]
    what = operation if asked == "the webhook" else operation_of(asked)
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
    return plain_fault((match["partner"], operation if stored else last), match["what"])


def _unreadable(reason: str, _partner: str, _operation_: str, _type: str | None) -> Fault | None:
    match = _UNREADABLE.match(reason)
    if match is None:
        return None
    return plain_fault(
        (match["partner"], operation_of(match["operation"])), f"{match['what']}, got {match['got']}"
    )


def _in_words(reason: str, partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read the sentences that say the same of every letter but for names in them."""
    if reason.startswith(_BY_BROKER):
        return plain_fault(
            (event_of(message_type) or operation, "set aside by the broker"), reason[len(_BY_BROKER) :]
        )
    if reason.startswith(_UNBOUND):
        # Exchange and key are what the fault is.
        return Fault(("the broker",), reason, ("the broker", reason))
    if reason.startswith(_BY_HAND):
        return plain_fault((partner, "cancel"), "no such call: a person must cancel it there")
    if reason.startswith(_NOT_SUBMITTED):
        return plain_fault((partner, operation), _NOT_SUBMITTED)
    return None


def _field(reason: str, partner: str, operation: str, message_type: str | None) -> Fault | None:
    """Read which field broke the contract: ``InvalidMessage`` of codec, order and translators."""
    match = _FIELD.match(reason)
    if match is None:
        return None
    if match["field"] == partner:
        return plain_fault((partner, operation), without_got(match["rule"]))
    about = (event_of(message_type) or STORED.get(message_type or "") or operation, match["field"])
    rule = without_got(match["rule"])
    return Fault((*about,), rule, (about[0], POSITION.sub("#", about[1]), normalised(rule)))


_FORMS: tuple[Callable[[str, str, str, str | None], Fault | None], ...] = (
    _answered, _no_answer, _unreadable, _in_words, _field,
)  # fmt: skip
