"""The calls to iQmetrix Dropship: reading the feed, telling order and item states, pushing availability.

Paths, verbs and headers are those of the iQmetrix Supplier Orders reference, 25-01-2016, and the Supplier Availability
reference, 23-03-2016. Links in the feed may carry another host (the printed sandbox sample names production), so a
page is always asked for below the configured base URL, and the token goes nowhere else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote, unquote, urlsplit

import orjson

from hub.config.settings import Iqmetrix
from hub.errors import ErrorFacts, PartnerContractBroken, PartnerRejected, PartnerUnavailable
from hub.http.auth import TokenAuthorizer
from hub.http.call import send_authorized
from hub.http.classify import Said, raise_for_status, text_said
from hub.http.measure import Measured
from hub.http.session import HttpSession, Response
from hub.http.text import shape_of, utf8_of
from hub.http.tokens import Token, fetch_token
from hub.partners.iqmetrix.feed import Page, PageUnreadable, parse_page
from hub.partners.iqmetrix.page_text import is_large
from hub.partners.iqmetrix.wire import Availability, ItemStatusUpdate, OrderStatusUpdate
from hub.process.lifecycle import Resources

_PARTNER = "iqmetrix"
_ATOM = "application/atom+xml"
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
# Bytes of the answer to an update: it is looked at, and quoted in error texts.
_ANSWER_BYTES = 64 * 1024
_HOST = ".iqmetrix.net"
# What iQmetrix says of errors (Supplier Orders reference, 25-01-2016; Rate Limiting reference, 23-03-2016).
_DOCUMENTED = {
    "cannot find supplier identifier in the uri": "unknown_supplier",
    "not found": "not_found",
    "rate limit exceeded": "rate_limit_exceeded",
}
# The end of a path that leads to a page; the supplier may be left out by a relative link.
_PAGE_PATH = re.compile(
    r"^(?:.*?/)?(?:Suppliers\('?(?P<supplier>\d+)'?\)/)?(?:Notifications(?:/(?=Pages\()|/?$))?"
    r"(?:Pages\((?P<page>[^()/?#\s]{1,200})\)/?)?$",
    re.IGNORECASE,
)
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([A-Za-z0-9._:-]{1,40})""", re.IGNORECASE)
# Percent-encoded where no need is: the same address (RFC 3986, 6.2.2.2).
_PARENTHESES = re.compile(r"%2[789]")


class PageRefused(PartnerRejected):
    """iQmetrix does not accept the id of this page (400): the way to it must be found again from the current page."""


class PageMissing(PartnerRejected):
    """iQmetrix has no such page (404 or 410), although another page links to it."""


@dataclass(frozen=True, slots=True)
class PageResponse:
    """The current page, and the validators to ask with next time (``etag``, ``last_modified``; as far as given)."""

    page: Page
    validators: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotModified:
    """The current page is as it was when the validators were given."""


# Name in the cursor, header that gave it, header that asks with it (RFC 9110, section 13).
_VALIDATORS = (
    ("etag", "ETag", "If-None-Match"),
    ("last_modified", "Last-Modified", "If-Modified-Since"),
)


