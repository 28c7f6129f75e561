"""What follows from an event on the largest order: applying it, webhooks, updates and the completion."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.hostile.case import LOOP_MS, THREAD_MS, Case
from consumers.large_orders import is_large
from consumers.retailops.complete_purchase_order import complete_of
from hub.config.settings import Iqmetrix
from hub.config.webhooks import WebhookClient
from hub.models.events import (
    AnyEvent,
    CancelledLine,
    Charges,
    Event,
    LineQuantity,
    LineRef,
    OrderAccepted,
    OrderBackordered,
    OrderCancelled,
    OrderChanged,
    OrderCreated,
    OrderLine,
    OrderShipped,
    ShippedPackage,
)
from hub.models.input.body_limits import MOST_VALUES
from hub.models.order import Order
from hub.models.order_transitions import FieldError, apply, likely_duplicates, loose_matches
from hub.partners.iqmetrix.updates import View, next_update
from hub.partners.optoro.translate import webhooks

# What a partner's order may have before its event is larger than a message may be.
_LINES = 5000
# Packages of one event: seven values each, with one item.
_PACKAGES = (MOST_VALUES - 100) // 7
# Of the largest order, these take no longer than the others, or what follows from them does not.
_CHEAPER = ("each sku", "all of it with charges", "other lines", "an unknown line")
_LIKE_OTHERS = ("other spellings", "each line")
_KEY = "iqmetrix:71204:7a0e"
_NOW = datetime.now(UTC)
_URLS = dict.fromkeys(
    ("confirmation_url", "cancellation_url", "partial_cancellation_url"), "https://a.test/b"
)
_IQMETRIX = Iqmetrix.model_validate(
    {
        "base_url": "https://dropship.iqmetrix.net/v1",
        "token_url": "https://accounts.iqmetrix.net/v1/oauth2/token",
        "supplier_id": 71204,
        **dict.fromkeys(("username", "password", "client_id", "client_secret"), "none"),
    }
)
_DEFAULTS = {
    "channel": "c",
    "brand": "b",
    "condition": "N",
    "shipping_method": "STANDARD",
    "weight_lb": 1,
    "package_cost_cents": 1,
    "price_cents": 1,
}


def orders() -> Iterator[Case]:
    """Yield what each event does to an order, and what is made of it for partners and clients."""
    for lines in (200, 400, _LINES):
        order = _order(lines)
        first = next_update(order, None, picked_up=True, settings=_IQMETRIX)
        assert first is not None
        for name, event in _events(lines):
            yield from _outcomes(order, f"{name}, {lines} lines", event, first.view.to_json())


def _outcomes(order: Order, name: str, event: AnyEvent, reported: Any) -> Iterator[Case]:
    lines = len(order.lines)
    if lines == _LINES and name.startswith(_CHEAPER):
        return
    if lines == _LINES:
        yield Case(f"{event.type} applied in a thread", name, lines, _applied(order, event), THREAD_MS)
    try:
        after, applied = apply(order, event)
    except FieldError:
        return
    if "spellings" in name:
        yield Case(f"{event.type}, spellings", name, lines, lambda: list(loose_matches(order, event)))
    if applied.packages:
        yield Case(f"{event.type}, duplicates", name, lines, lambda: list(likely_duplicates(order, applied)))
    if lines == _LINES and name.startswith(_LIKE_OTHERS):
        return
    where, budget = (" in a thread", THREAD_MS) if is_large(after) else ("", LOOP_MS)
    if applied.packages or applied.cancellations:
        for which, defaults in (("", _DEFAULTS), (", nothing known", {})):
            client = WebhookClient.model_validate({"name": "acme", "defaults": defaults, **_URLS})
            work = partial(webhooks, event, after, applied, client)
            yield Case(f"webhooks of {event.type}{which}{where}", name, lines, work, budget)
    update = partial(_update, after, reported)
    yield Case(f"iqmetrix update{where}", f"{event.type}, {name}", lines, update, budget)
    if after.packages:
        completion = partial(complete_of, after, {("UPS", None): 1})
        yield Case(f"retailops completion{where}", f"{event.type}, {name}", lines, completion, budget)


def _order(lines: int) -> Order:
    return Order.new(_created(f"{each}" for each in range(lines)))


def _created(ids: Iterator[str]) -> OrderCreated:
    return OrderCreated(
        order_id=_KEY,
        source="iqmetrix",
        source_account="71204",
        source_order_id="7a0e",
        source_event_id="e",
        created_at=_NOW,
        lines=tuple(OrderLine(line_id=each, sku=f"s{each}", quantity=5) for each in ids),
    )


def _events(lines: int) -> Iterator[tuple[str, AnyEvent]]:
    ids = range(lines)
    each_line = tuple(LineQuantity(line_id=f"{each}", quantity=1) for each in ids)
    whole = ShippedPackage(carrier="UPS", tracking_number="1Z")
    several = tuple(
        ShippedPackage(
            carrier="UPS", tracking_number=f"{each}", items=(LineQuantity(line_id=f"{each}", quantity=1),)
        )
        for each in range(min(lines, _PACKAGES))
    )
    for name, kind, data in (
        (
            "each line of it",
            "order.shipped",
            OrderShipped(order_id=_KEY, packages=(whole.model_copy(update={"items": each_line}),)),
        ),
        ("all of it", "order.shipped", OrderShipped(order_id=_KEY, packages=(whole,))),
        ("a package for each line", "order.shipped", OrderShipped(order_id=_KEY, packages=several)),
        (
            "other spellings",
            "order.shipped",
            OrderShipped(
                order_id=_KEY,
                packages=(
                    whole.model_copy(
                        update={"items": tuple(LineQuantity(sku=f"S{each} ", quantity=1) for each in ids)}
                    ),
                ),
            ),
        ),
        (
            "an unknown line",
            "order.shipped",
            OrderShipped(
                order_id=_KEY,
                packages=(whole.model_copy(update={"items": (LineQuantity(sku="x", quantity=1),)}),),
            ),
        ),
        (
            "each sku of it",
            "order.cancelled",
            OrderCancelled(
                order_id=_KEY, lines=tuple(CancelledLine(sku=f"s{each}", quantity=1) for each in ids)
            ),
        ),
        (
            "a reason each",
            "order.cancelled",
            OrderCancelled(
                order_id=_KEY,
                lines=tuple(CancelledLine(line_id=f"{each}", reason=f"r{each}") for each in ids),
            ),
        ),
        ("all of it", "order.cancelled", OrderCancelled(order_id=_KEY)),
        (
            "all of it with charges",
            "order.cancelled",
            OrderCancelled(
                order_id=_KEY, charges=Charges(lines={f"{each}": Charges(tax_cents=1) for each in ids})
            ),
        ),
        (
            "each line of it",
            "order.backordered",
            OrderBackordered(
                order_id=_KEY, lines=tuple(LineRef(line_id=f"{each}") for each in ids), message="m"
            ),
        ),
        ("all of it", "order.accepted", OrderAccepted(order_id=_KEY)),
        (
            "other lines",
            "order.changed",
            OrderChanged.model_validate(_created(f"n{each}" for each in ids).model_dump()),
        ),
    ):
        yield name, Event("e-1", kind, "/oms", _KEY, _NOW, data)


def _applied(order: Order, event: AnyEvent) -> Callable[[], object]:
    def work() -> None:
        try:
            apply(order, event)
        except FieldError as error:
            str(error)

    return work


def _update(order: Order, reported: Any) -> None:
    update = next_update(order, View.from_json(reported), picked_up=True, settings=_IQMETRIX)
    if update is not None:
        update.body.encode()
        update.view.to_json()
