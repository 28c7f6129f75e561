"""A broker that speaks TLS and wants a certificate of its clients: who gets in, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from yarl import URL

from hub.amqp.connection.connection import close, connect
from hub.amqp.sending.client_session import client_session
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.local_broker.node_process import accepts
from hub.messaging.message import Message
from tests.eventually import eventually
from tests.ports import free_port

TRUSTED = {"ca_file": "ca.pem", "cert_file": "hub.pem", "key_file": "hub.key"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Secured:
    """A broker with a TLS listener, and the files of those who may and may not speak to it."""

    node: PrivateNode
    port: int
    folder: Path

    def settings(self, files: Mapping[str, str], *, host: str = "localhost", url: str = "") -> Broker:
        """Give what a hub has that is given these files, for the TLS port of a host or for another address."""
        at = url or str(URL(self.node.url).with_scheme("amqps").with_host(host).with_port(self.port))
        return Broker.model_validate({"url": at} | {key: self.folder / file for key, file in files.items()})


def _write(authority: trustme.CA, folder: Path, name: str) -> None:
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(folder / f"{name}.key")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / f"{name}.pem", append=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    for name in ("localhost", "hub"):
        _write(authority, folder, name)
    _write(stranger, folder, "intruder")
    port = free_port()
    lines = {
        "listeners.ssl.1": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": folder / "ca.pem",
        "ssl_options.certfile": folder / "localhost.pem",
        "ssl_options.keyfile": folder / "localhost.key",
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }
    more = "".join(f"{key} = {value}\n" for key, value in lines.items())
    async with PrivateNode(folder / "node", more=more) as node:
        # The node waits for its own listeners only, and newer brokers open this one later.
        await eventually(partial(accepts, port), because="the broker listens for TLS")
        yield Secured(node, port, folder)


async def test_a_client_with_the_right_certificate_publishes_with_confirm(secured: Secured) -> None:
    async with client_session(secured.settings(TRUSTED), name="test") as desk:
        queue = await desk.channel.declare_queue("tls", durable=True)
        await desk.send(Message(b"{}"), exchange="", routing_key="tls")
        found = await queue.get(no_ack=True)

    assert found is not None
    assert found.body == b"{}"


@pytest.mark.parametrize(
    ("ca_file", "host", "said"),
    [
        ("stranger.pem", "localhost", "broker.ca_file"),
        ("ca.pem", "127.0.0.1", "call it as its certificate does"),
    ],
)
async def test_a_broker_that_cannot_prove_itself_is_refused_and_the_error_says_what_to_look_at(
    secured: Secured, ca_file: str, host: str, said: str
) -> None:
    settings = secured.settings(TRUSTED | {"ca_file": ca_file}, host=host)
    with pytest.raises(BrokerUnavailable, match="certificate") as refused:
        await connect(settings, name="test", timeout=10)

    assert said in str(refused.value)
    assert secured.node.password not in str(refused.value)


@pytest.mark.parametrize("files", [{}, {"cert_file": "intruder.pem", "key_file": "intruder.key"}])
async def test_a_client_that_the_broker_does_not_trust_is_told_to_look_at_its_certificate(
    secured: Secured, files: dict[str, str]
) -> None:
    with pytest.raises(BrokerUnavailable, match=r"broker\.cert_file"):
        await connect(secured.settings({"ca_file": "ca.pem", **files}), name="test", timeout=10)


async def test_plain_amqp_at_the_tls_port_and_tls_at_the_plain_port_end_in_an_error_that_names_the_other(
    secured: Secured,
) -> None:
    plain = URL(secured.node.url).with_host("localhost")
    swapped = plain.with_port(secured.port), plain.with_scheme("amqps")

    with pytest.raises(BrokerUnavailable, match="amqps://"):
        await connect(secured.settings({}, url=str(swapped[0])), name="test", timeout=10)
    with pytest.raises(BrokerUnavailable, match="wants amqp://"):
        await connect(secured.settings(TRUSTED, url=str(swapped[1])), name="test", timeout=10)


async def test_a_certificate_that_is_gone_for_a_moment_is_waited_for_and_named(secured: Secured) -> None:
    settings = secured.settings(TRUSTED)
    certificate = secured.folder / "hub.pem"
    away = certificate.rename(secured.folder / "away.pem")
    try:
        with pytest.raises(BrokerUnavailable, match=r"broker\.cert_file: cannot read"):
            await connect(settings, name="test", timeout=10)
    finally:
        away.rename(certificate)

    await close(await connect(settings, name="test"))


async def test_a_connection_over_tls_that_is_closed_leaves_no_task(secured: Secured) -> None:
    before = asyncio.all_tasks()

    await close(await connect(secured.settings(TRUSTED), name="test"))

    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
