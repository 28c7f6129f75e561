"""A batch taken in, from the answer of a poll to the cursor behind it, by itself."""

from dataclasses import dataclass, replace

from hub.messaging.polling.ingest import Intake
from hub.messaging.polling.poller import Batch, PollStore, Publisher, Taken
from hub.process.lifecycle import Stop
from hub.state.protocols import Cursor


@dataclass(slots=True)
class _Asked:
    """Brings one batch."""

    name: str
    batch: Batch

    async def poll(self, cursor: Cursor | None, /) -> Batch:
        return replace(self.batch, more=False)


async def take_in(
    batch: Batch,
    *,
    poller: str,
    store: PollStore,
    publisher: Publisher,
    queue: str = "hub.iqmetrix.orders",
    holder: str = "me",
) -> Taken:
    """Take it in and no other."""
    intake = Intake(_Asked(poller, batch), queue, holder, store, publisher)
    (taken,) = [taken async for _, taken in intake.batches(Stop())]
    return taken
