"""The calls to iQmetrix at the client's edge: addresses, credentials, headers, and what each answer means."""

import gzip
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from hub.errors import (
    HubError,
    PartnerContractBroken,
    PartnerRejected,
    PartnerUnavailable,
    Throttled,
    Unauthorized,
)
from hub.http.session import USER_AGENT, HttpSession, Response
from hub.partners.iqmetrix.client import IqmetrixClient, NotModified, PageMissing, PageRefused, PageResponse
from hub.partners.iqmetrix.feed import Page
from hub.partners.iqmetrix.wire import (
    Availability,
    ItemInformation,
    ItemStatusUpdate,
    OrderStatusUpdate,
    Product,
    Status,
)
from tests.partners.iqmetrix.samples import (
    BASE,
    NOTIFICATIONS,
    PRODUCTION,
    SOURCE_ORDER_ID,
    SUPPLIER,
    TOKEN_URL,
    a_page,
    an_entry,
    settings,
)
from tests.responses import Responses, breaking_off

NOW = datetime(2024, 5, 14, 16, 3, 23, tzinfo=UTC)
CURRENT = f"{BASE}/{NOTIFICATIONS}"
ORDER = f"{BASE}/Suppliers({SUPPLIER})/Orders({SOURCE_ORDER_ID})"
SHIPPED = OrderStatusUpdate(Id=SOURCE_ORDER_ID, Status=Status.SHIPPED, TrackingInfo="9400111899223")
ITEMS = ItemStatusUpdate(
    Id=SOURCE_ORDER_ID, ItemInformation=(ItemInformation(Sku="A", Status=Status.CANCELLED),)
)
STOCK = Availability(Products=(Product(Sku="NF-CASE-GRA", IsAvailable=True, Quantity=118),))


@pytest.fixture
def iqmetrix() -> Iterator[Responses]:
    """iQmetrix with a token service that gives token-1, then token-2."""
    with Responses() as iqmetrix:
        for number in (1, 2):
            iqmetrix.post(TOKEN_URL, payload={"access_token": f"token-{number}", "expires_in": 43199})
        yield iqmetrix


@pytest.fixture
async def client() -> AsyncIterator[IqmetrixClient]:
    client = IqmetrixClient(settings(), now=lambda: NOW)
    yield client
    await client.close()


class WithToken(HttpSession):
    """Answers the request for a token itself, and sends all others."""

    async def request(self, method: str, url: str, **options: Any) -> Response:
        if url == TOKEN_URL:
            return Response(200, {}, b'{"access_token": "token-1"}')
        return await super().request(method, url, **options)


def page_url(page_id: str) -> str:
    return f"{CURRENT}/Pages({page_id})"


def page_of(response: PageResponse | NotModified) -> Page:
    assert isinstance(response, PageResponse)
    return response.page


# --- the feed ------------------------------------------------------------------------------------------------


async def test_the_current_page_is_read_with_a_token_and_its_links_become_paths(
    client: IqmetrixClient, iqmetrix: Responses
) -> None:
    iqmetrix.get(CURRENT, body=a_page([an_entry("one")], prev="older"))

    page = page_of(await client.current_page())

    assert [entry.id for entry in page.entries] == ["one"]
    assert page.self_href == f"{NOTIFICATIONS}/Pages(current)"
    assert page.prev_href == f"{NOTIFICATIONS}/Pages(older)"
    (call,) = iqmetrix.sent("GET", CURRENT)
    assert call["headers"] == {
        "Accept": "application/atom+xml",
        "Accept-Encoding": "gzip, deflate",
        "Authorization": "Bearer token-1",
        "User-Agent": USER_AGENT,
    }


async def test_the_subscription_document_names_no_page(client: IqmetrixClient, iqmetrix: Responses) -> None:
    own = f'<link rel="self" href="{CURRENT}"/>'
    iqmetrix.get(CURRENT, body=a_page(page_id=None).replace(b"</author>", f"</author>{own}".encode()))

    assert page_of(await client.current_page()).self_href is None


