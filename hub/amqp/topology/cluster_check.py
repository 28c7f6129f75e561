"""Whether a cluster is whole when its queues are declared for the first time.

A quorum queue gets its members on the nodes that are there when it is declared, and no more by itself later: declared on a
cluster of which one node has started, it would live on that node alone. Called by the supervisor before it declares.
Once queues of the hub are there, nothing is waited for: a cluster without one of its nodes serves as before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aio_pika.abc import AbstractConnection
from yarl import URL

from hub.amqp.topology.declare import any_is_there
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable
from hub.topology import Topology

# A node opens its port when it has joined; whether it does takes no time to see.
_ANSWER_SECONDS = 3.0


async def refuse_part_of_a_cluster(
    connection: AbstractConnection, settings: Broker, topology: Topology
) -> None:
    """Return if the broker has one host, or knows the hub, or all its hosts answer.

    Raises:
        BrokerUnavailable: the broker is new and hosts are missing; names them.
        aio_pika.exceptions.AMQPError: the connection is lost.
    """
    queues = [work.queue for work in topology.work_queues]
    if len(settings.hosts) < 2 or not queues or await any_is_there(connection, queues):
        return
    hosts = [URL(host) for host in settings.hosts]
    answers = await asyncio.gather(*(_answers(host) for host in hosts))
    missing = [
        f"{host.host}:{_port(host)}" for host, answered in zip(hosts, answers, strict=True) if not answered
    ]
    if missing:
        raise BrokerUnavailable(
            f"expected all {len(hosts)} hosts of broker.url to answer before queues are declared for the first time, "
            f"{', '.join(missing)} did not: queues would have no member there. Start it, or take it out of broker.url"
        )


async def _answers(host: URL) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host.host, _port(host))
            writer.close()
            return True
    return False


def _port(host: URL) -> int:
    return host.port or (5671 if host.scheme == "amqps" else 5672)
