"""Queues that an earlier topology had and today's has not: of a partner, client or wait that left the settings.

They keep their bindings, so a work queue among them goes on filling. ``hub.service.installation`` remembers
the names of all queues that were ever declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from hub.errors import ConfigError
from hub.models.events import EVENT_TYPES
from hub.topology import WAIT_PREFIX

_DEAD_SUFFIX = ".dead"


@dataclass(frozen=True, slots=True)
class OpenQueue:
    """How many messages are ready in a queue, and how many consume it."""

    messages: int
    consumers: int


async def find_orphans(connection: AbstractConnection, names: Iterable[str]) -> Mapping[str, OpenQueue]:
    """Return those of the queues that exist and that no process consumes."""
    found: dict[str, OpenQueue] = {}
    for name in names:
        state = await _state(connection, name)
        if state is not None and not state.consumers:
            found[name] = state
    return found


async def retire(connection: AbstractConnection, queue: str) -> tuple[str, ...]:
    """Stop events from reaching a queue, then delete it and its dead-letter queue; return what was deleted.

    Raises:
        ConfigError: one of them still holds messages or is consumed; its events no longer reach it.
    """
    await _unbind(connection, queue)
    names = (queue,) if queue.endswith(_DEAD_SUFFIX) or queue.startswith(WAIT_PREFIX) else (
        queue, f"{queue}{_DEAD_SUFFIX}",
    )  # fmt: skip
    deleted = []
    for name in names:
        state = await _state(connection, name)
        if state is None:
            continue
        # Not by the broker's own if-empty, which quorum queues of 3.10 do not know.
        if state.messages or state.consumers:
            raise ConfigError(
                f"{name}: expected no messages and no consumers, got {state.messages} and {state.consumers};"
                f" {_how_to_empty(name)}"
            )
        channel = await connection.channel(publisher_confirms=False)
        try:
            await channel.queue_delete(name)
            if name.startswith(WAIT_PREFIX):
                await channel.exchange_delete(name, if_unused=True)
        finally:
            await _close(channel)
        deleted.append(name)
    return tuple(deleted)


async def _state(connection: AbstractConnection, name: str) -> OpenQueue | None:
    channel = await connection.channel(publisher_confirms=False)
    try:
        found = (await channel.declare_queue(name, passive=True)).declaration_result
    except ChannelNotFoundEntity:
        return None
    finally:
        await _close(channel)
    return OpenQueue(found.message_count or 0, found.consumer_count or 0)


async def _unbind(connection: AbstractConnection, name: str) -> None:
    """Remove every binding that a work queue can have to an event exchange; one that is not there is no fault."""
    if name.endswith(_DEAD_SUFFIX) or name.startswith(WAIT_PREFIX) or await _state(connection, name) is None:
        return
    channel = await connection.channel(publisher_confirms=False)
    try:
        queue = await channel.get_queue(name, ensure=False)
        for kind in EVENT_TYPES.values():
            for key in (kind.name, *(f"{kind.name}.{source}" for source in ("*", "iqmetrix", "retailops"))):
                await queue.unbind(kind.exchange, routing_key=key)
    finally:
        await _close(channel)


def _how_to_empty(name: str) -> str:
    if name.endswith(_DEAD_SUFFIX):
        return f"resolve its letters first: hub letters list --queue {name}"
    if name.startswith(WAIT_PREFIX):
        return "what waits there returns in its time; run this again then"
    return (
        "put its partner or client back into the settings until it is empty, or move the messages to another queue"
        " with a shovel"
    )


async def _close(channel: AbstractChannel) -> None:
    if not channel.is_closed:
        await channel.close()
