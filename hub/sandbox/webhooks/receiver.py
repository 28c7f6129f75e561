"""A webhook client as a local server: four endpoints, its own authentication, strict validation, a memory for every delivery.

Optoro Drop Ship webhooks, overview v1.0.0, and Optoro Disposition Update: POST of JSON, 200 `{"message": "Success"}`, 401 for a
rejected token, 422 with a list of errors. `attempts` holds every delivery that arrived, `received` those that took effect.

    async with WebhookReceiver("acme", auth=OAuth2()) as acme:
        ...  # post to acme.url_of("confirmation")
        assert not acme.violations and not acme.doubled()
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self

import orjson
from aiohttp import web
from standardwebhooks import Webhook as Signature
from standardwebhooks import WebhookVerificationError

from hub.sandbox.fault_injection import (
    Fault,
    Faults,
    Handler,
    answer_arrives,
    fault_of,
    mute,
    throttle_headers,
)
from hub.sandbox.http_server import LocalServer
from hub.sandbox.oauth2 import BearerTokens
from hub.sandbox.request_log import Clock, Records, Refused, RequestRecord, Violation, utc_now
from hub.sandbox.webhooks.authentication import NoAuth, OAuth2, ReceiverAuth, admits
from hub.sandbox.webhooks.schemas import Webhook, faults_of

__all__ = ["PATHS", "Attempt", "DoubledDelivery", "Received", "WebhookReceiver"]

PATHS: Final[dict[Webhook, str]] = {
    "confirmation": "/drop_shipment_confirmation",
    "cancellation": "/drop_shipment_cancellation",
    "partial_cancellation": "/drop_shipment_partial_cancellation",
    "disposition": "/dispositions",
}

_TOKEN_PATH: Final = "/oauth/token"  # noqa: S105  a path
_TOKEN_FORM: Final = frozenset({"grant_type", "client_id", "client_secret"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery that arrived; `status` is None when the connection was cut instead of an answer."""

    at: datetime
    webhook: Webhook
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    status: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery that took effect; `answered` is False when the sender may not have seen the answer."""

    at: datetime
    webhook: Webhook
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    json: dict[str, Any] = field(repr=False)
    answered: bool


@dataclass(frozen=True, slots=True)
class DoubledDelivery:
    """The same body accepted by the same webhook more than once; `unanswered` of these times the answer was lost."""

    webhook: Webhook
    body: bytes = field(repr=False)
    times: int
    unanswered: int

    @property
    def excused(self) -> bool:
        """Whether the sender saw no more than one answer."""
        return self.times - self.unanswered <= 1


@dataclass(slots=True)
class _Scripted:
    """What the next deliveries are answered whatever they carry."""

    status: int
    times: int
    webhook: Webhook | None
    headers: dict[str, str]
    errors: Sequence[Mapping[str, str]]


@dataclass(eq=False)
class WebhookReceiver:
    """One client's endpoints; `signing_secret` asks for Standard Webhooks headers, `token_lifetime` is in seconds."""

    name: str
    auth: ReceiverAuth = field(default_factory=NoAuth, kw_only=True)
    faults: Faults = field(default_factory=Faults, kw_only=True)
    validate: bool = field(default=True, kw_only=True)
    signing_secret: str | None = field(default=None, kw_only=True, repr=False)
    seed: int = field(default=0, kw_only=True)
    token_lifetime: int = field(default=90000, kw_only=True)
    now: Clock = field(default=utc_now, kw_only=True)
    attempts: list[Attempt] = field(default_factory=list, init=False, repr=False)
    received: list[Received] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Build the parts; nothing listens yet."""
        rng = random.Random(f"{self.seed}:{self.name}")
        self._records = Records(self.now)
        self._tokens = BearerTokens(rng, self.now, timedelta(seconds=self.token_lifetime))
        self._script: deque[_Scripted] = deque()
        app = web.Application(middlewares=[self._records.middleware])
        if isinstance(self.auth, OAuth2):
            app.router.add_post(_TOKEN_PATH, self.faults.around("token", self._token, _refuse))
        for webhook, path in PATHS.items():
            app.router.add_post(path, self._noted(webhook, self._endpoint(webhook)))
        self._server = LocalServer(app)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes any free one."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop at once."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        """Listen on a free local port."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop at once."""
        await self.stop()

    @property
    def url(self) -> str:
        """The receiver's address, without a path."""
        return self._server.url

    @property
    def token_url(self) -> str:
        """The address of the receiver's token endpoint; answers 404 unless the authentication is OAuth 2."""
        return f"{self.url}{_TOKEN_PATH}"

    def url_of(self, webhook: Webhook) -> str:
        """Return the full address of one webhook."""
        return f"{self.url}{PATHS[webhook]}"

    def respond(
        self,
        status: int,
        times: int = 1,
        *,
        webhook: Webhook | None = None,
        headers: dict[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Answer the next deliveries, of one webhook or of any, with this status; such a delivery has no effect.

        `errors` are those that a 422 lists, each a `field` and a `code`.
        """
        self._script.append(_Scripted(status, times, webhook, headers or {}, errors))

    def relent(self) -> None:
        """Forget what `respond` asked for: from now on deliveries take effect again."""
        self._script.clear()

    def revoke_tokens(self) -> None:
        """Make every token invalid."""
        self._tokens.revoke()

    @property
    def tokens_issued(self) -> int:
        """How many tokens were given out."""
        return self._tokens.issued

    @property
    def requests(self) -> deque[RequestRecord]:
        """The last requests, oldest first."""
        return self._records.requests

    @property
    def violations(self) -> list[Violation]:
        """Every breach of the documented protocol."""
        return self._records.violations

    def doubled(self) -> list[DoubledDelivery]:
        """Return the deliveries accepted more than once with identical bytes."""
        groups: dict[tuple[Webhook, bytes], list[Received]] = {}
        for delivery in self.received:
            groups.setdefault((delivery.webhook, delivery.body), []).append(delivery)
        return [
            DoubledDelivery(webhook, body, len(times), sum(not delivery.answered for delivery in times))
            for (webhook, body), times in groups.items()
            if len(times) > 1
        ]

    async def _token(self, request: web.Request) -> web.Response:
        """Client credentials in a form, and only this client's."""
        auth = self.auth
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.keys() - {"scope"} != _TOKEN_FORM or form.get("grant_type") != "client_credentials":
            self._records.violation(
                request, "form: grant_type=client_credentials, client_id and client_secret"
            )
            return _json(400, {"error": "invalid_request"})
        pair = (form["client_id"], form["client_secret"])
        if not isinstance(auth, OAuth2) or pair != (auth.client_id, auth.client_secret):
            return _json(401, {"error": "invalid_client"})
        document = {
            "access_token": self._tokens.issue().access_token,
            "token_type": "Bearer",
            "expires_in": self.token_lifetime,
            "scope": auth.scope,
            "created_at": int(self.now().timestamp()),
        }
        return _json(200, document)

    def _noted(self, webhook: Webhook, handler: Handler) -> Handler:
        async def noted(request: web.Request) -> web.StreamResponse:
            at, body = self.now(), await request.read()
            response = await handler(request)
            status = None if mute(fault_of(request)) else response.status
            self.attempts.append(Attempt(at, webhook, body, request.headers, status))
            return response

        return noted

    def _endpoint(self, webhook: Webhook) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            try:
                return self._scripted(webhook) or self._deliver(webhook, request, body)
            except Refused as refusal:
                return _json(refusal.status, {"message": refusal.text})

        return self.faults.around(webhook, handler, _refuse)

    def _scripted(self, webhook: Webhook) -> web.Response | None:
        """Use up one scripted answer."""
        for scripted in self._script:
            if scripted.webhook in {None, webhook}:
                scripted.times -= 1
                if scripted.times <= 0:
                    self._script.remove(scripted)
                listed = {"errors": list(scripted.errors)} if scripted.errors else {}
                return _json(scripted.status, {"message": "As scripted", **listed}, scripted.headers)
        return None

    def _deliver(self, webhook: Webhook, request: web.Request, body: bytes) -> web.Response:
        document = self._checked(request, body)
        faults = faults_of(webhook, body) if self.validate else []
        for fault in faults:
            self._records.violation(request, f"{fault['field']}: {fault['code']}")
        if faults:
            return _json(422, {"message": "Validation Failed", "errors": faults})
        answered = answer_arrives(request)
        self.received.append(Received(self.now(), webhook, body, request.headers, document, answered))
        return _json(200, {"message": "Success"})

    def _checked(self, request: web.Request, body: bytes) -> dict[str, Any]:
        """Check sender, media type, signature and syntax, in this order."""

        def note(what: str) -> None:
            self._records.violation(request, what)

        if not admits(self.auth, self._tokens, request):
            raise Refused(401, "Unauthorized")
        if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
            note("Content-Type: application/json in UTF-8 is documented")
            raise Refused(415, "Unsupported media type")
        self._check_signature(request, body)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            note("body: not a JSON object")
            raise Refused(400, "Bad request")
        return document

    def _check_signature(self, request: web.Request, body: bytes) -> None:
        if self.signing_secret is None:
            return
        try:
            Signature(self.signing_secret).verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            self._records.violation(request, "signature: wrong, too old or left out")
            raise Refused(400, "Invalid signature") from error


def _json(status: int, document: object, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps(document)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _refuse(fault: Fault, wait: timedelta) -> web.Response:
    """Word a refusal in JSON, as webhook receivers do."""
    if fault is Fault.unauthorized:
        return _json(401, {"message": "Unauthorized"})
    if fault is Fault.unavailable:
        return _json(503, {"message": "Service Unavailable"})
    return _json(429, {"message": "Too Many Requests"}, throttle_headers(fault, wait))
