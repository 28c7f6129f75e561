"""The HTTP face of the simulated RetailOps: actions, key, envelope, batches.

RetailOps Interaction Guide for Dropship Integrations: POST of JSON with an `apikey` header; an action's name with slashes, its
version, `.json`, in any case. Checks run in this order: action, verb, key, media type, body, each record. The guide prints no
answers: what is refused, and how one bad record treats its batch, are settings or rulings of this file.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from hub.sandbox.fault_injection import Fault, Faults, Handler, answer_arrives
from hub.sandbox.request_log import Records
from hub.sandbox.retailops.actions import Action, Asked
from hub.sandbox.retailops.bodies import read_object
from hub.sandbox.retailops.envelope import (
    ApiError,
    Dialect,
    RetailopsFault,
    error_answer,
    misanswer,
    refuse_in_envelope,
)

__all__ = ["ApiCall", "RetailopsApi"]

# Action in lower case: the operation, and its version. The guide leaves the version out of every PO call.
_ACTIONS: Final = {
    "vendor/po/fetch": ("Fetch", "1"),
    "vendor/po/marksubmitted": ("MarkSubmitted", "1"),
    "vendor/po/markaccepted": ("MarkAccepted", "1"),
    "vendor/po/updateestshipdate": ("UpdateEstShipDate", "1"),
    "vendor/po/complete": ("Complete", "1"),
    "constant/ship/carrierclass/fetch": ("CarrierClass", "1"),
    "product/externalsku/update": ("ExternalSku", "2"),
}

_PATH: Final = re.compile(r"/(?P<action>[a-z/]+)(?:~(?P<version>\d+))?\.json")

_JSON_TYPE: Final = "application/json"

# A thousand records with many lines are larger than aiohttp's default of 1 MiB.
_MAX_BODY_BYTES: Final = 32 * 1024 * 1024

# As many as requests are kept.
_CALLS_KEPT: Final = 20_000

Script = Fault | RetailopsFault | None


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call that reached its action: how many records it carried (a fetch: answered), and the text of a refusal."""

    at: datetime
    operation: str
    records: int
    error: str | None


@dataclass(eq=False)
class RetailopsApi:
    """All actions of one vendor account's simulated partner."""

    api_key: str = field(repr=False)
    actions: Mapping[str, Action]
    records: Records
    faults: Faults
    dialect: Dialect
    error_status: int
    made: deque[ApiCall] = field(default_factory=lambda: deque(maxlen=_CALLS_KEPT))
    injected: Counter[tuple[str, RetailopsFault]] = field(default_factory=Counter)
    _scripts: dict[str, deque[Script]] = field(default_factory=dict, repr=False)
    _open: list[tuple[str, web.Request]] = field(default_factory=list, repr=False)
    _endpoints: dict[str, Handler] = field(default_factory=dict, repr=False)

    def application(self) -> web.Application:
        """Build the web application."""
        for operation, action in self.actions.items():
            self._endpoints[operation] = self._endpoint(operation, action)
        app = web.Application(middlewares=[self.records.middleware], client_max_size=_MAX_BODY_BYTES)
        # One route for all: aiohttp compares paths with regard to case, and RetailOps does not.
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        return app

    def script(self, operation: str, faults: Iterable[Script]) -> None:
        """Say what the next requests for this operation meet, one element each; None is a request that goes well."""
        if operation not in self._endpoints:
            raise ValueError(f"no operation {operation!r}: expected one of {', '.join(self._endpoints)}")
        self._scripts.setdefault(operation, deque()).extend(faults)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        operation = self._operation(request)
        with self._in_flight(request):
            script = self._scripts.get(operation)
            if script:
                fault = script.popleft()
                if isinstance(fault, RetailopsFault):
                    self.injected[operation, fault] += 1
                    return misanswer(fault)
                self.faults.script(operation, [fault])
            return await self._endpoints[operation](request)

    def _operation(self, request: web.Request) -> str:
        if "%" in request.raw_path.partition("?")[0]:
            self.records.violation(request, "path: printed literally in the documents, not percent-encoded")
        parts = _PATH.fullmatch(request.path.lower())
        known = _ACTIONS.get(parts["action"]) if parts else None
        if parts is None or known is None:
            self.records.violation(request, "path: no such action is documented")
            raise web.HTTPNotFound
        operation, version = known
        if parts["version"] not in {None, version}:
            self.records.violation(request, f"version: ~{version} is documented")
            raise web.HTTPNotFound
        if parts["version"] is None and version != "1":
            self.records.violation(request, f"version: left out where ~{version} is documented")
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        return operation

    @contextmanager
    def _in_flight(self, request: web.Request) -> Iterator[None]:
        """Watch that a key has one request in flight: no rate limit is documented, so a client must not try it."""
        key = request.headers.get("apikey", "")
        # A client that hung up may ask again while its last request is still being worked on.
        if any(other == key and _is_heard(earlier) for other, earlier in self._open):
            self.records.violation(request, "a second request of this key while one is in flight")
        entry = (key, request)
        self._open.append(entry)
        try:
            yield
        finally:
            self._open.remove(entry)

    def _endpoint(self, operation: str, action: Action) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            document: dict[str, Any] = {}
            answer: dict[str, Any] = {}
            error: str | None = None
            body = await request.read()
            note = partial(self.records.violation, request)
            try:
                self._check(request)
                document = read_object(body, note)
                answer = action(Asked(document, answer_arrives(request), note))
                return self.dialect.succeed(answer)
            except ApiError as refusal:
                error = refusal.flaw.text
                return error_answer(refusal.flaw, self.error_status)
            finally:
                self.made.append(ApiCall(self.records.now(), operation, _count(answer or document), error))

        return self.faults.around(operation, handler, refuse_in_envelope)

    def _check(self, request: web.Request) -> None:
        """Check what all calls share, and refuse what is wrong."""
        if request.query_string:
            self.records.violation(
                request, "query: no parameters are documented, and a key there ends up in logs"
            )
        key = request.headers.get("apikey")
        if key is None:
            self.records.violation(request, "apikey: the header is left out")
        if key != self.api_key:
            raise ApiError("invalid apikey", "1010")
        if request.content_type != _JSON_TYPE:
            self.records.violation(request, f"Content-Type: {_JSON_TYPE} is documented")
            raise ApiError("invalid content type")


def _count(document: dict[str, Any]) -> int:
    records = document.get("records")
    return len(records) if isinstance(records, list) else 1


def _is_heard(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
