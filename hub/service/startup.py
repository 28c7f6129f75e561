"""What must be there before anything runs: the state store, and traces, if wanted.

Called by ``hub.service.composition``. Whatever is away is waited for, and said; only what waiting cannot mend is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from hub.amqp.diagnostics.queue_metrics import QueueSampler
from hub.amqp.supervisor import Supervisor
from hub.config.settings import Settings
from hub.errors import StoreUnavailable
from hub.messaging.polling.poll_loop import PollLoop
from hub.messaging.resilience.outages import Outages
from hub.observability import tracing
from hub.observability.health import Check
from hub.observability.logging import LogEvent, log
from hub.state.process_identity import this_process
from hub.state.protocols import Store

# Between looks at a state store that is not there yet.
_STORE_AGAIN_SECONDS = 2.0
# Names that the readiness shows of what is missing on the broker.
_SHOWN = 5
# How long a stop waits for the last spans to reach the collector.
_FLUSH = timedelta(seconds=3)


class StoreFactory(Protocol):
    """Opens the state store at a URL; raises ``StoreUnavailable`` while it does not answer."""

    async def __call__(self, url: str, *, busy_timeout: timedelta) -> Store:
        """Return the store, migrated."""


@dataclass(slots=True)
class ReadinessState:
    """What the checks look at; filled while the process starts."""

    store: Store | None = None
    store_fault: str = "not opened yet"
    supervisor: Supervisor | None = None
    broker_fault: str = "not connected yet"
    outages: Outages | None = None
    loops: Sequence[PollLoop] = ()
    sampler: QueueSampler | None = None

    def checks(self) -> dict[str, Check]:
        """Return the readiness checks."""
        return {"state_store": self._check_store, "broker": self._check_broker}

    def notes(self) -> dict[str, str]:
        """Say what is away, and that its work waits."""
        return self.outages.described() if self.outages is not None else {}

    def pollers(self) -> dict[str, str]:
        """Return what each poller does in this process."""
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
        if self.sampler is not None and (missing := self.sampler.missing):
            return f"missing on the broker: {', '.join(missing[:_SHOWN])}; hub topology apply creates it"
        return (
            None if await self.supervisor.consumers_listed() else "the broker does not list all our consumers"
        )


@asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """Trace while the context lasts, if there is a collector; its library is imported only then."""
    if not settings.telemetry.otlp_endpoint:
        yield
        return
    from hub.observability import otlp

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


async def store_opened(settings: Settings, vitals: ReadinessState, opening: StoreFactory) -> Store:
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
