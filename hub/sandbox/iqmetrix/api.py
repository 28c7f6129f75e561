"""The HTTP face of the simulated iQmetrix: routes, headers, tokens, answers.

iQmetrix Supplier Orders reference, 25-01-2016; Authentication reference, 15-04-2016; Supplier Availability reference, 23-03-2016;
Rate Limiting page, 23-03-2016. Checks run in this order: token, headers, supplier, body, order. What the documents leave open
(a wrong Accept or Content-Type) is answered 406 and 415, and recorded as a violation.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import orjson
from aiohttp import web

from hub.sandbox.fault_injection import Fault, Faults, Handler, answer_arrives, fault_of
from hub.sandbox.iqmetrix.audit import Ledger
from hub.sandbox.iqmetrix.notifications import NotificationFeed
from hub.sandbox.iqmetrix.orders import uuid_text
from hub.sandbox.iqmetrix.updates import OrderUpdate, read_availability, read_update
from hub.sandbox.oauth2 import BearerTokens, Grant
from hub.sandbox.request_log import Records, Refused

__all__ = ["Credentials", "IqmetrixApi"]

ATOM_TYPE: Final = "application/atom+xml"
JSON_TYPE: Final = "application/json"
FORM_TYPE: Final = "application/x-www-form-urlencoded"

# Rate Limiting page: the sample's limit, in windows of about a minute. It is shown and never enforced.
_RATE_LIMIT: Final = 1000
_RATE_WINDOW: Final = timedelta(minutes=1)

# Availability pushes of a large catalog are larger than aiohttp's default of 1 MiB.
_MAX_BODY_BYTES: Final = 32 * 1024 * 1024

_GRANT_FIELDS: Final = {
    "password": frozenset({"grant_type", "username", "password", "client_id", "client_secret"}),
    "refresh_token": frozenset({"grant_type", "refresh_token", "client_id", "client_secret"}),
}

_Answer = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the token service knows of its one user and its one client."""

    username: str
    password: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(eq=False)
