"""An answer's status stands once its head is complete, whatever a server sends behind it or before it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.errors import PartnerUnavailable
from hub.http.protocol import MOST_INFORMATIONAL
from hub.http.session import HttpSession, Response
from tests.raw_server import RawServer, raw_server

HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
LATE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    session = HttpSession("acme", timeout=timedelta(seconds=5))
    yield session
    await session.close()


async def post(session: HttpSession, server: RawServer) -> Response:
    return await session.request(
        "POST", server.url, headers={}, body=b"{}", read_at_most=1000, body_for_errors_only=True
    )


async def read(session: HttpSession, server: RawServer) -> Response:
    return await session.request("GET", server.url, headers={}, body=None, read_at_most=1000)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n\x00garbage that is no HTTP\r\n\r\n", 204),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n", 204),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 204),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk", 200),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nok", 200),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n", 202),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, nonsense\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nno header at all\r\nX: \x01\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9000 + b"\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200\r\nContent-Length : 2\r\n\r\nok", 200),
        (b"HTTP/1.1  200 \xc3\x84\r\nContent-Length: 2\r\n\r\nok", 200),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than it said", 200),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 1, 2\r\n\r\nok", 503),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["one segment", "byte by byte"])
async def test_a_status_stands_whatever_follows_its_head(
    session: HttpSession, answer: bytes, status: int, at_once: bool
) -> None:
    async with raw_server(answer, at_once=at_once) as server:
        response = await post(session, server)

    assert response.status == status
    assert response.headers.get("Retry-After") == ("7" if status == 503 else None)


async def test_two_equal_lengths_are_one(session: HttpSession) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    async with raw_server(answer) as server:
        responses = [await read(session, server) for _ in range(2)]

    assert [response.body for response in responses] == [b"ok", b"ok"]
    assert server.connections == 1


async def test_of_a_body_that_counts_a_malformed_rest_is_no_answer(session: HttpSession) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"
    async with raw_server(answer) as server:
        with pytest.raises(PartnerUnavailable, match="cut off or damaged"):
            await read(session, server)


async def test_a_few_informational_answers_come_before_the_real_one(session: HttpSession) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * MOST_INFORMATIONAL
    async with raw_server(hints + LATE) as server:
        response = await read(session, server)

    assert (response.status, response.body) == (200, b"ok")


async def test_informational_answers_without_end_are_no_answer(session: HttpSession) -> None:
    async with raw_server(b"", again=HINT * 500) as server:
        with pytest.raises(PartnerUnavailable, match="not HTTP"):
            await post(session, server)


async def test_a_head_without_end_is_no_answer(session: HttpSession) -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n", again=b"X-A: b\r\n" * 500) as server:
        with pytest.raises(PartnerUnavailable, match="not HTTP"):
            await post(session, server)


async def test_what_follows_a_204_is_never_the_next_answer(session: HttpSession) -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    async with raw_server(b"HTTP/1.1 204 No Content\r\n\r\n" + forged) as server:
        first = await post(session, server)
        second = await post(session, server)

    assert [first.status, second.status] == [204, 204]
    assert server.connections == 2


async def test_an_endless_server_starves_no_other(session: HttpSession) -> None:
    async with (
        raw_server(b"", again=HINT * 500) as endless,
        raw_server(LATE) as good,
    ):
        bad, fine = await asyncio.gather(post(session, endless), post(session, good), return_exceptions=True)

    assert isinstance(bad, PartnerUnavailable)
    assert isinstance(fine, Response)
