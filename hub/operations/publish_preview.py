"""What each consumer would do with an event that is not published: ``hub publish --dry-run``.

Nothing is sent and nothing is recorded: the order is read from the state store, and the event is applied to a
copy of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hub.config.settings import Settings
from hub.models.events import AnyEvent, UnitDispositionChanged
from hub.models.order import Applied, Order
from hub.models.order_transitions import FieldError, apply
from hub.partners.optoro.translate import IncompleteWebhooks, webhooks
from hub.service.flows import topology_of
from hub.topology import WorkQueue

COLUMNS = ("queue", "would")
_WEBHOOK = "webhook"


def preview(event: AnyEvent, order: Order | None, settings: Settings) -> Sequence[tuple[str, str]]:
    """Return each queue that the event would reach, and what its consumer would do.

    Args:
        event: valid, as ``hub publish`` would send it.
        order: the recorded order; None where there is none, or the event is about none.
        settings: the configured partners and clients.
    """
    reached = [queue for queue in topology_of(settings).work_queues if event.type in queue.hears]
    if not reached:
        return [("-", "no configured consumer takes this type: it would lie in hub.unroutable")]
    if event.order_id is not None and order is None:
        would = "wait for the order, which is not recorded here, and become a dead letter if it does not come"
        return [(queue.queue, would) for queue in reached]
    applied: Applied | None = None
    if order is not None:
        try:
            order, applied = apply(order, event)
        except FieldError as error:
            return [(queue.queue, f"dead letter: {error.field}: {error}") for queue in reached]
    return [(queue.queue, "; ".join(_would(queue, event, order, applied, settings))) for queue in reached]


def _would(
    queue: WorkQueue, event: AnyEvent, order: Order | None, applied: Applied | None, settings: Settings
) -> Iterator[str]:
    if queue.partner != _WEBHOOK:
        source = order.details.source if order is not None else None
        if source not in (None, queue.partner):
            yield f"nothing: the order is one of {source}"
        else:
            yield f"call {queue.partner}, computed from the recorded order"
        return
    client = next(client for client in settings.webhooks if client.account == queue.name.replace("_", "-"))
    if order is not None and client.sources is not None and order.details.source not in client.sources:
        yield f"nothing: {client.name} is not sent orders of {order.details.source}"
        return
    meant = event.data.clients if isinstance(event.data, UnitDispositionChanged) else None
    if meant is not None and client.name not in meant:
        yield f"nothing: not meant for {client.name}"
        return
    try:
        built, missing = webhooks(event, order, applied, client), ""
    except IncompleteWebhooks as error:
        built, missing = error.complete, str(error)
    kinds = [webhook.kind.value for webhook in built]
    if kinds:
        yield f"send {', '.join(f'{kinds.count(kind)} {kind}' for kind in dict.fromkeys(kinds))}"
    if missing:
        yield f"dead letter: {missing}"
    if not kinds and not missing:
        yield "send nothing"
