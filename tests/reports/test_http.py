"""What people report of HTTP clients and servers, tried on the session that all partners are called with.

- hyperium/hyper #2058, nodejs/node #37580, spray/spray #861: "Transfer-Encoding: identity" fails an answer that is whole.
- Karlson2k/libmicrohttpd #15: two equal Content-Length. PeteRager/lennoxs30 #133: a length beside the chunked coding.
- locustio/locust #1233, encode/httpx #195, aio-libs/aiohttp #1931: Content-Encoding is UTF-8, or empty.
- aio-libs/aiohttp #2683, #30: a cookie with an illegal name fails the request, or lands in the log.
- aio-libs/aiohttp #3082, #5783, #6764: a POST is redirected as a GET, or its credentials and body to another host.
- aio-libs/aiohttp #6138, #9138: a kept connection is closed just when a POST is sent on it.
- aio-libs/aiohttp #2120, #9160: a charset that is no charset.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hub.http.session import HttpSession, NoResponse, Response
from hub.http.text import utf8_of
from tests.raw_server import RawServer, raw_server

WHOLE = b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    session = HttpSession("acme", timeout=timedelta(seconds=5))
    yield session
    await session.close()


async def post(session: HttpSession, server: RawServer) -> Response:
    return await session.request("POST", server.url, headers={}, body=b"{}", read_at_most=1000)


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: Identity\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Encoding: UTF-8\r\n",
        b"Content-Encoding: \r\n",
        b"Set-Cookie: ISAWPLB{381DEC7D}=s3cret-cookie; Path=/\r\nSet-Cookie: /=1\r\n",
        b"X-Folded: one\r\n two\r\n",
    ],
)
async def test_a_whole_answer_is_read_whatever_its_head_says_besides(
    session: HttpSession, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async with raw_server(WHOLE % head) as server:
        answer = await post(session, server)

    assert (answer.status, answer.body) == (200, b"ok")
    assert "s3cret-cookie" not in caplog.text


async def test_a_chunked_answer_with_a_length_is_read_as_chunked(session: HttpSession) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )

    async with raw_server(chunked) as server:
        answer = await post(session, server)

    assert answer.body == b"ok"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_is_never_redirected(session: HttpSession, status: int) -> None:
    moved = b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n" % status

    async with raw_server(moved) as server:
        answer = await post(session, server)

    assert answer.status == status
    assert len(server.requests) == 1


async def test_a_post_on_a_kept_connection_that_closes_is_sent_once(session: HttpSession) -> None:
    seen: list[bytes] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (WHOLE % b"", b""):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head + await reader.readexactly(2))
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        there = RawServer(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await post(session, there)
        with pytest.raises(NoResponse):
            await post(session, there)

    assert len(seen) == 2


@pytest.mark.parametrize("charset", ["utf-8,charset=utf-8", "test", "\udc81gUTF-8\udcfc", "zip", ""])
def test_a_charset_that_is_none_changes_nothing(charset: str) -> None:
    answer = Response(200, {"Content-Type": f"application/json; charset={charset}"}, b'{"a": "\xc3\xa9"}')

    assert utf8_of(answer) == b'{"a": "\xc3\xa9"}'
