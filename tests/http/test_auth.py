"""Credentials: one token for all, renewed in time and once, and no loops on refused ones."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from hub.config.webhooks import Auth
from hub.errors import HubError, PartnerUnavailable, Throttled, Unauthorized
from hub.http.auth import TokenAuthorizer, authorizer
from hub.http.call import send_authorized
from hub.http.session import USER_AGENT, HttpSession
from hub.http.tokens import CredentialsRefused, Token, TokenUnavailable
from tests.eventually import eventually
from tests.responses import Responses, breaking_off

TOKEN_URL = "https://auth.acme.example/oauth/token"
HOOK = "https://acme.example/hook"


class TokenEndpoint:
    """Gives token-1, token-2, … or the errors put before it; waits while ``open`` is cleared."""

    def __init__(self, *errors: HubError, life: float | None = 1000) -> None:
        self.errors = list(errors)
        self.life = life
        self.calls = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Token:
        self.calls += 1
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        return Token(f"token-{self.calls}", None if self.life is None else timedelta(seconds=self.life))


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def token_of(tokens: TokenAuthorizer) -> str:
    return (await tokens.headers())["Authorization"]


async def test_a_token_is_fetched_once_for_many_requests(clock: Clock) -> None:
    endpoint = TokenEndpoint()
    tokens = TokenAuthorizer(endpoint, clock=clock)

    given = await asyncio.gather(*(token_of(tokens) for _ in range(20)))

    assert set(given) == {"Bearer token-1"}
    assert endpoint.calls == 1


@pytest.mark.parametrize(
    ("life", "good_until"),
    [(1000, 900), (100, 50), (43199, 38879.1), (300, 240), (2, 1)],
)
async def test_a_token_is_renewed_ahead_of_its_end(clock: Clock, life: float, good_until: float) -> None:
    endpoint = TokenEndpoint(life=life)
    tokens = TokenAuthorizer(endpoint, clock=clock)
    await tokens.headers()

    clock.seconds = good_until - 0.01
    before = await token_of(tokens)
    clock.seconds = good_until
    after = await token_of(tokens)

    assert (before, after) == ("Bearer token-1", "Bearer token-2")


async def test_a_token_without_an_end_is_used_until_it_is_refused(clock: Clock) -> None:
    tokens = TokenAuthorizer(TokenEndpoint(life=None), clock=clock)
    rejected = await tokens.headers()
    clock.seconds = 10**9

    assert await tokens.headers() == rejected
    assert await tokens.renew(rejected)
    assert await token_of(tokens) == "Bearer token-2"


async def test_many_requests_refused_with_one_token_lead_to_one_renewal(clock: Clock) -> None:
    endpoint = TokenEndpoint()
    tokens = TokenAuthorizer(endpoint, clock=clock)
    rejected = await tokens.headers()

    renewed = await asyncio.gather(*(tokens.renew(rejected) for _ in range(20)))

    assert all(renewed)
    assert endpoint.calls == 2


async def test_an_old_token_serves_while_the_endpoint_is_away(clock: Clock) -> None:
    endpoint = TokenEndpoint()
    tokens = TokenAuthorizer(endpoint, clock=clock)
    await tokens.headers()
    endpoint.errors = [PartnerUnavailable("away"), PartnerUnavailable("away")]

    clock.seconds = 950
    given = await token_of(tokens)
    again = await token_of(tokens)

    assert (given, again) == ("Bearer token-1", "Bearer token-1")
    assert endpoint.calls == 2
    clock.seconds = 1000
    with pytest.raises(PartnerUnavailable):
        await tokens.headers()


async def test_refused_credentials_are_not_tried_again_for_a_while(clock: Clock) -> None:
    endpoint = TokenEndpoint(CredentialsRefused("invalid_grant", retry_after=timedelta(minutes=15)))
    tokens = TokenAuthorizer(endpoint, clock=clock)

    with pytest.raises(CredentialsRefused):
        await tokens.headers()
    clock.seconds = 300
    with pytest.raises(CredentialsRefused) as later:
        await tokens.headers()

    assert later.value.retry_after == timedelta(minutes=10)
    assert endpoint.calls == 1
    clock.seconds = 900
    assert await token_of(tokens) == "Bearer token-2"


@pytest.mark.parametrize(
    ("failure", "pauses"),
    [
        (CredentialsRefused, [30, 60, 120, 240, 480, 900, 900]),
        (TokenUnavailable, [1, 2, 4, 8, 16, 32, 60, 60]),
    ],
)
async def test_a_token_endpoint_that_fails_in_a_row_is_left_alone_longer(
    clock: Clock, failure: type[Throttled], pauses: list[int]
) -> None:
    endpoint = TokenEndpoint(*(failure("no") for _ in pauses))
    tokens = TokenAuthorizer(endpoint, clock=clock)

    made = []
    for _ in pauses:
        with pytest.raises(failure) as caught:
            await tokens.headers()
        assert caught.value.retry_after is not None
        made.append(caught.value.retry_after.total_seconds())
        clock.seconds += made[-1]

    assert made == pauses
    assert await token_of(tokens) == f"Bearer token-{len(pauses) + 1}"


async def test_one_token_ends_the_growth_of_the_pauses(clock: Clock) -> None:
    endpoint = TokenEndpoint(CredentialsRefused("no"), CredentialsRefused("no"), life=10)
    tokens = TokenAuthorizer(endpoint, clock=clock)
    for pause in (30, 60):
        with pytest.raises(CredentialsRefused):
            await tokens.headers()
        clock.seconds += pause
    await tokens.headers()
    clock.seconds += 10
    endpoint.errors = [CredentialsRefused("no")]

    with pytest.raises(CredentialsRefused) as caught:
        await tokens.headers()

    assert caught.value.retry_after == timedelta(seconds=30)


async def test_those_who_wait_while_the_endpoint_fails_share_its_error(clock: Clock) -> None:
    endpoint = TokenEndpoint(PartnerUnavailable("no complete answer in time"))
    endpoint.open.clear()
    tokens = TokenAuthorizer(endpoint, clock=clock)
    waiting = [asyncio.create_task(token_of(tokens)) for _ in range(100)]
    await eventually(lambda: endpoint.calls == 1)

    endpoint.open.set()
    await asyncio.wait(waiting)

    assert {str(task.exception()) for task in waiting} == {"no complete answer in time"}
    assert endpoint.calls == 1
    assert await token_of(tokens) == "Bearer token-2"


async def test_those_refused_with_one_token_share_the_error_of_its_renewal(clock: Clock) -> None:
    endpoint = TokenEndpoint()
    tokens = TokenAuthorizer(endpoint, clock=clock)
    rejected = await tokens.headers()
    endpoint.errors = [Throttled("slow down", retry_after=timedelta(seconds=7))]
    endpoint.open.clear()
    renewals = [asyncio.create_task(tokens.renew(rejected)) for _ in range(20)]
    await eventually(lambda: endpoint.calls == 2)

    endpoint.open.set()
    await asyncio.wait(renewals)

    errors = [task.exception() for task in renewals]
    assert {getattr(error, "retry_after", None) for error in errors} == {timedelta(seconds=7)}
    assert endpoint.calls == 2


async def test_the_end_of_the_request_that_fetches_does_not_fail_those_who_wait(clock: Clock) -> None:
    endpoint = TokenEndpoint()
    endpoint.open.clear()
    tokens = TokenAuthorizer(endpoint, clock=clock)
    first = asyncio.create_task(token_of(tokens))
    await eventually(lambda: endpoint.calls == 1)
    waiting = asyncio.create_task(token_of(tokens))
    await asyncio.sleep(0)

    first.cancel()
    endpoint.open.set()

    assert await waiting == "Bearer token-2"


def test_refused_credentials_are_transient_and_carry_the_pause() -> None:
    error = CredentialsRefused(retry_after=timedelta(minutes=1))

    assert isinstance(error, Unauthorized)
    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(minutes=1)


# --- built from settings, at the client's edge ---------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Responses]:
    with Responses() as receiver:
        yield receiver


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    session = HttpSession("acme", timeout=timedelta(seconds=5))
    yield session
    await session.close()


def oauth2(**values: str) -> Auth:
    return an_auth(type="oauth2", token_url=TOKEN_URL, client_id="hub", client_secret="s3cret", **values)


def an_auth(**values: str) -> Auth:
    adapter: TypeAdapter[Auth] = TypeAdapter(Auth)
    return adapter.validate_python(values)


def sent(receiver: Responses, url: str = HOOK) -> list[dict[str, Any]]:
    return receiver.sent("POST", url)


async def post(session: HttpSession, auth: Auth) -> int:
    response = await send_authorized(
        session, authorizer(auth, session), "POST", HOOK, headers={"A": "b"}, body=b"{}", read_at_most=100
    )
    return response.status


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (an_auth(type="none"), {}),
        (
            an_auth(type="basic", username="hub", password="pä:ss"),
            {"Authorization": "Basic aHViOnDDpDpzcw=="},
        ),
        (an_auth(type="api_key", header="Api-Key", key="s3cret"), {"Api-Key": "s3cret"}),
    ],
)
async def test_fixed_credentials_are_sent_and_a_401_is_given_as_it_is(
    session: HttpSession, receiver: Responses, auth: Auth, headers: dict[str, str]
) -> None:
    receiver.post(HOOK, status=401)

    status = await post(session, auth)

    assert status == 401
    (call,) = sent(receiver)
    assert call["headers"] == {
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        "A": "b",
        **headers,
    }


async def test_after_a_401_there_is_a_new_token_and_one_more_try(
    session: HttpSession, receiver: Responses
) -> None:
    receiver.post(TOKEN_URL, payload={"access_token": "one", "expires_in": 3600})
    receiver.post(TOKEN_URL, payload={"access_token": "two", "expires_in": "3600"})
    receiver.post(HOOK, status=401)
    receiver.post(HOOK, status=200)

    status = await post(session, oauth2())

    assert status == 200
    assert [call["headers"]["Authorization"] for call in sent(receiver)] == ["Bearer one", "Bearer two"]
    assert [call["data"] for call in sent(receiver)] == [b"{}", b"{}"]


async def test_a_second_401_is_given_back(session: HttpSession, receiver: Responses) -> None:
    receiver.post(TOKEN_URL, payload={"access_token": "one"}, repeat=True)
    receiver.post(HOOK, status=401, repeat=True)

    assert await post(session, oauth2()) == 401
    assert len(sent(receiver)) == 2


async def test_client_credentials_go_in_a_form_by_default(session: HttpSession, receiver: Responses) -> None:
    receiver.post(TOKEN_URL, payload={"access_token": "one"})

    await authorizer(oauth2(scope="read write"), session).headers()

    (call,) = sent(receiver, TOKEN_URL)
    assert call["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert (
        call["data"] == b"grant_type=client_credentials&client_id=hub&client_secret=s3cret&scope=read+write"
    )


async def test_client_credentials_go_as_json_if_wanted(session: HttpSession, receiver: Responses) -> None:
    receiver.post(TOKEN_URL, payload={"access_token": "one"})

    await authorizer(oauth2(body="json"), session).headers()

    (call,) = sent(receiver, TOKEN_URL)
    assert call["headers"]["Content-Type"] == "application/json"
    assert call["data"] == b'{"grant_type":"client_credentials","client_id":"hub","client_secret":"s3cret"}'


async def test_of_a_token_the_body_counts_so_an_answer_that_breaks_off_is_none(session: HttpSession) -> None:
    async with breaking_off(body=b'{"access_token": "one"}') as base:
        auth = an_auth(type="oauth2", token_url=f"{base}/token", client_id="hub", client_secret="s3cret")

        with pytest.raises(PartnerUnavailable, match="cut off"):
            await authorizer(auth, session).headers()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 400, "body": '{"error": "invalid_client", "hint": "s3cret"}'}, CredentialsRefused),
        ({"status": 401}, CredentialsRefused),
        ({"status": 400}, TokenUnavailable),
        ({"status": 403}, TokenUnavailable),
        ({"status": 404}, TokenUnavailable),
        ({"status": 307, "headers": {"Location": "/elsewhere"}}, TokenUnavailable),
        ({"status": 401, "body": "<html>please log in, invalid_client</html>"}, TokenUnavailable),
        ({"body": '{"error": "invalid_grant", "error_description": "locked"}'}, CredentialsRefused),
        ({"status": 403, "body": '\ufeff{"error": "invalid_grant"}'}, CredentialsRefused),
        ({"status": 500, "body": '{"error": "Invalid_Client"}'}, CredentialsRefused),
        ({"status": 400, "body": "error=invalid_grant&hint=s3cret"}, CredentialsRefused),
        ({"status": 400, "body": '{"error": "temporarily_unavailable"}'}, TokenUnavailable),
        ({"status": 204}, TokenUnavailable),
        ({"status": 429, "headers": {"Retry-After": "3"}}, Throttled),
        ({"status": 500}, PartnerUnavailable),
        ({"exception": TimeoutError()}, PartnerUnavailable),
        ({"body": "<html>"}, TokenUnavailable),
        ({"payload": {"access_token": ""}}, TokenUnavailable),
        ({"payload": {"access_token": "a\r\nb"}}, TokenUnavailable),
        ({"payload": ["access_token"]}, TokenUnavailable),
    ],
)
async def test_what_a_token_endpoint_answers_instead_of_a_token(
    session: HttpSession, receiver: Responses, answer: dict[str, Any], error: type[HubError]
) -> None:
    receiver.post(TOKEN_URL, **answer)

    with pytest.raises(error) as caught:
        await authorizer(oauth2(), session).headers()

    assert "s3cret" not in str(caught.value)
    assert "invalid" not in str(caught.value) or type(caught.value) is CredentialsRefused


@pytest.mark.parametrize(
    "body",
    [b'\xef\xbb\xbf{"access_token": "one"}', '\ufeff{"access_token": "one"}'.encode("utf-16-le")],
    ids=["utf-8", "utf-16"],
)
async def test_a_token_may_come_behind_a_byte_order_mark(
    session: HttpSession, receiver: Responses, body: bytes
) -> None:
    receiver.post(TOKEN_URL, body=body)

    assert await authorizer(oauth2(), session).headers() == {"Authorization": "Bearer one"}


async def test_a_refusal_in_a_200_is_asked_for_once_in_the_pause(
    session: HttpSession, receiver: Responses
) -> None:
    receiver.post(TOKEN_URL, body='{"error": "invalid_grant"}', repeat=True)
    tokens = authorizer(oauth2(), session)

    for _ in range(10):
        with pytest.raises(CredentialsRefused):
            await tokens.headers()

    assert len(sent(receiver, TOKEN_URL)) == 1


def test_a_token_does_not_show_in_its_representation() -> None:
    assert "s3cret" not in repr(Token("s3cret"))
