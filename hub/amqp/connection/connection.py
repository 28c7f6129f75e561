"""One connection to the broker: to the first host that answers, and closed within seconds."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection
from yarl import URL

from hub.amqp.connection.broker_version import greeting, refuse_too_old
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.protocol import channel, frame_reader
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, ConfigError

# Connecting and closing are bounded, so that a frozen broker cannot hold anybody.
STEP_SECONDS = 30.0
CLOSE_SECONDS = 5.0
# One host of several: two that are frozen, met by both connections of a session, still leave time for the third.
_HOST_SECONDS = 5.0

frame_reader.install()
channel.install()


async def connect(settings: Broker, *, name: str, timeout: float = STEP_SECONDS) -> AbstractConnection:
    """Open one connection, to the first host that answers.

    A password in ``url_file`` is read anew. The hosts of a cluster are tried in random order, so that replicas spread over them.

    Raises:
        BrokerUnavailable: nobody answers, or the broker refuses; says of each host why.
        ConfigError: no broker is set, or it is too old.
    """
    if not settings.hosts:
        raise ConfigError("broker.url: expected an amqp:// address, got none; hub up starts a private broker")
    try:
        settings = settings.as_it_is_now()
    except ValueError as fault:
        # It was well at the start: somebody is about to replace it.
        raise BrokerUnavailable(f"broker.{fault}") from None
    hosts = random.sample(settings.hosts, len(settings.hosts))
    return await first_that_answers(hosts, settings, name=name, timeout=timeout)


async def first_that_answers(
    hosts: Sequence[str], settings: Broker, *, name: str, timeout: float = STEP_SECONDS
) -> AbstractConnection:
    """Open one connection, to the first of `hosts` that answers, in their order.

    Raises:
        BrokerUnavailable: nobody answers, or the broker refuses; says of each host why.
        ConfigError: the broker is too old.
    """
    # A host that is frozen must leave time for the others.
    for_each = timeout if len(hosts) == 1 else min(timeout, _HOST_SECONDS)
    refusals: list[str] = []
    for host in hosts:
        try:
            return await _connect_to(URL(host), settings, name=name, timeout=for_each)
        except BrokerUnavailable as error:
            refusals.append(str(error))
    raise BrokerUnavailable("; ".join(refusals))


async def _connect_to(host: URL, settings: Broker, *, name: str, timeout: float) -> AbstractConnection:
    url = host.update_query(heartbeat=settings.heartbeat)
    options: dict[str, Any] = {"client_properties": {"connection_name": name}}
    if url.scheme == "amqps":
        options["ssl_context"] = _tls(settings)
    try:
        connection: AbstractConnection = await aio_pika.connect(url, timeout=timeout, **options)
    except StopAsyncIteration:
        # What the client library raises when the other side has closed before it is read; a balancer without a broker does.
        raise BrokerUnavailable(
            f"{_place(url)}: expected an AMQP broker, got a connection closed without a word;"
            " see whether the broker behind it is up, and whether it wants amqps://"
        ) from None
    except LOST as error:
        raise BrokerUnavailable(f"{_place(url)}: {describe(error)}{_look_at(url, str(error))}") from None
    try:
        refuse_too_old(greeting(connection))
    except ConfigError:
        await close(connection)
        raise
    return connection


def _tls(settings: Broker) -> ssl.SSLContext:
    try:
        return settings.tls()
    except ValueError as fault:
        # They were well at the start: somebody is about to replace them.
        raise BrokerUnavailable(f"broker.{fault}") from None


def _place(url: URL) -> str:
    return f"{url.host}:{url.port or (5671 if url.scheme == 'amqps' else 5672)}"


def _look_at(url: URL, said: str) -> str:
    """Say what a person should look at, where what was said leaves that open."""
    if "CERTIFICATE_VERIFY_FAILED" in said and "mismatch" in said:
        return (
            f"; the broker's certificate names other hosts than {url.host}: call it as its certificate does"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "; see whether broker.ca_file holds the authority that has signed the broker's certificate"
    # Alerts are what the other side says.
    if "ALERT" in said or (url.scheme == "amqps" and ("reset" in said or "closed" in said)):
        return "; if the broker wants certificates of its clients, see whether it trusts that of broker.cert_file"
    if "SSL" in said:
        return "; see whether the broker speaks TLS at this port, or wants amqp://"
    # A TLS alert is no whole AMQP frame; newer brokers send one before they close.
    cut = "reset" in said or "into a frame" in said
    return "; see whether the broker wants amqps:// at this port" if cut else ""


async def close(connection: AbstractConnection) -> None:
    """Close a connection within a few seconds; one that is lost is closed already."""
    with suppress(*LOST, BrokerUnavailable), translate_connection_cancel():
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