@pytest.mark.parametrize(
    ("charset", "declared", "sent"),
    [
        ("; charset=utf-8", b"iso-8859-1", "utf-8"),
        (';Charset="UTF-8"', b"iso-8859-1", "utf-8"),
        ("; type=feed; charset = iso-8859-1", b"utf-8", "iso-8859-1"),
        ("", b"iso-8859-1", "iso-8859-1"),
    ],
)
async def test_the_charset_of_the_content_type_goes_before_the_declaration(
    client: IqmetrixClient, iqmetrix: Responses, charset: str, declared: bytes, sent: str
) -> None:
    body = a_page([an_entry("josé")]).decode().encode(sent).replace(b"utf-8", declared, 1)
    iqmetrix.get(CURRENT, body=body, headers={"Content-Type": f"application/atom+xml{charset}"})

    page = page_of(await client.current_page())

    assert [entry.id for entry in page.entries] == ["josé"]


@pytest.mark.parametrize(
    "href",
    [
        "Pages(older)",
        "Notifications/Pages(older)/",
        "/v1/Suppliers(71204)/Notifications/Pages(older)",
        "https://DROPSHIP.iqmetrix.net/v1/suppliers(71204)/notifications/pages(older)?x=1#y",
        "/v1/Suppliers('71204')/Notifications/Pages%28older%29",
    ],
)
def test_a_link_to_a_page_is_one_path_however_it_is_written(client: IqmetrixClient, href: str) -> None:
    assert client.path_of(href) == f"{NOTIFICATIONS}/Pages(older)"