class IqmetrixClient:
    """Speaks to iQmetrix for one supplier account.

    Every call raises ``PartnerUnavailable``, ``Throttled`` or ``Unauthorized`` (with a pause, when the credentials
    are refused) for what may pass, ``PartnerRejected`` for what will not.

    Args:
        settings: of the account.
        session: connections; absent: own ones.
        now: the time that date hints in answers are counted from.
    """

    def __init__(
        self,
        settings: Iqmetrix,
        session: HttpSession | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self._session = session or HttpSession(
            _PARTNER, timeout=settings.timeout, paths_below=settings.base_url
        )
        self._now = now
        # Obtained anew each time: a refresh would revoke the access token that other processes may still use, while
        # a new password grant leaves the earlier ones valid (iQmetrix Authentication reference, 15-04-2016).
        self._authorizer = TokenAuthorizer(self._fetch_token)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def current_page(self, validators: Mapping[str, str] | None = None) -> PageResponse | NotModified:
        """Read the current page of the feed; its links come back as paths for ``page``.

        Args:
            validators: what the answer to an earlier call gave; only these are asked with, since none are documented.

        Raises:
            PartnerContractBroken: it is no Atom page within the limits, or it links elsewhere.
        """
        asked = {
            header: validators[name] for name, _, header in _VALIDATORS if validators and validators.get(name)
        }
        with Measured(_PARTNER, "Notifications"):
            response = await self._get(self._url(f"{self._supplier}/Notifications"), asked)
            if response.status == 304 and asked:
                return NotModified()
            self._check(response, "reading the current feed page")
            given = {
                name: response.headers[source]
                for name, source, _ in _VALIDATORS
                if source in response.headers
            }
            return PageResponse(await self._page_of(response), given)

    async def page(self, href: str) -> Page:
        """Read a page by the link that another page has to it.

        Raises:
            PageRefused: iQmetrix does not accept its id.
            PageMissing: it is not there.
            PartnerContractBroken: it is no Atom page within the limits, or the link leads elsewhere.
        """
        address = self.rebase(href)
        with Measured(_PARTNER, "Notifications/Pages"):
            response = await self._get(address, {})
            if response.status == 400:
                raise PageRefused("iqmetrix refused a feed page (400)", facts=_page_facts(400))
            if response.status in (404, 410):
                raise PageMissing(
                    f"iqmetrix has no such feed page ({response.status})",
                    facts=_page_facts(response.status),
                )
            self._check(response, "reading a feed page")
            return await self._page_of(response)

    async def raw_page(self, href: str | None) -> bytes:
        """Read a page as it is, for a person; None: the current one.

        Raises:
            PartnerContractBroken: longer than allowed, or the link leads elsewhere.
        """
        address = self.rebase(href) if href else self._url(f"{self._supplier}/Notifications")
        response = await self._get(address, {})
        self._check(response, "reading a feed page")
        return response.body

    def rebase(self, href: str) -> str:
        """Return the address below the configured base URL for a link of the feed.

        Raises:
            PartnerContractBroken: the link leads to another host, another supplier, or no feed page.
        """
        return self._url(self.path_of(href))

    def path_of(self, href: str) -> str:
        """Return the path of a feed page below the base URL: the same whatever host a link names.

        Raises:
            PartnerContractBroken: see ``rebase``.
        """
        try:
            parts = urlsplit(href)
            host = parts.hostname
        except ValueError:
            raise PartnerContractBroken(
                "expected a link to a feed page, got one that is no address"
            ) from None
        own = urlsplit(self.settings.base_url).hostname
        if host is not None and host != own and not host.endswith(_HOST):
            raise PartnerContractBroken(f"expected a link to {own} or *{_HOST}, got one to another host")
        path = _PARENTHESES.sub(lambda found: unquote(found[0]), parts.path)
        match = _PAGE_PATH.match(path)
        is_a_page = match is not None and ("notifications" in path.lower() or match["page"])
        # An address with a host must say whose feed it is.
        supplier = match["supplier"] if match is not None else None
        whole = host is not None or parts.path.startswith("/")
        if not is_a_page or parts.scheme not in ("", "http", "https") or (whole and supplier is None):
            raise PartnerContractBroken(
                "expected a link to …/Suppliers(id)/Notifications/Pages(id), got another one"
            )
        if supplier is not None and supplier != self.settings.account:
            raise PartnerContractBroken(
                f"expected a link to the feed of supplier {self.settings.account}, got {supplier}"
            )
        page = match["page"] if match is not None else None
        return f"{self._supplier}/Notifications" + (f"/Pages({page})" if page else "")

    async def update_order(self, order_id: str, body: OrderStatusUpdate) -> None:
        """Report the state of a whole order; may be repeated, since ``PUT`` replaces. A 2xx with an object or no body is a success."""
        path = self._order(order_id, "OrderStatusUpdate")
        with Measured(_PARTNER, "OrderStatusUpdate"):
            await self._send("PUT", path, body.encode(), "an order status update")

    async def update_items(self, order_id: str, body: ItemStatusUpdate) -> None:
        """Report the states of single items; may be repeated. A 2xx with an object or no body is a success.

        The last segment of the path is printed in three ways by the references, hence the setting.
        """
        path = self._order(order_id, self.settings.item_status_path)
        with Measured(_PARTNER, "ItemStatusUpdate"):
            await self._send("PUT", path, body.encode(), "an item status update")

    async def push_availability(self, products: Availability) -> None:
        """Push stock counts; repeating the same counts does no harm. A 2xx with an object or no body is a success."""
        path = f"{self._supplier}/Availability"
        with Measured(_PARTNER, "Availability"):
            await self._send("POST", path, products.encode(), "an availability push")

    @property
    def _supplier(self) -> str:
        return f"Suppliers({self.settings.supplier_id})"

    def _order(self, order_id: str, segment: str) -> str:
        # Quoted: an id is opaque and must not lead to another path.
        return f"{self._supplier}/Orders({quote(order_id, safe='')})/{segment}"

    def _url(self, path: str) -> str:
        return f"{self.settings.base_url}/{path}"

    async def _get(self, url: str, conditions: Mapping[str, str]) -> Response:
        return await send_authorized(
            self._session,
            self._authorizer,
            "GET",
            url,
            headers={"Accept": _ATOM, **conditions},
            body=None,
            read_at_most=self.settings.limits.page_bytes,
            compressed_at_most=self.settings.limits.compressed_bytes,
            overflow="error",
        )

    async def _send(self, method: str, path: str, body: bytes, operation: str) -> None:
        response = await send_authorized(
            self._session,
            self._authorizer,
            method,
            self._url(path),
            headers=_JSON,
            body=body,
            read_at_most=_ANSWER_BYTES,
            body_for_errors_only=True,
        )
        self._check(response, operation)
        if not is_taken(response):
            raise PartnerUnavailable(
                f"expected no body or a JSON object from iqmetrix to {operation}, got {response.status} with"
                f" {shape_of(response)}",
                facts=ErrorFacts(_PARTNER, operation, response.status, "unreadable"),
            )

    def _check(self, response: Response, operation: str) -> None:
        raise_for_status(response, partner=_PARTNER, operation=operation, read=_said, now=self._now())

    def _page_path(self, href: str | None) -> str | None:
        """Return the path of a page; the current one may name the subscription document, which every other is named too."""
        path = None
        if href:
            # Never followed, so one that leads elsewhere does no harm.
            with suppress(PartnerContractBroken):
                path = self.path_of(href)
        return path if path and path.endswith(")") else None

    async def _page_of(self, response: Response) -> Page:
        body, charset = response.body, charset_of(response.headers)
        try:
            read = partial(parse_page, body, self.settings.limits, charset)
            page = await asyncio.to_thread(read) if is_large(body) else read()
        except PageUnreadable as broken:
            # Of its links the older page alone leads on.
            prev = self._page_path(broken.links.get("prev-archive"))
            broken.links = {} if prev is None else {"prev-archive": prev}
            raise
        return replace(
            page,
            self_href=self._page_path(page.self_href),
            prev_href=self.path_of(page.prev_href) if page.prev_href else None,
            next_href=self._page_path(page.next_href),
        )

    async def _fetch_token(self) -> Token:
        """Password grant with client credentials, form-encoded (iQmetrix Authentication reference, 15-04-2016)."""
        settings = self.settings
        fields = {
            "grant_type": "password",
            "username": settings.username,
            "password": settings.password.get_secret_value(),
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
        }
        return await fetch_token(self._session, settings.token_url, fields, partner=_PARTNER)


def _said(response: Response) -> Said:
    return text_said(response, _DOCUMENTED)


def _page_facts(status: int) -> ErrorFacts:
    return ErrorFacts(_PARTNER, "reading a feed page", status)


def charset_of(headers: Mapping[str, str]) -> str | None:
    """Return the charset that a Content-Type names, or None."""
    found = _CHARSET.search(headers.get("Content-Type", ""))
    return found[1] if found else None


def is_taken(response: Response) -> bool:
    """Return whether a success looks like iQmetrix' own: the update as it was stored, or nothing; the rest may be cut off."""
    body = utf8_of(response).strip()
    if response.truncated:
        return not body or body.startswith(b"{")
    try:
        return not body or isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False


def client_of(resources: Resources, settings: Iqmetrix) -> IqmetrixClient:
    """Return the one client of this process for an account, so that its token is shared."""
    return resources.shared(("iqmetrix", settings.account), lambda: IqmetrixClient(settings))


def clients_of(resources: Resources) -> dict[str, IqmetrixClient]:
    """Return the client of each configured supplier account."""
    return {account.account: client_of(resources, account) for account in resources.settings.iqmetrix}
