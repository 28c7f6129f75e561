"""Whether the state store and the broker belong together, settled before anything is consumed or published.

Both hold the installation's id. An empty ledger beside a broker that has seen the hub would repeat every
recorded effect; two stores beside one broker would each do half of the work and all of the effects.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from hub.amqp.topology.installation import Marked, Unmarked, look_at_broker
from hub.config.settings import Settings
from hub.config.types import shown_url
from hub.errors import BrokerUnavailable, ConfigError, LeaseHeld, StoreUnavailable
from hub.observability.logging import LogEvent, log
from hub.process.lifecycle import Resources
from hub.service.startup import ReadinessState
from hub.state.protocols import Signing, Store
from hub.topology import Topology

# Where the store keeps the id; releases without ids kept there that the installation has begun.
_KEPT_AT = ("hub", "installation")
_QUEUES_KEPT_AT = ("hub", "queues")
# Replicas that start together settle it one after the other.
_LEASE = "installation"
_LEASE_FOR = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Joined:
    """What a process learns of its installation at the start."""

    signing: Signing
    orphans: tuple[str, ...]
    """Queues that earlier settings had and these do not."""


async def join_installation(
    resources: Resources, topology: Topology, vitals: ReadinessState, *, accept: bool
) -> Joined:
    """Write the installation's id to store and broker where it is missing, else compare the two.

    A broker or store that does not answer is waited for.

    Args:
        resources: the state store and the settings.
        topology: what the broker has to hold.
        vitals: says what is waited for.
        accept: take an empty store for the one of this broker.

    Raises:
        ConfigError: the store is empty and the broker is not, or they hold different ids.
    """
    pause = resources.settings.broker.reconnect_after.total_seconds()
    while True:
        try:
            await resources.store.acquire_lease(_LEASE, holder=resources.holder, lease=_LEASE_FOR)
            try:
                # Before anything is recorded: a new store has never had copies without a signature.
                signing = await resources.store.signing()
                await _settle(resources, topology, accept=accept)
                return Joined(signing, await remember_queues(resources.store, topology))
            finally:
                await resources.store.release_lease(_LEASE, holder=resources.holder)
        except LeaseHeld as error:
            log.info(LogEvent.WAITING_FOR, what="another process that starts", reason=str(error))
        except (BrokerUnavailable, StoreUnavailable) as error:
            vitals.broker_fault = str(error)
            log.warning(LogEvent.WAITING_FOR, what="broker and state store", reason=str(error))
        await asyncio.sleep(pause)


async def remember_queues(store: Store, topology: Topology) -> tuple[str, ...]:
    """Record the names of the topology's queues; return those of earlier topologies that are not in this one.

    Raises:
        StoreUnavailable: it does not answer.
    """
    known = await remembered_queues(store)
    today = {queue.name for queue in topology.queues}
    if not today <= known:
        await store.tell(*_QUEUES_KEPT_AT, {"names": sorted(known | today)})
    return tuple(sorted(known - today))


async def remembered_queues(store: Store) -> frozenset[str]:
    """Return the names of all queues that this installation has declared and not retired."""
    return frozenset((await store.told(*_QUEUES_KEPT_AT) or {}).get("names", ()))


async def forget_queues(store: Store, names: Iterable[str]) -> None:
    """Drop the names of queues that were retired."""
    await store.tell(*_QUEUES_KEPT_AT, {"names": sorted(await remembered_queues(store) - set(names))})


async def _settle(resources: Resources, topology: Topology, *, accept: bool) -> None:
    store, settings = resources.store, resources.settings
    kept = await store.told(*_KEPT_AT) or {}
    async with look_at_broker(settings.broker, topology) as broker:
        on_broker = await broker.read()
        ours: str | None = kept.get("id")
        if ours is None:
            if not accept:
                # A store that was used before it held an id is no lost one.
                is_lost = not kept and on_broker is not Unmarked.NEW and await store.is_empty()
                _refuse(settings, on_broker, is_lost=is_lost)
            ours = on_broker.id if isinstance(on_broker, Marked) else secrets.token_hex(16)
            await store.tell(*_KEPT_AT, {"begun_by": resources.holder, **kept, "id": ours})
        if not isinstance(on_broker, Marked):
            await broker.write(ours)
        elif on_broker.id != ours:
            raise _two_installations(settings)


def _refuse(settings: Settings, on_broker: Marked | Unmarked, *, is_lost: bool) -> None:
    if is_lost:
        found = "an installation of the hub" if isinstance(on_broker, Marked) else "queues of the hub"
        raise ConfigError(
            f"the state store {shown_url(settings.state.url)} is empty, but the broker has {found}."
            " If the store was lost, restore its backup: without it every recorded effect would be sent again."
            " To begin anew on this broker, start with --accept-empty-state once"
        )
    if isinstance(on_broker, Marked):
        raise ConfigError(
            f"{_two_installations(settings)}. If the store is an older backup of the one that was used on"
            " this broker, start with --accept-empty-state once"
        )


def _two_installations(settings: Settings) -> ConfigError:
    return ConfigError(
        f"expected the broker and the state store {shown_url(settings.state.url)} to be of one installation, got"
        " two: another installation of the hub uses this broker. Give this one a virtual host of its own"
        " ([broker] url), or the state store of the other one ([state] url)"
    )
