"""Posting to a client's endpoint: bytes, credentials, signatures, and what each answer means."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from hub.config.settings import Retry as RetrySettings
from hub.errors import (
    ConfigError,
    HubError,
    PartnerRejected,
    PartnerUnavailable,
    Throttled,
    Unauthorized,
)
from hub.messaging.dispatch import outcome_of
from hub.messaging.outcome import Retry
from hub.messaging.resilience.retry import GiveUp, RetryPolicy, Wait, decide
from hub.partners.optoro.client import WebhookEndpoint, public_id
from hub.partners.optoro.translate import Kind
from hub.topology import ladder
from tests.partners.optoro.samples import a_client
from tests.responses import Responses, breaking_off

HOOK = "https://acme.example/hooks/drop_shipment_confirmation"
TOKEN = "https://auth.acme.example/oauth/token"
BODY = b'{"shipment":{"client_identifier":"7a0e5d1c","carrier":"UPS"}}'
KEY = "webhook:acme:confirmation:FUL-1:PKG-1"
OAUTH2 = {"type": "oauth2", "token_url": TOKEN, "client_id": "hub", "client_secret": "s3cret-of-ours"}
BASIC = {"type": "basic", "username": "hub", "password": "s3cret-of-ours"}
SECRET = f"whsec_{base64.b64encode(b'twenty-four bytes secret').decode()}"


@pytest.fixture
def http() -> Iterator[Responses]:
    with Responses() as responses:
        yield responses


@asynccontextmanager
async def an_endpoint(now: datetime | None = None, **settings: Any) -> AsyncIterator[WebhookEndpoint]:
    clock = {"now": lambda: now} if now else {}
    endpoint = WebhookEndpoint(a_client(**settings), **clock)
    try:
        yield endpoint
    finally:
        await endpoint.close()


def posts(http: Responses, url: str = HOOK) -> list[dict[str, Any]]:
    return http.sent("POST", url)


def a_token(http: Responses, value: str) -> None:
    http.post(TOKEN, payload={"access_token": value, "token_type": "Bearer", "expires_in": 90000})


async def error_of(endpoint: WebhookEndpoint, url: str = HOOK) -> HubError:
    with pytest.raises(HubError) as raised:
        await endpoint.post(url, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)
    return raised.value


# --- what is sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_exactly_the_bytes_are_posted_as_json_and_any_2xx_is_success(
    http: Responses, status: int
) -> None:
    http.post(HOOK, status=status)

    async with an_endpoint() as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    (call,) = posts(http)
    assert call["data"] == BODY
    assert call["headers"]["Content-Type"] == "application/json"
    assert call["allow_redirects"] is False
    assert "webhook-signature" not in call["headers"]


async def test_each_post_carries_its_id_and_time_signed_or_not(http: Responses) -> None:
    http.post(HOOK)

    async with an_endpoint(now=datetime(2024, 5, 14, tzinfo=UTC)) as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    (call,) = posts(http)
    assert call["headers"]["webhook-id"] == public_id(KEY)
    assert call["headers"]["webhook-timestamp"] == "1715644800"


async def test_an_answer_larger_than_16_kib_is_success_all_the_same(http: Responses) -> None:
    http.post(HOOK, body=b"x" * 100_000)

    async with an_endpoint() as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    assert len(posts(http)) == 1


async def test_a_2xx_whose_body_breaks_off_is_success_all_the_same() -> None:
    async with breaking_off() as base, an_endpoint() as endpoint:
        await endpoint.post(f"{base}/hook", BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (BASIC, "Authorization", f"Basic {base64.b64encode(b'hub:s3cret-of-ours').decode()}"),
        ({"type": "api_key", "header": "X-Acme-Key", "key": "k3y"}, "X-Acme-Key", "k3y"),
    ],
)
async def test_the_hub_proves_itself_as_configured(
    http: Responses, auth: dict[str, str], header: str, value: str
) -> None:
    http.post(HOOK)

    async with an_endpoint(auth=auth) as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    (call,) = posts(http)
    assert call["headers"][header] == value


# --- 401 ---------------------------------------------------------------------------------------------------


async def test_401_then_200_renews_the_token_once_and_succeeds(http: Responses) -> None:
    """Edge case 30: new token, one retry with the same bytes, success."""
    a_token(http, "first")
    a_token(http, "second")
    http.post(HOOK, status=401)
    http.post(HOOK, status=200)

    async with an_endpoint(auth=OAUTH2) as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    assert [call["headers"]["Authorization"] for call in posts(http)] == ["Bearer first", "Bearer second"]
    assert {call["data"] for call in posts(http)} == {BODY}


async def test_401_forever_is_bounded_and_ends_in_the_failure_queue(http: Responses) -> None:
    """Edge case 31: two posts in each of six attempts, then the message is given up."""
    policy = RetryPolicy(RetrySettings().waits)
    rungs, now = ladder(policy.waits), datetime(2024, 5, 15, tzinfo=UTC)
    for n in range(12):
        a_token(http, f"token-{n}")
    http.post(HOOK, status=401, repeat=True)
    decisions: list[Wait | GiveUp] = []

    async with an_endpoint(auth=OAUTH2) as endpoint:
        for attempt in range(1, 7):
            error = await error_of(endpoint)
            assert isinstance(error, Unauthorized)
            assert len(posts(http)) == 2 * attempt
            outcome = outcome_of(error)
            assert isinstance(outcome, Retry)
            decisions.append(decide(outcome, attempt=attempt, policy=policy, rungs=rungs, now=now))

    assert [type(decision) for decision in decisions] == [Wait] * 5 + [GiveUp]


async def test_401_with_fixed_credentials_is_a_failed_attempt_at_once(http: Responses) -> None:
    http.post(HOOK, status=401, repeat=True)

    async with an_endpoint(auth=BASIC) as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, Unauthorized)
    assert len(posts(http)) == 1


# --- failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 400, 403, 404, 409, 422, 500, 502, 503, 504])
async def test_every_error_is_retried_alike(http: Responses, status: int) -> None:
    http.post(HOOK, status=status, headers={"Location": "https://elsewhere.example/"})

    async with an_endpoint() as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, PartnerUnavailable)
    assert str(status) in str(error)
    assert len(http.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_client_that_wants_only_server_errors_retried_gets_a_letter_at_once(
    http: Responses, status: int
) -> None:
    http.post(HOOK, status=status)

    async with an_endpoint(retry_on="server") as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, PartnerRejected)
    assert error.status == status


@pytest.mark.parametrize("status", [500, 503])
async def test_server_errors_are_retried_under_both_rules(http: Responses, status: int) -> None:
    http.post(HOOK, status=status)

    async with an_endpoint(retry_on="server") as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, PartnerUnavailable)


async def test_503_twice_then_200_takes_three_posts_of_the_same_bytes(http: Responses) -> None:
    """Edge case 33 (client part): two failed attempts, then success; no post beyond."""
    http.post(HOOK, status=503)
    http.post(HOOK, status=503)
    http.post(HOOK, status=200)

    async with an_endpoint() as endpoint:
        errors = [await error_of(endpoint), await error_of(endpoint)]
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    assert all(isinstance(error, PartnerUnavailable) for error in errors)
    assert [call["data"] for call in posts(http)] == [BODY] * 3


@pytest.mark.parametrize("failure", [TimeoutError(), aiohttp.ServerDisconnectedError(), OSError("no route")])
async def test_a_timeout_or_a_lost_connection_is_a_failed_attempt(
    http: Responses, failure: Exception
) -> None:
    """Edge case 34: a timeout counts as failure, and so does a connection error."""
    http.post(HOOK, exception=failure)

    async with an_endpoint() as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, PartnerUnavailable)
    assert outcome_of(error) == Retry(str(error), counts=True)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_hint_when_to_come_back_is_kept(http: Responses, status: int) -> None:
    http.post(HOOK, status=status, headers={"Retry-After": "120"})

    async with an_endpoint() as endpoint:
        error = await error_of(endpoint)

    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=120)


async def test_a_validation_failure_tells_fields_and_codes_and_never_values(http: Responses) -> None:
    http.post(
        HOOK,
        status=422,
        payload={
            "message": "Validation Failed for Dana Whitfield",
            "errors": [
                {"field": "shipment.tracking_number", "code": "missing_field", "value": "914 W Fort St"}
            ],
        },
    )

    async with an_endpoint() as endpoint:
        error = await error_of(endpoint)

    assert "shipment.tracking_number: missing_field" in str(error)
    assert "Dana" not in str(error)
    assert "Fort" not in str(error)


@pytest.mark.parametrize("answer", [{"status": 500, "body": "echo: 7a0e5d1c"}, {"exception": TimeoutError()}])
async def test_errors_hold_neither_the_query_nor_credentials_nor_bodies(
    http: Responses, answer: dict[str, Any]
) -> None:
    url = f"{HOOK}?code=pr1vate"
    http.post(url, **answer)

    async with an_endpoint(auth=BASIC) as endpoint:
        error = await error_of(endpoint, url)

    for private in ("pr1vate", "s3cret-of-ours", "7a0e5d1c", "Basic "):
        assert private not in str(error)


# --- signatures --------------------------------------------------------------------------------------------


async def test_a_signed_post_is_verified_by_the_standard_webhooks_library(http: Responses) -> None:
    http.post(HOOK)

    async with an_endpoint(signing_secret=SECRET) as endpoint:
        await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    (call,) = posts(http)
    verified = Verifier(SECRET).verify(call["data"], call["headers"])
    assert verified == {"shipment": {"client_identifier": "7a0e5d1c", "carrier": "UPS"}}


async def test_the_id_is_the_same_for_all_attempts_and_the_timestamp_is_fresh(http: Responses) -> None:
    moments = [datetime(2024, 5, 15, 14, 20, 5, tzinfo=UTC), datetime(2024, 5, 15, 14, 20, 30, tzinfo=UTC)]
    for moment in moments:
        http.post(HOOK)
        async with an_endpoint(now=moment, signing_secret=SECRET) as endpoint:
            await endpoint.post(HOOK, BODY, webhook_id=KEY, kind=Kind.CONFIRMATION)

    headers = [call["headers"] for call in posts(http)]
    assert {each["webhook-id"] for each in headers} == {public_id(KEY)}
    assert [each["webhook-timestamp"] for each in headers] == ["1715782805", "1715782830"]
    assert headers[0]["webhook-signature"] != headers[1]["webhook-signature"]


def test_the_id_tells_nothing_of_the_effect_key() -> None:
    assert public_id(KEY).startswith("msg_")
    assert "FUL" not in public_id(KEY)
    assert public_id(KEY) != public_id(f"{KEY}2")


def test_a_signing_secret_that_is_no_base64_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="signing_secret of acme"):
        WebhookEndpoint(a_client(signing_secret="whsec_A"))
