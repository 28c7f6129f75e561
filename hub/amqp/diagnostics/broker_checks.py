"""The broker's part of ``hub doctor``: reached, new enough, not in alarm, its user allowed what the hub does, no drift.

Nothing is left behind: what the probe declares is exclusive and goes with its connection. The probe has a connection
of its own, since a broker in alarm stops reading from a connection that publishes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from hub.amqp.connection.broker_version import OLDEST, greeting, name_and_version
from hub.amqp.connection.connection import close, connect
from hub.amqp.connection.errors import LOST, describe, translate_connection_cancel
from hub.amqp.topology.declare import State, inspect
from hub.amqp.topology.policies import LIMITS, find_limiting
from hub.config.broker import Broker
from hub.errors import BrokerUnavailable, ConfigError
from hub.models.input.body_limits import LARGEST_BODY
from hub.observability.health_checks import Diagnosis, fault, well
from hub.topology import Topology

# Seconds. A broker that is well confirms in milliseconds.
_CONFIRM_SECONDS = 3.0
_LOOK_SECONDS = 1.0
_CONNECT_SECONDS = 10.0
# Names of queues and exchanges that one diagnosis lists.
_SHOWN = 5
_ACCESS = "a user that may configure, write and read hub.*"


async def examine_broker(settings: Broker, topology: Topology) -> list[Diagnosis]:
    """Connect and look; what cannot be looked at because of an earlier fault is left out."""
    try:
        connections = [await connect(settings, name="hub doctor", timeout=_CONNECT_SECONDS)]
    except BrokerUnavailable as error:
        remedy = "start the broker, or correct [broker] url: host, port, user, password, virtual host"
        return [fault("broker", expected="a connection", got=str(error), remedy=remedy)]
    except ConfigError as error:
        oldest = f"RabbitMQ {OLDEST[0]}.{OLDEST[1]} or later"
        remedy = "set [broker] url, or upgrade the broker"
        return [fault("broker", expected=f"{oldest} at [broker] url", got=str(error), remedy=remedy)]
    found = [well("broker", name_and_version(greeting(connections[0])))]
    try:
        with translate_connection_cancel():
            connections.append(await connect(settings, name="hub doctor", timeout=_CONNECT_SECONDS))
            looks = await asyncio.gather(
                _probe(connections[0]), _drift(connections[1], topology), _policies(settings, topology)
            )
            found += [diagnosis for look in looks for diagnosis in look]
    except (*LOST, BrokerUnavailable) as error:
        remedy = "look at the broker's log"
        found.append(fault("broker", expected="answers", got=describe(error), remedy=remedy))
    finally:
        await asyncio.gather(*(close(connection) for connection in connections))
    return found


async def _probe(connection: AbstractConnection) -> Sequence[Diagnosis]:
    """Send a message of our own through an exchange and a queue of our own: every right the hub needs, and no alarm."""
    name = f"hub.doctor.{secrets.token_hex(6)}"
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        await _round_trip(channel, name)
    except ChannelAccessRefused as refusal:
        remedy = "rabbitmqctl set_permissions for the user of [broker] url: '^hub\\.' for configure, write and read"
        return [fault("broker permissions", expected=_ACCESS, got=describe(refusal), remedy=remedy)]
    except TimeoutError:
        return [await _unconfirmed(connection)]
    finally:
        with suppress(*LOST, BrokerUnavailable), translate_connection_cancel():
            async with asyncio.timeout(_LOOK_SECONDS):
                leftover = await connection.channel(publisher_confirms=False)
                await leftover.exchange_delete(name)
    return [
        well("broker permissions", _ACCESS),
        well("broker alarms", "a message was taken and confirmed"),
        await _size_limit(connection),
    ]


async def _round_trip(channel: AbstractChannel, name: str) -> None:
    exchange = await channel.declare_exchange(name, "fanout", auto_delete=True)
    queue = await channel.declare_queue(name, exclusive=True)
    await queue.bind(exchange)
    await exchange.publish(aio_pika.Message(b""), "", mandatory=True, timeout=_CONFIRM_SECONDS)
    await queue.get(no_ack=True, fail=False, timeout=_CONFIRM_SECONDS)


async def _size_limit(connection: AbstractConnection) -> Diagnosis:
    """Compare the broker's limit of a body with the hub's, by bodies that reach no queue."""
    check, expected = "broker size limit", f"bodies of at most {LARGEST_BODY} bytes"
    remedy = f"max_message_size = {LARGEST_BODY} in rabbitmq.conf, then restart the broker"
    try:
        if await _takes(connection, LARGEST_BODY + 1):
            return fault(check, expected=expected, got="it takes larger ones", remedy=remedy)
        if not await _takes(connection, LARGEST_BODY):
            return fault(check, expected=expected, got="it refuses one of that size", remedy=remedy)
    except TimeoutError:
        return fault(check, expected=expected, got=f"no confirm within {_CONFIRM_SECONDS:g} s", remedy=remedy)
    return well(check, expected)


async def _takes(connection: AbstractConnection, size: int) -> bool:
    """Publish a body of so many bytes to an exchange of our own that nothing is bound to."""
    name = f"hub.doctor.{secrets.token_hex(6)}"
    # A refusal closes the channel.
    channel = await connection.channel(publisher_confirms=True)
    await channel.declare_exchange(name, "fanout")
    try:
        exchange = await channel.get_exchange(name, ensure=False)
        body = aio_pika.Message(bytes(size))
        await exchange.publish(body, "", mandatory=False, timeout=_CONFIRM_SECONDS)
    except ChannelPreconditionFailed:
        return False
    finally:
        cleaner = channel if not channel.is_closed else await connection.channel(publisher_confirms=False)
        await cleaner.exchange_delete(name)
    return True


async def _unconfirmed(connection: AbstractConnection) -> Diagnosis:
    transport: Any = connection.transport
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await transport.connection.ready()
    except TimeoutError:
        got = "publishing is blocked: the broker is short of memory or disk"
    else:
        got = f"no confirm within {_CONFIRM_SECONDS:g} s"
    remedy = "rabbitmq-diagnostics alarms tells which; free memory or disk, or drain queues. The hub goes on by itself"
    return fault("broker alarms", expected="a confirmed message", got=got, remedy=remedy)


async def _policies(settings: Broker, topology: Topology) -> Sequence[Diagnosis]:
    """Name policies that would drop or expire messages of the hub."""
    check, expected = "broker policies", f"no policy with {', '.join(LIMITS)} on queues of the hub"
    found = await find_limiting(settings, topology)
    if found.unknown:
        return [well(check, f"not looked at: {found.unknown}")]
    if not found.limiting:
        return [well(check, expected)]
    return [
        fault(
            check,
            expected=expected,
            got="; ".join(map(str, found.limiting)),
            remedy="rabbitmqctl clear_policy or clear_operator_policy, or a pattern that leaves out ^hub\\.",
        )
    ]


async def _drift(connection: AbstractConnection, topology: Topology) -> Sequence[Diagnosis]:
    """Compare with the map. Nothing of it there at all is a new broker: the hub declares it when it starts."""
    findings = await inspect(connection, topology)
    counts = Counter(finding.state for finding in findings)
    if counts[State.MISSING] == len(findings):
        return [well("topology", "nothing declared yet; the hub does that when it starts")]
    wrong = [
        finding
        for state in (State.DIFFERENT, State.MISSING, State.NOT_ALLOWED)
        for finding in findings
        if finding.state is state
    ]
    if not wrong:
        older = counts[State.EARLIER]
        more = f"; {older} queues as an earlier release declared them, which works" if older else ""
        return [well("topology", f"{counts[State.THERE]} exchanges and queues as on the map{more}")]
    shown = "; ".join(
        f"{finding.thing} {finding.name}: {finding.state}"
        + (f" ({finding.detail})" if finding.detail else "")
        for finding in wrong[:_SHOWN]
    )
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    remedy = (
        "arguments cannot be changed: drain the queue, delete it, then hub topology apply"
        if counts[State.DIFFERENT]
        else "hub topology apply, as a user who may configure hub.*"
    )
    expected = "exchanges and queues as on the map"
    return [fault("topology", expected=expected, got=f"{shown}{more}", remedy=remedy)]