class IqmetrixApi:
    """All endpoints of one supplier's simulated partner."""

    supplier_id: int
    credentials: Credentials
    tokens: BearerTokens
    feed: NotificationFeed
    ledger: Ledger
    records: Records
    faults: Faults
    rng: random.Random
    etag: bool
    item_paths: Counter[str] = field(default_factory=Counter)
    availability: dict[str, int | None] = field(default_factory=dict)
    _window: tuple[int, int] = (0, 0)

    def application(self) -> web.Application:
        """Build the web application."""
        app = web.Application(middlewares=[self.records.middleware], client_max_size=_MAX_BODY_BYTES)
        supplier = "/v1/Suppliers({supplier_id})"
        order = f"{supplier}/Orders({{order_id}})"
        app.router.add_post("/v1/oauth2/token", self._endpoint("token", self._token))
        app.router.add_get(f"{supplier}/Notifications", self._endpoint("feed", self._feed), allow_head=False)
        page = self._endpoint("feed/page", self._page)
        app.router.add_get(f"{supplier}/Notifications/Pages({{page_id}})", page, allow_head=False)
        app.router.add_put(f"{order}/OrderStatusUpdate", self._endpoint("orders/update", self._update))
        app.router.add_put(f"{order}/ItemStatusUpdate", self._endpoint("items/update", self._update))
        app.router.add_post(f"{supplier}/Availability", self._endpoint("availability", self._availability))
        app.on_response_prepare.append(self._show_rate)
        return app

    def _endpoint(self, name: str, answer: _Answer) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                if name != "token":
                    self._check_token(request)
                return await answer(request)
            except Refused as refusal:
                return web.Response(status=refusal.status, text=refusal.text)

        return self.faults.around(name, handler)

    async def _token(self, request: web.Request) -> web.Response:
        if request.content_type != FORM_TYPE:
            self.records.violation(request, "Content-Type: the token endpoint takes a form")
            return _error("unsupported_grant_type")
        form = {name: str(value) for name, value in (await request.post()).items()}
        known = _GRANT_FIELDS.get(form.get("grant_type", ""))
        if known is None:
            return _error("unsupported_grant_type")
        for name in sorted(form.keys() ^ known):
            self.records.violation(request, f"{name}: missing from or not documented for this grant")
        mine = self.credentials
        if (form.get("client_id"), form.get("client_secret")) != (mine.client_id, mine.client_secret):
            return _error("invalid_client")
        grant = self._grant(form)
        if grant is None:
            return _error("invalid_grant")
        document = {
            "access_token": grant.access_token,
            "expires_in": int(self.tokens.lifetime.total_seconds()),
            "refresh_token": grant.refresh_token,
        }
        return _json(200, document)

    def _grant(self, form: dict[str, str]) -> Grant | None:
        if form["grant_type"] == "refresh_token":
            return self.tokens.refresh(form.get("refresh_token", ""))
        mine = self.credentials
        if (form.get("username"), form.get("password")) != (mine.username, mine.password):
            return None
        return self.tokens.issue()

    async def _feed(self, request: web.Request) -> web.Response:
        self._check(request, ATOM_TYPE)
        return self._atom(request, self.feed.read_current(fault_of(request) is Fault.rolled_over))

    async def _page(self, request: web.Request) -> web.Response:
        self._check(request, ATOM_TYPE)
        return self._atom(request, self.feed.read_page(request.match_info["page_id"]))

    async def _update(self, request: web.Request) -> web.Response:
        self._check(request, JSON_TYPE)
        order_id, path = request.match_info["order_id"], request.path.rpartition("/")[2]
        body = await request.read()
        update = read_update(body, order_id, lambda what: self.records.violation(request, what))
        if update.every_line is None:
            self.item_paths[path] += 1
        elif path == "ItemStatusUpdate":
            self.records.violation(request, "body: an order update sent to the item path")
            raise Refused(400, "The request is invalid")
        if order_id not in self.ledger.orders:
            raise Refused(404, "Not found")
        self._apply(request, order_id, path, update, body)
        return _json(202, update.echo)

    def _apply(
        self, request: web.Request, order_id: str, path: str, update: OrderUpdate, body: bytes
    ) -> None:
        answered = answer_arrives(request)
        touched = self.ledger.apply(order_id, update, path, body, answered)
        if update.every_line is None and len(touched) > len(update.lines):
            self.records.violation(request, "CatalogId: left out where two lines have one SKU")
        for line, state in touched:
            if state.quantity is not None and not 0 <= state.quantity <= line.quantity:
                self.records.violation(request, "Quantity: not between 0 and the ordered quantity")
        self.feed.add_status(self.ledger.orders[order_id], touched, self.records.now())

    async def _availability(self, request: web.Request) -> web.Response:
        self._check(request, JSON_TYPE)
        products = read_availability(await request.read(), lambda what: self.records.violation(request, what))
        for product in products:
            self.availability[product["Sku"]] = product["Quantity"] if product["IsAvailable"] else None
        return _json(202, {"Id": uuid_text(self.rng), "Products": products})

    def _check_token(self, request: web.Request) -> None:
        authorization = request.headers.get("Authorization")
        if self.tokens.accepts(authorization):
            return
        if authorization is None:
            self.records.violation(request, "Authorization: left out")
        raise Refused(401, "Invalid token")

    def _check(self, request: web.Request, media_type: str) -> None:
        """Check everything that all calls share, and refuse what is wrong."""
        if "%" in request.raw_path.partition("?")[0] or request.query_string:
            self.records.violation(
                request, "path: literal parentheses and no query parameters are documented"
            )
        accepted = {
            part.partition(";")[0].strip().lower() for part in request.headers.get("Accept", "").split(",")
        }
        if media_type not in accepted:
            self.records.violation(request, f"Accept: {media_type} is documented")
            raise Refused(406, "Not acceptable")
        if request.method != "GET" and request.content_type != JSON_TYPE:
            self.records.violation(request, f"Content-Type: {JSON_TYPE} is documented")
            raise Refused(415, "Unsupported media type")
        if request.match_info["supplier_id"] != str(self.supplier_id):
            raise Refused(400, "Cannot find supplier identifier in the uri")

    def _atom(self, request: web.Request, document: bytes) -> web.Response:
        headers = {"Content-Type": f"{ATOM_TYPE}; charset=utf-8"}
        if self.etag:
            headers["ETag"] = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers={"ETag": headers["ETag"]})
        return web.Response(body=document, headers=headers)

    async def _show_rate(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put the rate limit headers on every answer, but for the faults that are defined by their absence."""
        if fault_of(request) in {Fault.throttled_retry_after, Fault.throttled_bare}:
            return
        now, seconds = self.records.now(), int(_RATE_WINDOW.total_seconds())
        window, elapsed = divmod(int(now.timestamp()), seconds)
        used = self._window[1] + 1 if self._window[0] == window else 1
        self._window = (window, used)
        named = response.headers.get("X-RateLimit-ResetSeconds")
        wait = int(named) if named else seconds - elapsed
        reset = (now + timedelta(seconds=wait)).replace(microsecond=0)
        response.headers["X-RateLimit-Limit"] = str(_RATE_LIMIT)
        # A client that slows down on its own when little is left must not stall: the limit is not enforced.
        response.headers["X-RateLimit-Remaining"] = "0" if named else str(max(1, _RATE_LIMIT - used))
        response.headers["X-RateLimit-Reset"] = reset.strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
        response.headers["X-RateLimit-ResetSeconds"] = str(wait)


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type=JSON_TYPE)


def _error(code: str) -> web.Response:
    return _json(400, {"error": code})
