"""A batch taken in, from the answer of a poll to the cursor behind it, by itself."""

from hub.messaging.polling import Batch, PollStore, Publisher, Taken, announce, prepare


async def take_in(
    batch: Batch,
    *,
    poller: str,
    store: PollStore,
    publisher: Publisher,
    queue: str = "hub.iqmetrix.orders",
    holder: str = "me",
) -> Taken:
    """Prepare it and announce it."""
    prepared = await prepare(batch, poller=poller, store=store)
    return await announce(
        prepared, poller=poller, queue=queue, holder=holder, store=store, publisher=publisher
    )
