"""One request: bounded in time and bytes, and told in words that give nothing away."""

import asyncio
import gzip
import os
import resource
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import metadata

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hub.errors import PartnerContractBroken, PartnerUnavailable, PartnerUnreachable, ProcessLimit
from hub.http.session import HttpSession, Response, path_pattern
from tests.responses import breaking_off

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(application)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    session = HttpSession("acme", timeout=timedelta(seconds=5))
    yield session
    await session.close()


def answering(body: bytes, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


async def get(session: HttpSession, url: str, **options: int | str) -> Response:
    return await session.request("GET", url, headers={}, body=None, **{"read_at_most": 1000, **options})  # type: ignore[arg-type]


async def post(session: HttpSession, url: str) -> Response:
    return await session.request(
        "POST", url, headers={}, body=b"{}", read_at_most=1000, body_for_errors_only=True
    )


async def test_an_answer_is_given_whole_with_headers_in_any_case(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"hello", **{"X-Trace": "7"}))

    response = await get(session, base)

    assert (response.status, response.body, response.truncated) == (200, b"hello", False)
    assert response.headers["x-trace"] == "7"


async def test_each_request_says_which_release_sends_it(session: HttpSession, serve: Serve) -> None:
    agents: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        agents.append(request.headers.get("User-Agent"))
        return web.Response()

    base = await serve(handle)

    await get(session, base)

    assert agents == [f"dropship-hub/{metadata.version('dropship-hub')}"]


async def test_parentheses_in_a_path_are_sent_as_they_are(session: HttpSession, serve: Serve) -> None:
    paths: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        return web.Response()

    base = await serve(handle)

    await get(session, f"{base}/Suppliers(71204)/Orders(a%2Fb)")

    assert paths == ["/Suppliers(71204)/Orders(a%2Fb)"]


async def test_a_body_is_sent_byte_for_byte(session: HttpSession, serve: Serve) -> None:
    bodies: list[bytes] = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    base = await serve(handle)

    await session.request("POST", base, headers={}, body=b'{"a": 1}\n', read_at_most=10)

    assert bodies == [b'{"a": 1}\n']


async def test_redirects_are_not_followed_and_cookies_not_kept(session: HttpSession, serve: Serve) -> None:
    cookies: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(status=302, headers={"Location": "/elsewhere", "Set-Cookie": "a=b"})

    base = await serve(handle)

    first, second = await get(session, base), await get(session, base)

    assert [first.status, second.status] == [302, 302]
    assert cookies == [None, None]


async def test_a_long_answer_is_cut(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"x" * 5000))

    response = await get(session, base, read_at_most=100)

    assert response.truncated
    assert response.body == b"x" * 100


async def test_a_long_answer_can_be_refused(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"x" * 5000))

    with pytest.raises(PartnerContractBroken, match="at most 100 bytes"):
        await get(session, base, read_at_most=100, overflow="error")


async def test_an_answer_of_exactly_the_limit_is_whole(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"x" * 100))

    assert not (await get(session, base, read_at_most=100, overflow="error")).truncated


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello ", mtime=0) + gzip.compress(b"world", mtime=0)),
        ("deflate", zlib.compress(b"hello world")),
        ("deflate", zlib.compress(b"hello world")[2:-4]),
        ("identity", b"hello world"),
    ],
)
async def test_compressed_answers_are_unpacked(
    session: HttpSession, serve: Serve, encoding: str, packed: bytes
) -> None:
    base = await serve(answering(packed, **{"Content-Encoding": encoding}))

    response = await get(session, base, compressed_at_most=1000)

    assert response.body == b"hello world"


async def test_a_zip_bomb_is_refused_by_its_unpacked_size(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(gzip.compress(bytes(10_000_000), mtime=0), **{"Content-Encoding": "gzip"}))

    with pytest.raises(PartnerContractBroken, match="at most 5000 bytes"):
        await get(session, base, read_at_most=5000, compressed_at_most=100_000, overflow="error")


async def test_too_many_compressed_bytes_are_refused(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"x" * 200, **{"Content-Encoding": "gzip"}))

    with pytest.raises(PartnerContractBroken, match="100 compressed"):
        await get(session, base, compressed_at_most=100, overflow="error")


@pytest.mark.parametrize("limits", [{}, {"compressed_at_most": 1000}], ids=["not offered", "offered"])
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (" gzip ", gzip.compress(b"hello", mtime=0)),
        ("gzip, identity", gzip.compress(b"hello", mtime=0)),
        ("gzip", b"hello"),
        ("identity", b"hello"),
        ("utf-8", b"hello"),
        ("none", b"hello"),
    ],
)
async def test_an_encoding_that_is_none_is_read_as_it_is(
    session: HttpSession, serve: Serve, encoding: str, body: bytes, limits: dict[str, int]
) -> None:
    base = await serve(answering(body, **{"Content-Encoding": encoding}))

    assert (await get(session, base, **limits)).body == b"hello"


@pytest.mark.parametrize("limits", [{}, {"compressed_at_most": 1000}], ids=["not offered", "offered"])
@pytest.mark.parametrize("encoding", ["br", "zstd", "compress"])
async def test_an_encoding_that_was_not_offered_is_no_answer(
    session: HttpSession, serve: Serve, encoding: str, limits: dict[str, int]
) -> None:
    base = await serve(answering(b"hello", **{"Content-Encoding": encoding}))

    with pytest.raises(
        PartnerUnavailable, match=f"expected gzip, deflate or no content encoding, got {encoding}"
    ):
        await get(session, base, **limits)


