"""Which flows and queues given settings call for: the tables of ``producers`` and ``consumers`` read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consumers import CONSUMERS
from consumers.registration import ConsumerFlow
from hub.config.settings import Settings
from hub.errors import ConfigError
from hub.process.lifecycle import Resources
from hub.state.protocols import Store
from hub.topology import Topology, WorkQueue, draw
from producers import PRODUCERS
from producers.registration import ProducerFlow


@dataclass(frozen=True, slots=True)
class Flows:
    """What one process runs."""

    producers: tuple[ProducerFlow, ...]
    consumers: tuple[ConsumerFlow, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them."""
        return frozenset(flow.name for flow in self.producers) | {flow.name for flow in self.consumers}


def choose(names: Sequence[str], settings: Settings) -> Flows:
    """Choose flows by name, or all of a side by ``producers`` or ``consumers``; no name means everything.

    A name may be spelled as in the log (``update_order_status``) or as in its queue (``update-order-status``).

    Raises:
        ConfigError: no flow has that name, or its partner has no settings.
    """
    every = Flows(
        tuple(flow for flow in PRODUCERS if flow.enabled(settings)),
        tuple(flow for flow in CONSUMERS if flow.queues(settings)),
    )
    if not names:
        return every
    names = [name.replace("-", "_") for name in names]
    known = Flows(PRODUCERS, CONSUMERS).names
    enabled = every.names
    faults = [
        f"{name}: expected producers, consumers or one of {', '.join(sorted(known))}"
        if name not in known
        else f"{name}: its partner has no section in the settings"
        for name in names
        if name not in {"producers", "consumers"} | enabled
    ]
    if faults:
        raise ConfigError(faults=tuple(faults))
    return Flows(
        tuple(flow for flow in every.producers if "producers" in names or flow.name in names),
        tuple(flow for flow in every.consumers if "consumers" in names or flow.name in names),
    )


def work_queues(settings: Settings) -> tuple[WorkQueue, ...]:
    """Return all work queues that these settings need, whichever process works on them."""
    every = choose((), settings)
    return (
        *(flow.queue for flow in every.producers),
        *(queue for flow in every.consumers for queue in flow.queues(settings)),
    )


def topology_of(settings: Settings) -> Topology:
    """Draw the map for these settings."""
    return draw(work_queues(settings), settings.retry.waits)


def poller_names(settings: Settings, store: Store) -> tuple[str, ...]:
    """Return the names of all pollers that these settings need."""
    resources = Resources(settings, store, "")
    return tuple(
        polling.poller.name for flow in choose((), settings).producers for polling in flow.pollers(resources)
    )
