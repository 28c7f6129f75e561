"""What must be there before anything runs: the state store, and certainty that it is the right one; traces, if wanted.

Called by ``hub.cli.run``. Whatever is away is waited for, and said; only what waiting cannot mend is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from hub import tracing
from hub.amqp.connection import close, connect
from hub.amqp.declare import any_is_there
from hub.amqp.loss import LOST, describe, not_a_shutdown
from hub.amqp.supervisor import Supervisor
from hub.config import Settings
from hub.config_values import shown_url
from hub.errors import BrokerUnavailable, ConfigError, StoreUnavailable
from hub.health import Check
from hub.lifecycle import Resources
from hub.messaging.outage import Outages
from hub.messaging.poll_loop import PollLoop
from hub.state.holder import this_process
from hub.state.stores import Store
from hub.telemetry import LogEvent, log
from hub.topology import Topology

# Between looks at a state store that is not there yet.
_STORE_AGAIN_SECONDS = 2.0
# How long the look at the broker's queues may take at start.
_LOOK_SECONDS = 15.0
# How long a stop waits for the last spans to reach the collector.
_FLUSH = timedelta(seconds=3)
# Where the store keeps that this installation has begun, so that a lost store is not taken for a new one.
_INSTALLATION = ("hub", "installation")


class Opening(Protocol):
    """Opens the state store at a URL; raises ``StoreUnavailable`` while it does not answer."""

    async def __call__(self, url: str, *, busy_timeout: timedelta) -> Store:
        """Give the store, migrated."""


@dataclass(slots=True)
class Vitals:
    """What the checks look at; filled while the process starts."""

    store: Store | None = None
    store_fault: str = "not opened yet"
    supervisor: Supervisor | None = None
    broker_fault: str = "not connected yet"
    outages: Outages | None = None
    loops: Sequence[PollLoop] = ()

    def checks(self) -> dict[str, Check]:
        """Give the readiness checks."""
        return {"state_store": self._check_store, "broker": self._check_broker}

    def notes(self) -> dict[str, str]:
        """Say what is away, and that its work waits."""
        return self.outages.described() if self.outages is not None else {}

    def pollers(self) -> dict[str, str]:
        """Give what each poller does in this process."""
        return {loop.poller.name: loop.standing for loop in self.loops}

    async def _check_store(self) -> str | None:
        if self.store is None:
            return self.store_fault
        try:
            await self.store.check()
        except StoreUnavailable as error:
            return str(error)
        return None

    async def _check_broker(self) -> str | None:
        if self.supervisor is None:
            return self.broker_fault
        if not self.supervisor.is_up:
            return f"not connected: {self.supervisor.last_error}"
        return (
            None if await self.supervisor.consumers_listed() else "the broker does not list all our consumers"
        )


@asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """Trace while the context lasts, if there is a collector; its library is imported only then."""
    if not settings.telemetry.otlp_endpoint:
        yield
        return
    from hub import otlp

    def changed(works: bool) -> None:
        if works:
            log.info(LogEvent.TRACES_SENT)
        else:
            log.warning(LogEvent.TRACES_LOST, reason="the collector does not take them; deliveries go on")

    tracer, provider = otlp.tracer(
        settings.telemetry.otlp_endpoint,
        sample_ratio=settings.telemetry.sample_ratio,
        instance=this_process(),
        on_change=changed,
    )
    tracing.begin(tracer)
    try:
        yield
    finally:
        tracing.end()
        await otlp.flush(provider, _FLUSH)


async def store_opened(settings: Settings, vitals: Vitals, opening: Opening) -> Store:
    """Open the state store; one that is away is waited for."""
    while True:
        try:
            vitals.store = await opening(settings.state.url, busy_timeout=settings.state.busy_timeout)
        except StoreUnavailable as error:
            vitals.store_fault = str(error)
            log.warning(LogEvent.WAITING_FOR, what="state store", reason=str(error))
            await asyncio.sleep(_STORE_AGAIN_SECONDS)
        else:
            return vitals.store


async def refuse_lost_state(
    resources: Resources, topology: Topology, vitals: Vitals, *, accept: bool
) -> None:
    """Refuse to begin with an empty ledger on a broker that has seen the hub: recorded effects would be sent again."""
    store = resources.store
    while True:
        try:
            if await store.told(*_INSTALLATION) is None:
                if not accept and not await store.is_empty():
                    accept = True
                if (
                    not accept
                    and await _broker_knows_the_hub(resources.settings, topology)
                    # Not by a replica that began in between: it told the store first.
                    and await store.told(*_INSTALLATION) is None
                ):
                    raise ConfigError(
                        f"the state store {shown_url(resources.settings.state.url)} is empty, but the broker has"
                        " queues of the hub. If the store was lost, restore its backup: without it every recorded effect"
                        " would be sent again. If this is a new installation, start with --accept-empty-state once"
                    )
                await store.tell(*_INSTALLATION, {"begun_by": resources.holder})
        except (BrokerUnavailable, StoreUnavailable) as error:
            vitals.broker_fault = str(error)
            log.warning(LogEvent.WAITING_FOR, what="broker and state store", reason=str(error))
            await asyncio.sleep(resources.settings.broker.reconnect_after.total_seconds())
        else:
            return


async def _broker_knows_the_hub(settings: Settings, topology: Topology) -> bool:
    connection = await connect(settings.broker, name="hub start")
    try:
        with not_a_shutdown():
            async with asyncio.timeout(_LOOK_SECONDS):
                return await any_is_there(connection, (work.queue for work in topology.work_queues))
    except LOST as error:
        raise BrokerUnavailable(
            f"expected to see whether the broker knows the hub, got {describe(error)}"
        ) from None
    finally:
        await close(connection)