async def test_a_damaged_compressed_answer_is_a_connection_matter(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(gzip.compress(b"hello world", mtime=0)[:-9], **{"Content-Encoding": "gzip"}))

    with pytest.raises(PartnerUnavailable, match="cut off or damaged") as caught:
        await get(session, base, compressed_at_most=1000)
    assert not isinstance(caught.value, PartnerUnreachable)


async def test_an_answer_that_breaks_off_is_unavailable_and_an_answer(session: HttpSession) -> None:
    async with breaking_off() as base:
        with pytest.raises(PartnerUnavailable, match="cut off or damaged") as caught:
            await get(session, base)
    assert not isinstance(caught.value, PartnerUnreachable)


@pytest.mark.parametrize("status", [200, 202, 429])
async def test_a_body_that_is_only_quoted_may_break_off(session: HttpSession, status: int) -> None:
    async with breaking_off(status=status) as base:
        response = await post(session, base)

    assert (response.status, response.body, response.truncated) == (status, b"only this", True)
    assert response.headers["retry-after"] == "7"


async def test_a_body_that_is_only_quoted_may_never_end(serve: Serve) -> None:
    ended = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=202)
        await response.prepare(request)
        await response.write(b"a little")
        await ended.wait()
        return response

    base = await serve(handle)
    session = HttpSession("acme", timeout=timedelta(milliseconds=200))

    response = await post(session, base)
    ended.set()
    await session.close()

    assert (response.status, response.body, response.truncated) == (202, b"a little", True)


@pytest.mark.parametrize(
    ("encoding", "body", "quoted"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0), b"hello"),
        ("gzip", b"not gzip", b"not gzip"),
        ("deflate", b"not deflate", b""),
        ("br", b"\x8b\x02\x80hello\x03", b""),
        ("zstd", b"not zstd", b""),
        ("nonsense", b"hello", b"hello"),
    ],
)
async def test_a_body_that_is_only_quoted_may_be_unreadable(
    session: HttpSession, serve: Serve, encoding: str, body: bytes, quoted: bytes
) -> None:
    base = await serve(answering(body, **{"Content-Encoding": encoding}))

    response = await post(session, base)

    assert (response.status, response.body) == (200, quoted)


async def test_a_body_that_is_only_quoted_is_cut_and_the_session_goes_on(
    session: HttpSession, serve: Serve
) -> None:
    base = await serve(answering(b"x" * 5000))

    responses = [await post(session, base) for _ in range(2)]

    assert [(len(response.body), response.truncated) for response in responses] == [(1000, True)] * 2


async def test_without_a_status_there_is_no_answer_even_if_it_is_only_quoted(
    session: HttpSession, serve: Serve
) -> None:
    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    base = await serve(handle)

    with pytest.raises(PartnerUnreachable, match="without an answer"):
        await post(session, base)


async def test_the_deadline_holds_for_reading_too_and_the_text_gives_nothing_away(serve: Serve) -> None:
    ended = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a little")
        await ended.wait()
        return response

    base = await serve(handle)
    session = HttpSession("acme", timeout=timedelta(milliseconds=100))

    with pytest.raises(PartnerUnreachable) as caught:
        await get(session, f"{base}/hooks/9f1d2c7a4b6e?key=s3cret")
    ended.set()
    await session.close()

    assert str(caught.value) == "acme: GET 127.0.0.1/…: no complete answer in time"


async def test_the_deadline_holds_while_others_have_all_connections(serve: Serve) -> None:
    ended = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    base = await serve(handle)
    session = HttpSession("acme", timeout=timedelta(milliseconds=200), limit=1)

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(post(session, base) for _ in range(3)), return_exceptions=True)
    ended.set()
    await session.close()

    assert [type(answer).__name__ for answer in answers] == ["NoResponse"] * 3


async def test_a_caller_that_is_cancelled_is_cancelled_and_no_timeout(serve: Serve) -> None:
    reached, ended = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        reached.set()
        await ended.wait()
        return web.Response()

    session = HttpSession("acme", timeout=timedelta(seconds=30))
    asking = asyncio.create_task(post(session, await serve(handle)))
    await asyncio.wait_for(reached.wait(), 30)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    ended.set()
    await session.close()


async def test_nobody_at_the_address_is_unavailable(session: HttpSession, unused_tcp_port: int) -> None:
    with pytest.raises(PartnerUnreachable, match="could not connect"):
        await get(session, f"http://127.0.0.1:{unused_tcp_port}/")


@contextmanager
def no_more_files() -> Iterator[None]:
    """Leave this process the files that it has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("host", ["127.0.0.1", "partner.example"])
async def test_a_process_without_files_blames_itself_and_no_partner(session: HttpSession, host: str) -> None:
    with no_more_files(), pytest.raises(ProcessLimit, match=r"may not open more files.*ulimit -n"):
        await get(session, f"http://{host}/")


async def test_a_closed_session_opens_again_on_the_next_request(session: HttpSession, serve: Serve) -> None:
    base = await serve(answering(b"hello"))
    await get(session, base)

    await session.close()

    assert (await get(session, base)).status == 200


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (
            "/v1/Suppliers(71204)/Orders(7a0e)/OrderStatusUpdate",
            "/v1/Suppliers(…)/Orders(…)/OrderStatusUpdate",
        ),
        ("/hooks/T0AB12C3D/confirmation", "/hooks/…/confirmation"),
        ("/v1/oauth2/token", "/v1/oauth2/token"),
    ],
)
def test_ids_and_secrets_in_a_path_are_left_out(path: str, pattern: str) -> None:
    assert path_pattern(path) == pattern
