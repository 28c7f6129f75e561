"""A host name with several addresses: a dead one does not use up the time of those that answer."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest
import trustme
from aiohttp import web
from yarl import URL

from hub.amqp.connection.connection import close, connect
from hub.errors import BrokerUnavailable
from hub.http.session import HttpSession
from hub.process.event_loop import run_short
from hub.state.store import open_store
from tests.addresses import NAME, loop_that_resolves, never_answering
from tests.broker.rig import broker_settings
from tests.ports import free_port

# Nobody listens at REFUSING; a test keeps SILENT from answering.
ANSWERING, SILENT, REFUSING = "127.0.0.1", "127.0.0.3", "127.0.0.4"
# Far less than one address has, and than any of the callers has.
SOON_SECONDS = 2.0

both_loops = pytest.mark.parametrize(
    "fast", [False, True], ids=["the loop of commands", "the loop of hub run"]
)

Loops = Callable[[], asyncio.AbstractEventLoop]


def dead_before(address: str, *, fast: bool) -> Loops:
    return loop_that_resolves([SILENT, REFUSING, address], fast=fast)


@both_loops
def test_a_connection_is_made_beside_dead_addresses(fast: bool) -> None:
    async def ask() -> tuple[str, int]:
        async with await asyncio.start_server(lambda _, writer: writer.close(), ANSWERING, 0) as server:
            port = server.sockets[0].getsockname()[1]
            with never_answering(SILENT, port):
                async with asyncio.timeout(SOON_SECONDS):
                    _, writer = await asyncio.open_connection(NAME, port)
                peer: tuple[str, int] = writer.get_extra_info("peername")
                writer.close()
                assert peer[1] == port
                return peer

    with asyncio.Runner(loop_factory=dead_before(ANSWERING, fast=fast)) as runner:
        assert runner.run(ask())[0] == ANSWERING


@both_loops
def test_when_no_address_answers_each_is_named_with_its_reason(fast: bool) -> None:
    async def ask() -> None:
        port = free_port()
        with never_answering(SILENT, port):
            await asyncio.open_connection(NAME, port)

    with (
        asyncio.Runner(loop_factory=loop_that_resolves([SILENT, REFUSING], fast=fast, seconds=0.5)) as runner,
        pytest.raises(
            OSError, match=r"127\.0\.0\.4: connection refused; 127\.0\.0\.3: no answer within 0.5 s"
        ),
    ):
        runner.run(ask())


@both_loops
def test_addresses_that_all_refuse_are_a_refused_connection(fast: bool) -> None:
    with (
        asyncio.Runner(loop_factory=loop_that_resolves([REFUSING, ANSWERING], fast=fast)) as runner,
        pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.4: .*; 127\.0\.0\.1: "),
    ):
        runner.run(asyncio.open_connection(NAME, free_port()))


@both_loops
def test_the_certificate_is_compared_with_the_name_of_the_host(fast: bool) -> None:
    authority = trustme.CA()
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(NAME).configure_cert(serving)
    authority.configure_trust(trusting)

    async def ask() -> str:
        served = await asyncio.start_server(lambda _, writer: writer.close(), ANSWERING, 0, ssl=serving)
        async with served as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            _, writer = await asyncio.open_connection(NAME, port, ssl=trusting)
            found: str = writer.get_extra_info("peercert")["subjectAltName"][0][1]
            writer.close()
            return found

    with asyncio.Runner(loop_factory=dead_before(ANSWERING, fast=fast)) as runner:
        assert runner.run(ask()) == NAME


@both_loops
def test_a_partner_is_asked_beside_dead_addresses(fast: bool) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    async def ask() -> bytes:
        server = web.Server(answer)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, ANSWERING, port := free_port())
        await site.start()
        session = HttpSession("Partner", timeout=timedelta(seconds=SOON_SECONDS))
        try:
            with never_answering(SILENT, port):
                answered = await session.request(
                    "GET", f"http://{NAME}:{port}/", headers={}, body=None, read_at_most=100
                )
            return answered.body
        finally:
            await session.close()
            await runner.cleanup()

    with asyncio.Runner(loop_factory=dead_before(ANSWERING, fast=fast)) as runner:
        assert runner.run(ask()) == b"here"


@both_loops
def test_the_broker_is_found_beside_dead_addresses(broker_url: str, fast: bool) -> None:
    url = URL(broker_url)

    async def ask() -> None:
        with never_answering(SILENT, url.port or 0):
            named = broker_settings(str(url.with_host(NAME)))
            await close(await connect(named, name="test", timeout=SOON_SECONDS))

    with asyncio.Runner(loop_factory=dead_before(ANSWERING, fast=fast)) as runner:
        runner.run(ask())


@both_loops
def test_the_dead_addresses_of_a_broker_are_named(fast: bool) -> None:
    url = f"amqp://hub:hub@{NAME}:{free_port()}/"

    with (
        asyncio.Runner(loop_factory=loop_that_resolves([REFUSING, ANSWERING], fast=fast)) as runner,
        pytest.raises(
            BrokerUnavailable, match=r"several\.test:.*127\.0\.0\.4: connection refused; 127\.0\.0\.1"
        ),
    ):
        runner.run(connect(broker_settings(url), name="test"))


@both_loops
def test_the_state_store_is_found_beside_dead_addresses(postgresql_url: str, fast: bool) -> None:
    url = URL(postgresql_url)

    async def ask() -> None:
        with never_answering(SILENT, url.port or 0):
            async with asyncio.timeout(3 * SOON_SECONDS):
                store = await open_store(str(url.with_host(NAME)))
                await store.check()
                await store.close()

    with asyncio.Runner(loop_factory=dead_before(ANSWERING, fast=fast)) as runner:
        runner.run(ask())


def test_a_command_runs_on_such_a_loop() -> None:
    async def ask() -> None:
        await asyncio.open_connection("localhost", free_port())

    with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1: connection refused"):
        run_short(ask())
