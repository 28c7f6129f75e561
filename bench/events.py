"""The events of a benchmark's turn: the same at each run, but for their ids."""

from __future__ import annotations

from datetime import UTC, datetime

from hub.contract.examples import examples_of
from hub.models.events import AnyEvent, Event, OrderCreated, OrderShipped, UnitDispositionChanged


def events(turn: int, many: int) -> list[AnyEvent]:
    """Give so many events of one turn; their ids differ from those of every other, their contents do not."""
    data = examples_of("unit.disposition_changed")[0].data
    return [
        Event(
            f"bench-{turn}-{number}",
            "unit.disposition_changed",
            "/bench",
            "",
            datetime.now(UTC),
            UnitDispositionChanged.model_validate({**data, "optiturn_lp": f"LPN{number:08}"}),
        )
        for number in range(many)
    ]


def orders(turn: int, many: int) -> tuple[list[AnyEvent], list[AnyEvent]]:
    """Give so many orders of one turn, and the shipment of each."""
    created, shipped = (examples_of(name)[0].data for name in ("order.created", "order.shipped"))
    announced: list[AnyEvent] = []
    fulfilled: list[AnyEvent] = []
    for number in range(many):
        name = f"{turn}-{number}"
        named = {"order_id": f"iqmetrix:71204:{name}"}
        order = OrderCreated.model_validate({**created, **named, "source_order_id": name})
        announced.append(_about(order.order_id, f"created-{name}", "order.created", order))
        shipment = OrderShipped.model_validate({**shipped, **named})
        fulfilled.append(_about(order.order_id, f"shipped-{name}", "order.shipped", shipment))
    return announced, fulfilled


def _about(order_id: str, event_id: str, name: str, data: OrderCreated | OrderShipped) -> AnyEvent:
    return Event(event_id, name, "/bench", order_id, datetime.now(UTC), data)
