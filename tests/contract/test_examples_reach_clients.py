"""What the documents show to publish reaches every client of the example's settings, and not a dead-letter queue."""

import pytest

from hub.config.settings import load
from hub.contract.examples import EXAMPLES, Example
from hub.models.events import EVENT_TYPES, FULFILLMENT, AnyEvent
from hub.models.order import Order
from hub.models.order_transitions import apply
from hub.partners.optoro.translate import Webhook, webhooks
from tests.cli.conftest import EXAMPLE

CLIENTS = load(EXAMPLE, environ={}).webhooks
ORDERS = {
    event.order_id: Order.new(event.data)
    for event in (example.event() for example in EXAMPLES if example.type == "order.created")
}
REPORTED = [example for example in EXAMPLES if EVENT_TYPES[example.type].exchange == FULFILLMENT]


def webhooks_of(event: AnyEvent) -> list[Webhook]:
    """The webhooks of an event for all clients; raises for one that lacks a value."""
    order, applied = (None, None) if event.order_id is None else apply(ORDERS[event.order_id], event)
    return [webhook for client in CLIENTS for webhook in webhooks(event, order, applied, client)]


@pytest.mark.parametrize("example", REPORTED, ids=lambda example: example.name)
def test_every_example_becomes_complete_webhooks(example: Example) -> None:
    built = webhooks_of(example.event())

    expected = {"order.shipped", "order.cancelled", "unit.disposition_changed"}
    assert bool(built) == (example.type in expected)
