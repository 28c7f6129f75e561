"""What RetailOps' answers mean: done, refused, or later.

What counts as a failure is told by the body as much as by the status: an ``ERROR`` may come with 200 (RetailOps
Interaction Guide for Dropship Integrations). No list of error codes or statuses is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hub.errors import NO_FACTS, ErrorFacts, PartnerContractBroken, PartnerUnavailable
from hub.http.classify import GATEWAY, Policy, Remedy, Said, excerpt_of, raise_for_status
from hub.http.session import Response
from hub.http.text import shape_of, utf8_of
from hub.models.input.quoting import shown_code
from hub.partners.retailops.wire import Answer

PARTNER = "retailops"


def _only(status: int) -> range:
    return range(status, status + 1)


# The statuses of errors are not published, so none but these means anything for sure: 401 and 403 are about the key.
_POLICY: Policy = (
    (range(200, 300), Remedy.DONE),
    *((_only(status), Remedy.RENEW) for status in (401, 403)),
    *((_only(status), Remedy.WAIT) for status in (408, 425, 429)),
    (range(300, 600), Remedy.LATER),
)
# About us or the moment, whatever the body says; the records that were sent have no part in it.
_ABOUT_THE_CALLER = frozenset({401, 403, 408, 425, 429}) | GATEWAY
# About what was sent, whatever the body says: malformed, too large, unprocessable.
_ABOUT_THE_RECORDS = frozenset({400, 413, 422})


class Refused(PartnerUnavailable):
    """RetailOps answered with an error of its own, which may come from one of the records that were sent.

    It passes as unavailable, since no list of codes tells which error is final (the ladder ends in a letter, whose facts
    have text and code). ``already_done`` tells that the text is one of the settings'.
    """

    def __init__(
        self, message: str = "", *, already_done: bool = False, facts: ErrorFacts = NO_FACTS
    ) -> None:
        super().__init__(message, facts=facts)
        self.already_done = already_done


def judge(
    response: Response, action: str, *, already_done: Sequence[str], once: bool, now: datetime
) -> Answer:
    """Return the answer of a call that was carried out.

    Args:
        response: what came.
        action: the path of the call, for messages.
        already_done: parts of error texts, in small letters, that mean that the effect is there.
        once: whether such a text is a success.
        now: date hints are counted from here.

    Raises:
        Refused: an error of RetailOps' own.
        PartnerUnavailable: nobody there, or an answer that cannot be read.
        Throttled: asked for patience.
        Unauthorized: the key is not taken.
    """
    answer = Answer.read(utf8_of(response))
    failed = answer is not None and answer.failed
    already = answer is not None and any(text in answer.error.lower() for text in already_done)
    if answer is not None and already and once:
        return answer
    theirs = response.status not in _ABOUT_THE_CALLER and "Retry-After" not in response.headers
    if theirs and (failed or response.status in _ABOUT_THE_RECORDS):
        said = _said(answer)
        raise Refused(
            f"retailops answered {response.status} to {action}: {said.quoted}",
            already_done=already,
            facts=ErrorFacts(PARTNER, action, response.status, said.code, answer=said.text),
        )
    raise_for_status(
        response,
        partner=PARTNER,
        operation=action,
        policy=_POLICY,
        read=lambda _: _said(answer) if failed else Said(),
        now=now,
    )
    if answer is None:
        raise PartnerUnavailable(
            f"expected a JSON object from retailops to {action}, got {response.status} with {shape_of(response)}",
            facts=ErrorFacts(PARTNER, action, response.status, "unreadable"),
        )
    return answer


def records_of(answer: Answer, action: str) -> tuple[Any, ...]:
    """Return the records of an answer.

    Raises:
        PartnerContractBroken: there is no list: that is no answer, and not the same as none.
    """
    records = answer.records
    if not isinstance(records, list):
        came = "none" if records is None else type(records).__name__
        raise PartnerContractBroken(
            f"expected records as a list from retailops to {action}, got {came}",
            facts=ErrorFacts(PARTNER, action, code="no_records"),
        )
    return tuple(records)


def _said(answer: Answer | None) -> Said:
    """Read what RetailOps says of a failure: its code may be quoted, its text is for the letter alone."""
    if answer is None:
        return Said(quoted="no reason that can be read")
    code, text = shown_code(answer.code or ""), excerpt_of(answer.error)
    quoted = f"an error text of {len(text)} characters" if text else "no error text"
    quoted += f" (code {code})" if code else ""
    return Said(code=code, text=text, quoted=quoted if answer.success else f"{quoted}, not a success")