async def test_a_large_page_is_read_like_a_small_one(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.get(CURRENT, body=a_page([an_entry("one")]).replace(b"</feed>", b"<a/>" * 9000 + b"</feed>"))

    assert [entry.id for entry in page_of(await client.current_page()).entries] == ["one"]


async def test_the_token_is_asked_for_by_password_grant(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.get(CURRENT, body=a_page(), repeat=True)

    await client.current_page()
    await client.current_page()

    (call,) = iqmetrix.sent("POST", TOKEN_URL)
    assert call["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert call["data"] == (
        b"grant_type=password&username=ops%40northfork.example&password=s3cret-password"
        b"&client_id=northfork&client_secret=s3cret-client"
    )


async def test_a_compressed_page_is_read(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.get(CURRENT, body=gzip.compress(a_page([an_entry("one")])), headers={"Content-Encoding": "gzip"})

    assert len(page_of(await client.current_page()).entries) == 1


async def test_validators_are_asked_with_only_when_the_server_gave_them(
    client: IqmetrixClient, iqmetrix: Responses
) -> None:
    iqmetrix.get(CURRENT, body=a_page(), headers={"ETag": '"7"'})
    iqmetrix.get(CURRENT, status=304)

    first = await client.current_page({})
    assert isinstance(first, PageResponse)
    second = await client.current_page(first.validators)

    assert first.validators == {"etag": '"7"'}
    assert isinstance(second, NotModified)
    plain, conditional = (call["headers"] for call in iqmetrix.sent("GET", CURRENT))
    assert "If-None-Match" not in plain
    assert conditional["If-None-Match"] == '"7"'
    assert "If-Modified-Since" not in conditional


async def test_an_unasked_304_is_no_answer(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.get(CURRENT, status=304)

    with pytest.raises(PartnerRejected):
        await client.current_page({})


@pytest.mark.parametrize(
    "href",
    [
        f"{PRODUCTION}/{NOTIFICATIONS}/Pages(older)",
        f"https://dropship.iqmetrix.net/{NOTIFICATIONS}/Pages(older)",
        f"http://dropshiprc.iqmetrix.net/v2/{NOTIFICATIONS}/Pages(older)",
        f"{BASE}/{NOTIFICATIONS}/Pages(older)",
        f"/v1/{NOTIFICATIONS}/Pages(older)",
        f"{NOTIFICATIONS}/Pages(older)",
        "Notifications/Pages(older)",
        "Pages(older)",
    ],
)
async def test_a_page_is_asked_for_at_the_configured_host(
    client: IqmetrixClient, iqmetrix: Responses, href: str
) -> None:
    """Edge case 7: the link's host differs from the configured one: the request still goes to the configured host."""
    iqmetrix.get(page_url("older"), body=a_page([an_entry("one")], page_id="older"))

    page = await client.page(href)

    assert len(page.entries) == 1
    assert len(iqmetrix.sent("GET", page_url("older"))) == 1


@pytest.mark.parametrize(
    "href",
    [
        f"https://evil.example/v1/{NOTIFICATIONS}/Pages(older)",
        f"https://iqmetrix.net.evil.example/v1/{NOTIFICATIONS}/Pages(older)",
        f"https://eviliqmetrix.net/v1/{NOTIFICATIONS}/Pages(older)",
        f"https://ops@evil.example/{NOTIFICATIONS}",
        f"//evil.example/{NOTIFICATIONS}",
        f"{PRODUCTION}/Suppliers(1)/Notifications/Pages(older)",
        f"{PRODUCTION}/Notifications/Pages(older)",
        f"{PRODUCTION}/{NOTIFICATIONS}/Pages(a/../../b)",
        f"{PRODUCTION}/{NOTIFICATIONS}/Pages()",
        f"{PRODUCTION}/Suppliers({SUPPLIER})/Orders(1)",
        f"ftp://dropship.iqmetrix.net/{NOTIFICATIONS}",
        "https://[",
        "elsewhere",
        "",
    ],
)
async def test_a_link_that_leads_elsewhere_is_refused_and_no_token_leaves(
    client: IqmetrixClient, iqmetrix: Responses, href: str
) -> None:
    """Edge case 7: a token is never sent elsewhere."""
    with pytest.raises(PartnerContractBroken):
        await client.page(href)

    assert not iqmetrix.requests


async def test_a_page_whose_links_lead_elsewhere_breaks_the_contract(
    client: IqmetrixClient, iqmetrix: Responses
) -> None:
    iqmetrix.get(CURRENT, body=a_page(prev="older", base="https://evil.example"))

    with pytest.raises(PartnerContractBroken, match="another host"):
        await client.current_page()


async def test_a_401_in_the_middle_renews_the_token_once(client: IqmetrixClient, iqmetrix: Responses) -> None:
    """Edge case 11: 401 in the middle of the descent: one token renewal, descent continues."""
    iqmetrix.get(CURRENT, body=a_page(prev="p2"))
    iqmetrix.get(page_url("p2"), status=401, body="Invalid token")
    iqmetrix.get(page_url("p2"), body=a_page(page_id="p2", prev="p1"))
    iqmetrix.get(page_url("p1"), body=a_page(page_id="p1"))

    page = page_of(await client.current_page())
    while page.prev_href:
        page = await client.page(page.prev_href)

    assert page.self_href == f"{NOTIFICATIONS}/Pages(p1)"
    assert len(iqmetrix.sent("POST", TOKEN_URL)) == 2
    assert [call["headers"]["Authorization"] for call in iqmetrix.sent("GET", page_url("p2"))] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


async def test_a_401_with_a_new_token_is_unauthorized(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.get(CURRENT, status=401, repeat=True)

    with pytest.raises(Unauthorized):
        await client.current_page()

    assert len(iqmetrix.sent("GET", CURRENT)) == 2


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "unsupported_grant_type"])
async def test_refused_credentials_are_left_alone_for_half_a_minute_at_first(code: str) -> None:
    with Responses() as iqmetrix:
        iqmetrix.post(TOKEN_URL, status=400, body=f'{{"error": "{code}"}}', repeat=True)
        client = IqmetrixClient(settings())

        errors = []
        for _ in range(3):
            with pytest.raises(Unauthorized, match=code) as caught:
                await client.current_page()
            errors.append(caught.value)
        await client.close()

        assert len(iqmetrix.sent("POST", TOKEN_URL)) == 1
    assert isinstance(errors[0], Throttled)
    assert errors[0].retry_after == timedelta(seconds=30)
    assert "s3cret" not in str(errors[0])


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-ResetSeconds": "37", "X-RateLimit-Reset": "2024-05-14T16:09:00.0000000Z"}, 37),
        ({"X-RateLimit-Reset": "2024-05-14T16:04:00.0000000Z"}, 37),
        ({"Retry-After": "90", "X-RateLimit-ResetSeconds": "37"}, 90),
        ({}, None),
    ],
)
async def test_429_is_obeyed(
    client: IqmetrixClient, iqmetrix: Responses, headers: dict[str, str], wait: float | None
) -> None:
    """Edge case 12: 429 with X-RateLimit-ResetSeconds, with Retry-After, and with neither."""
    iqmetrix.get(CURRENT, status=429, headers=headers, body="rate limit exceeded")

    with pytest.raises(Throttled, match="rate limit exceeded") as caught:
        await client.current_page()

    assert caught.value.retry_after == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PageRefused),
        (404, PageMissing),
        (410, PageMissing),
        (302, PartnerRejected),
        (403, PartnerRejected),
        (500, PartnerUnavailable),
    ],
)
async def test_what_an_archive_page_may_answer(
    client: IqmetrixClient, iqmetrix: Responses, status: int, error: type[HubError]
) -> None:
    """Edge case 13: an archive page answered 400 is told apart, so that the walk can restart from current."""
    iqmetrix.get(page_url("older"), status=status, body="The request is invalid")

    with pytest.raises(HubError) as caught:
        await client.page("Pages(older)")

    assert type(caught.value) is error


