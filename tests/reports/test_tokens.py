"""What people report of OAuth2 token caches, tried on the reader of token answers and on the authorizer.

- lelylan/simple-oauth2 #115, badgateway/oauth2-client #123, singingwolfboy/flask-dance #112: expires_in is a text.
- danny-avila/LibreChat #15321: a token without a life, or with one that is no number, is kept for ever.
- kivra/oauth2_client #21: a life counted from the wrong moment.
- n8n-io/n8n #12742, openfga/js-sdk #333, neohaskell/NeoHaskell #333: many requests refresh one token at once.
- CMSgov/bluebutton-web-server #512: a life with a fraction.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.http.auth import TokenAuthorizer
from hub.http.session import HttpSession
from hub.http.tokens import Token, TokenUnavailable, fetch_token
from tests.raw_server import raw_server

YEARS = timedelta(days=3650)


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    session = HttpSession("acme", timeout=timedelta(seconds=5))
    yield session
    await session.close()


async def token_from(session: HttpSession, body: bytes) -> Token:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with raw_server(answer) as server:
        return await fetch_token(session, server.url, {"grant_type": "client_credentials"}, partner="acme")


@pytest.mark.parametrize(
    ("said", "life"),
    [
        (b"2700", timedelta(seconds=2700)),
        (b'"2700"', timedelta(seconds=2700)),
        (b'" 2700 "', timedelta(seconds=2700)),
        (b"2699.5", timedelta(seconds=2699.5)),
        (b"null", None),
        (b'"NaN"', None),
        (b'"soon"', None),
        (b"0", None),
        (b"-1", None),
        (b"[2700]", None),
        (b"true", None),
    ],
)
async def test_the_life_of_a_token_is_read_in_every_form(
    session: HttpSession, said: bytes, life: timedelta | None
) -> None:
    token = await token_from(session, b'{"access_token":"t-1","expires_in":%s}' % said)

    assert token.expires_in == life


@pytest.mark.parametrize("said", [b"NaN", b"1e400"])
async def test_an_answer_that_is_no_json_is_no_token(session: HttpSession, said: bytes) -> None:
    with pytest.raises(TokenUnavailable):
        await token_from(session, b'{"access_token":"t-1","expires_in":%s}' % said)


@pytest.mark.parametrize(
    "said", [b"null", b'""', b'"t\\n1"', b'"t\\u00e9"', b"17", b'{"value":"t-1"}', b'" t-1"', b'"Bearer t-1"']
)
async def test_what_cannot_be_a_token_is_none(session: HttpSession, said: bytes) -> None:
    with pytest.raises(TokenUnavailable):
        await token_from(session, b'{"access_token":%s}' % said)


async def test_a_hundred_requests_refused_at_once_ask_for_one_token() -> None:
    asked: list[int] = []

    async def fetch() -> Token:
        asked.append(1)
        await asyncio.sleep(0)
        return Token(f"t-{len(asked)}", timedelta(hours=1))

    tokens = TokenAuthorizer(fetch)
    refused = await tokens.headers()

    await asyncio.gather(*(tokens.renew(refused) for _ in range(100)))

    assert len(asked) == 2


async def test_a_token_without_a_life_is_renewed_once_it_is_refused() -> None:
    seconds = 0.0
    asked: list[int] = []

    async def fetch() -> Token:
        asked.append(1)
        return Token(f"t-{len(asked)}")

    tokens = TokenAuthorizer(fetch, clock=lambda: seconds)
    first = await tokens.headers()
    seconds = YEARS.total_seconds()
    later = await tokens.headers()
    await tokens.renew(later)

    assert later == first
    assert (await tokens.headers())["Authorization"] == "Bearer t-2"
