"""How the simulated RetailOps words its answers: the success and error envelopes, loosely typed when asked to be.

The general envelope of the RetailOps API: `{"success": 1, ...}`, or `{"ERROR": text, "ERRORCODE": code}`. The RetailOps Interaction
Guide for Dropship Integrations prints neither texts nor codes nor HTTP statuses of errors, so all of these are invented.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
from aiohttp import web

from hub.sandbox.fault_injection import Fault, throttle_headers

__all__ = ["ApiError", "Dialect", "Flaw", "RetailopsFault", "error_answer", "misanswer", "refuse_in_envelope"]

_JSON_TYPE: Final = "application/json"


class RetailopsFault(StrEnum):
    """What goes wrong at RetailOps only, always with HTTP 200 and nothing done; scripted, never by chance."""

    error_200 = "error_200"
    """An error envelope."""
    unsuccessful = "unsuccessful"
    """`success` is 0 and no `ERROR` is named."""
    html = "html"
    """An HTML page, as a proxy in maintenance answers."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a call or one of its records is refused."""

    text: str
    code: str


class ApiError(Exception):
    """The call is refused with this text and code, and nothing was done unless the text says so."""

    def __init__(self, text: str, code: str = "1001") -> None:
        """Keep the answer; 1001 is the code of everything that cannot be read."""
        super().__init__(text)
        self.flaw = Flaw(text, code)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How loosely the answers are typed: clients report each of these from the product's API.

    `success` is the flag of a good answer: 1, "1" or true. `numbers_as_strings` writes every number of a record as text.
    `null_errorcode` adds `"ERRORCODE": "null"` to good answers.
    """

    success: int | str | bool = 1
    numbers_as_strings: bool = False
    null_errorcode: bool = False

    def succeed(self, fields: dict[str, Any]) -> web.Response:
        """Word a good answer."""
        envelope: dict[str, Any] = {"success": self.success}
        if self.null_errorcode:
            envelope["ERRORCODE"] = "null"
        return _json(200, envelope | (_loosened(fields) if self.numbers_as_strings else fields))


def error_answer(flaw: Flaw, status: int) -> web.Response:
    """Word a refusal."""
    return _json(status, {"ERROR": flaw.text, "ERRORCODE": flaw.code})


def misanswer(fault: RetailopsFault) -> web.Response:
    """Answer with HTTP 200 what is no success."""
    match fault:
        case RetailopsFault.error_200:
            return error_answer(Flaw("internal error, try again later", "1000"), 200)
        case RetailopsFault.unsuccessful:
            return _json(200, {"success": 0})
        case RetailopsFault.html:
            page = "<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"
            return web.Response(text=page, content_type="text/html")


def refuse_in_envelope(fault: Fault, wait: timedelta) -> web.Response:
    """Word an injected refusal: an error envelope, but for 503, which a proxy in front words as HTML."""
    if fault is Fault.unavailable:
        return web.Response(status=503, text="<h1>503 Service Unavailable</h1>", content_type="text/html")
    if fault is Fault.unauthorized:
        return error_answer(Flaw("invalid apikey", "1010"), 401)
    answer = error_answer(Flaw("too many requests", "1029"), 429)
    answer.headers.update(throttle_headers(fault, wait))
    return answer


def _loosened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _loosened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_loosened(inner) for inner in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type=_JSON_TYPE)