async def test_a_page_beyond_the_limit_breaks_the_contract() -> None:
    with Responses() as iqmetrix:
        iqmetrix.post(TOKEN_URL, payload={"access_token": "token-1"})
        iqmetrix.get(CURRENT, body=a_page([an_entry(str(number)) for number in range(9)]))
        client = IqmetrixClient(settings(limits={"page_bytes": 2000}))

        with pytest.raises(PartnerContractBroken, match="at most 2000 bytes"):
            await client.current_page()
        await client.close()


# --- updates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"), [(200, "{}"), (202, ""), (204, ""), (202, '\ufeff{"Id": 1}'), (200, " ")]
)
async def test_any_2xx_accepts_an_update(
    client: IqmetrixClient, iqmetrix: Responses, status: int, body: str
) -> None:
    """Edge case 16: 200 and 202 both accepted; body may be empty."""
    iqmetrix.put(f"{ORDER}/OrderStatusUpdate", status=status, body=body)

    await client.update_order(SOURCE_ORDER_ID, SHIPPED)

    (call,) = iqmetrix.sent("PUT", f"{ORDER}/OrderStatusUpdate")
    assert call["data"] == (
        f'{{"Id":"{SOURCE_ORDER_ID}","Status":"Shipped","TrackingInfo":"9400111899223"}}'.encode()
    )
    assert call["headers"]["Accept"] == call["headers"]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("<!DOCTYPE html><html><title>Scheduled maintenance of Dana</title></html>", "HTML or XML"),
        ("\ufeff\n <html>", "HTML or XML"),
        ("Accepted", "text that is not JSON"),
        ("[]", "a JSON value of another kind"),
    ],
)
async def test_a_2xx_that_is_not_the_partners_own_is_no_success(
    client: IqmetrixClient, iqmetrix: Responses, body: str, got: str
) -> None:
    """A page that a proxy answers with 200 says nothing of the update."""
    iqmetrix.put(f"{ORDER}/OrderStatusUpdate", status=200, body=body)

    with pytest.raises(PartnerUnavailable, match=f"got 200 with {got}") as caught:
        await client.update_order(SOURCE_ORDER_ID, SHIPPED)

    assert "Dana" not in str(caught.value)


async def test_a_2xx_accepts_an_update_even_if_its_body_breaks_off() -> None:
    """Edge case 16: the body is of no account, so it may also be half an answer."""
    async with breaking_off(status=202, body=b'{"Id":') as base:
        client = IqmetrixClient(settings(base_url=base), WithToken("iqmetrix", timeout=timedelta(seconds=5)))

        await client.update_order(SOURCE_ORDER_ID, SHIPPED)
        await client.update_items(SOURCE_ORDER_ID, ITEMS)
        await client.push_availability(STOCK)
        await client.close()


async def test_a_page_that_breaks_off_is_not_taken_for_a_short_one() -> None:
    async with breaking_off(body=a_page([an_entry("one")])) as base:
        client = IqmetrixClient(settings(base_url=base), WithToken("iqmetrix", timeout=timedelta(seconds=5)))

        with pytest.raises(PartnerUnavailable, match="cut off"):
            await client.current_page()
        await client.close()


async def test_orders_and_items_have_their_own_paths(client: IqmetrixClient, iqmetrix: Responses) -> None:
    """Edge case 18: item update goes to ItemStatusUpdate, order update to OrderStatusUpdate."""
    iqmetrix.put(f"{ORDER}/OrderStatusUpdate", status=202)
    iqmetrix.put(f"{ORDER}/ItemStatusUpdate", status=202)

    await client.update_order(SOURCE_ORDER_ID, SHIPPED)
    await client.update_items(SOURCE_ORDER_ID, ITEMS)

    (order,) = iqmetrix.sent("PUT", f"{ORDER}/OrderStatusUpdate")
    (items,) = iqmetrix.sent("PUT", f"{ORDER}/ItemStatusUpdate")
    assert b"ItemInformation" not in order["data"]
    assert b"ItemInformation" in items["data"]


async def test_the_item_path_can_be_set() -> None:
    with Responses() as iqmetrix:
        iqmetrix.post(TOKEN_URL, payload={"access_token": "token-1"})
        iqmetrix.put(f"{ORDER}/ItemUpdateStatus", status=202)
        client = IqmetrixClient(settings(item_status_path="ItemUpdateStatus"))

        await client.update_items(SOURCE_ORDER_ID, ITEMS)
        await client.close()

        assert len(iqmetrix.sent("PUT", f"{ORDER}/ItemUpdateStatus")) == 1


async def test_an_order_id_cannot_leave_its_place_in_the_path(
    client: IqmetrixClient, iqmetrix: Responses
) -> None:
    url = f"{BASE}/Suppliers({SUPPLIER})/Orders(..%2F%29%3Fx)/OrderStatusUpdate"
    iqmetrix.put(URL(url, encoded=True), status=202)

    await client.update_order("../)?x", SHIPPED)

    assert [str(url) for method, url in iqmetrix.requests if method == "PUT"] == [url]


async def test_an_availability_push_says_both_values(client: IqmetrixClient, iqmetrix: Responses) -> None:
    iqmetrix.post(f"{BASE}/Suppliers({SUPPLIER})/Availability", status=202)

    await client.push_availability(STOCK)

    (call,) = iqmetrix.sent("POST", f"{BASE}/Suppliers({SUPPLIER})/Availability")
    assert call["data"] == b'{"Products":[{"Sku":"NF-CASE-GRA","IsAvailable":true,"Quantity":118}]}'


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, PartnerRejected), (404, PartnerRejected), (302, PartnerRejected), (500, PartnerUnavailable)],
)
async def test_a_refused_update_says_why(
    client: IqmetrixClient, iqmetrix: Responses, status: int, error: type[HubError]
) -> None:
    iqmetrix.put(
        f"{ORDER}/OrderStatusUpdate", status=status, body="Cannot find supplier identifier in the uri"
    )

    with pytest.raises(error, match=f"{status} to an order status update.*cannot find supplier"):
        await client.update_order(SOURCE_ORDER_ID, SHIPPED)
